//! SIGKILL in every phase of one rotation: the host starts the handler anew, and a later tick goes on when the dead one's lease is
//! over. After each, what is really so at the services is looked at.

use std::time::Duration;

use jiff::SignedDuration;
use lakekey_bench::Deployed;
use lakekey_core::clock::Clock;
use lakekey_host::Host;
use lakekey_sim::{Fleet, Rule};
use lakekey_simulate::watch::Watch;
use serde_json::{Value, json};

use super::{Checks, asked, deployed, ordered, tick};

/// When the handler is killed: its work has come so far and no further, for what it waits for never comes.
struct Strike {
    what: &'static str,
    /// Where the credential stands then, as the API tells it; `None` before anything is planned.
    phase: Option<&'static str>,
    waits_for: WaitsFor,
}

/// What has happened, and is not answered.
#[derive(Clone, Copy)]
enum WaitsFor {
    /// A request to the simulated cloud.
    Cloud(&'static str),
    /// An entry of the journal.
    Entry(&'static str),
    /// A new version in the vault.
    Vault,
}

const STRIKES: [Strike; 9] = [
    Strike { what: "planning", phase: None, waits_for: WaitsFor::Cloud("service=powerbi,nth=3,do=hang") },
    Strike {
        what: "the secret is made",
        phase: Some("planned"),
        waits_for: WaitsFor::Cloud("method=POST,path=/credentials/secrets,do=hang-after"),
    },
    Strike {
        what: "the smoke query",
        phase: Some("minted"),
        waits_for: WaitsFor::Cloud("method=POST,path=/sql/statements,do=hang-after"),
    },
    Strike { what: "it is verified", phase: Some("verified"), waits_for: WaitsFor::Entry("verified") },
    Strike {
        what: "a data source in the middle",
        phase: Some("applying"),
        waits_for: WaitsFor::Cloud("method=PATCH,path=/datasources/,nth=12,do=hang-after"),
    },
    Strike { what: "the value is in the store", phase: Some("applying"), waits_for: WaitsFor::Vault },
    Strike {
        what: "the copy",
        phase: Some("promoted"),
        waits_for: WaitsFor::Cloud("method=POST,path=/secrets/put,do=hang-after"),
    },
    Strike { what: "the rotation is settled", phase: Some("draining"), waits_for: WaitsFor::Entry("settled") },
    Strike {
        what: "the previous secret is deleted",
        phase: Some("draining"),
        waits_for: WaitsFor::Cloud("method=DELETE,path=/credentials/secrets,do=hang-after"),
    },
];

#[tokio::test]
async fn a_handler_that_is_killed_in_every_phase_leaves_a_rotation_that_the_next_one_finishes() {
    let mut deployed = deployed(&Fleet::medium(40), Duration::from_millis(5)).await;
    deployed.config["credentials"]["sales-bi"]["copies"] = json!(["databricks:powerbi/sales-bi"]);
    let mut watch = Watch::new(&deployed.served.cloud);
    watch.grace = Some(GRACE);
    let mut host = deployed.start().await.unwrap();
    // The first one takes over what it must and has nothing to retire; the second has everything.
    assert!(host.invoke("schedule", &tick()).await.succeeded());
    deployed.work_off(&host).await.unwrap();
    deployed.assert_moved();
    let first = deployed.living();
    let operation = ordered(&host).await;

    for strike in &STRIKES {
        deployed.arm(strike.waits_for);
        deployed.struck(&host, strike).await;
        host.restart().await.unwrap();
        deployed.disarm();
        deployed.check(&mut watch, strike.what).await;
        let now = asked(&host, "/api/credentials/sales-bi").await;
        assert!(strike.phase.is_none_or(|phase| now["phase"] == phase), "{}: {now:#}", strike.what);
    }

    let last = deployed.brought_to(&host, "idle").await;
    deployed.check(&mut watch, "the end").await;
    deployed.assert_moved();
    assert_eq!((last["generation"].as_u64(), last["targets"]["stale"].as_u64()), (Some(2), Some(0)), "{last:#}");
    assert_eq!(deployed.living(), [last["secret_id"].as_str().unwrap()], "a secret was lost or left");
    assert_ne!(deployed.living(), first);
    let ended = asked(&host, &operation).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    deployed.assert_journal_is_whole().await;
    deployed.assert_discreet(&host);
}

trait Struck {
    /// From now on the answer that is waited for does not come.
    fn arm(&self, waits_for: WaitsFor);
    fn disarm(&self);
    /// Calls the functions until one of them waits for what does not come.
    async fn struck(&self, host: &Host, strike: &Strike);
    /// Calls them until the credential is in this phase.
    async fn brought_to(&self, host: &Host, phase: &str) -> Value;
    /// Every guarantee, by what has really happened at the services, and by what is in the state.
    async fn check(&self, watch: &mut Watch, when: &str);
    /// A tick, the messages that it leaves, and a pause.
    async fn once(&self, host: &Host);
}

impl Struck for Deployed {
    fn arm(&self, waits_for: WaitsFor) {
        match waits_for {
            WaitsFor::Cloud(rule) => self.served.cloud.set_faults(Rule::parse(rule).unwrap()),
            WaitsFor::Vault => self.vault.set_mute(true),
            WaitsFor::Entry(event) => self.blob.hold(move |passing| {
                let entry: Value = serde_json::from_slice(passing.body).unwrap_or_default();
                passing.method == "PUT" && passing.path.contains("/journal/") && entry["event"]["type"] == event
            }),
        }
    }

    fn disarm(&self) {
        self.served.cloud.set_faults(Vec::new());
        self.vault.set_mute(false);
    }

    async fn struck(&self, host: &Host, strike: &Strike) {
        let (requests, versions) = (self.served.cloud.requests().len(), self.vault.versions("sales-bi").len());
        let happened = async {
            let clock = Clock::wall();
            match strike.waits_for {
                WaitsFor::Entry(_) => return self.blob.held().await,
                WaitsFor::Cloud(_) => {
                    while !self.served.cloud.requests()[requests..].iter().any(|seen| seen.fault.is_some()) {
                        clock.sleep(LOOK).await;
                    }
                }
                WaitsFor::Vault => {
                    while self.vault.versions("sales-bi").len() == versions {
                        clock.sleep(LOOK).await;
                    }
                }
            }
        };
        let driven = async {
            for _ in 0..TICKS_MAX {
                self.once(host).await;
            }
        };
        tokio::select! {
            () = driven => panic!("{}: it has not come to that: {:#?}", strike.what, host.lines().iter().rev().take(12).collect::<Vec<_>>()),
            () = happened => {}
        }
    }

    async fn brought_to(&self, host: &Host, phase: &str) -> Value {
        for _ in 0..TICKS_MAX {
            let now = asked(host, "/api/credentials/sales-bi").await;
            if now["phase"] == phase {
                return now;
            }
            self.once(host).await;
        }
        panic!("it has not come to rest: {:#}", asked(host, "/api/credentials/sales-bi").await)
    }

    async fn check(&self, watch: &mut Watch, when: &str) {
        let cloud = &self.served.cloud;
        for name in self.azurite.blobs("state").await.unwrap() {
            let text = self.azurite.read("state", &name).await.unwrap();
            watch.shown(&name, &text, cloud.now());
            let entry: Value = serde_json::from_str(&text).unwrap_or_default();
            if entry["event"]["type"] == "condemned" {
                watch.condemned.insert(entry["event"]["secret_id"].as_str().unwrap().to_owned());
            }
        }
        watch.observe(cloud);
        watch.look_around(cloud);
        assert_eq!(watch.violation, None, "{when}");
        for source in cloud.sources().into_iter().filter(|source| source.target) {
            assert!(source.alive && source.connects, "{when}: {source:?}");
        }
    }

    async fn once(&self, host: &Host) {
        // It may fail: the lease of the dead, or a write of theirs that may still land.
        host.invoke("schedule", &tick()).await;
        self.work_off(host).await.unwrap();
        Clock::wall().sleep(PAUSE).await;
    }
}

/// As the deployment's config says.
const GRACE: SignedDuration = SignedDuration::from_secs(45);
const LOOK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_secs(2);
/// More than a lease takes to end, a write of the dead to land, or the grace to pass.
const TICKS_MAX: usize = 75;
