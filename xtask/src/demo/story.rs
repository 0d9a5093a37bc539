//! The story: what is done, what came of it, and what is checked. It speaks of lakekey's work, and proves it by the cloud's
//! truth and not by lakekey's word.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use lakekey_sim::{DatasetTruth, SecretTruth, SourceTruth};
use serde::Serialize;
use serde_json::Value;

use super::proof;
use super::scene::{Answer, Scene};

/// What `--output json` writes.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) targets: usize,
    pub(super) not_covered: usize,
    pub(super) rotations: Vec<Rotation>,
    pub(super) refresh: Vec<Refresh>,
    /// Ids of secrets deleted at Databricks.
    pub(super) retired: Vec<String>,
    pub(super) take_over: TakeOver,
    /// Data sources that held a secret which did not work, at whatever sample.
    pub(super) outages: usize,
    pub(super) samples: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Rotation {
    pub(super) generation: u64,
    pub(super) secret_id: String,
    pub(super) seconds: f64,
    pub(super) requests: usize,
    pub(super) runs: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Refresh {
    pub(super) dataset: String,
    pub(super) connectivity: String,
    pub(super) generation: u64,
    pub(super) status: String,
}

/// Cloud data sources that had no credential between the take-over of their dataset and the write.
#[derive(Debug, Default, Serialize)]
pub(super) struct TakeOver {
    pub(super) data_sources: usize,
    pub(super) longest_gap_seconds: f64,
}

/// Says things, and what has been checked.
pub(super) struct Teller<'a>(&'a mut dyn Write);

impl<'a> Teller<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self(out)
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.0, "{text}").context("nobody listens any more")
    }

    fn claim(&mut self, holds: bool, what: &str) -> anyhow::Result<()> {
        ensure!(holds, "this does not hold: {what}");
        self.say(&format!("  checked: {what}"))
    }
}

pub(super) struct Story<'a> {
    scene: &'a Scene,
    out: Teller<'a>,
    /// Ids of data sources that `plan` says are not covered.
    left: Vec<String>,
}

impl<'a> Story<'a> {
    pub(super) fn new(scene: &'a Scene, out: Teller<'a>) -> Self {
        Self { scene, out, left: Vec::new() }
    }

    pub(super) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.out.say(text)
    }

    pub(super) async fn tell(&mut self) -> anyhow::Result<Facts> {
        self.open()?;
        let targets = self.plan().await?;

        self.say("\n# The first rotation: from a person's secret to one of lakekey's")?;
        let (first, _) = self.rotate(0).await?;
        let mut refresh = self.prove(first.generation).await?;

        self.say("\n# Seven days later: rotate_every has passed")?;
        self.scene.pass(WEEK);
        let (second, retire_after) = self.rotate(first.generation).await?;
        refresh.extend(self.prove(second.generation).await?);
        let alive = self.secret(&first.secret_id)?.deleted.is_none();
        let (old, new) = (first.generation, second.generation);
        self.out.claim(alive, &format!("generation {old} still lives at Databricks, for whoever has not heard of {new}"))?;

        self.say("\n# The day after: grace has passed")?;
        let retired = self.retire(retire_after, &first, &second).await?;

        let (outages, take_over, samples) = self.look_back()?;
        let not_covered = self.left.len();
        Ok(Facts { targets, not_covered, rotations: vec![first, second], refresh, retired, take_over, outages, samples })
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let addresses = self.scene.cloud().addresses().clone();
        let latency = self.scene.latency.as_millis();
        let faults = self.scene.faults.as_ref().map(|spec| format!(", with faults: {spec}")).unwrap_or_default();
        self.say(&format!("A simulated cloud answers on loopback after {latency} ms{faults}"))?;
        self.say(&format!("  Databricks  {}", addresses.databricks.join("  ")))?;
        self.say(&format!("  Entra       {}", addresses.entra))?;
        self.say(&format!("  Power BI    {}", addresses.powerbi))?;
        self.say(&format!("  Fabric      {}", addresses.fabric))?;
        self.say(&format!("  config      {}", self.scene.config().display()))
    }

    async fn plan(&mut self) -> anyhow::Result<usize> {
        self.say("\n# lakekey plan")?;
        let plan = self.scene.lakekey("plan").await?.credential;
        let list = |key: &str| plan[key].as_array().cloned().unwrap_or_default();
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("?").to_owned();
        let (kinds, actions) = (count(list("targets").iter().map(|target| text(target, "kind"))), list("steps"));
        let actions = count(actions.iter().map(|step| text(step, "action")));
        let targets = list("targets").len();
        self.say(&format!("  {targets} data sources hold the credential: {}", enumerated(&kinds)))?;
        self.say(&format!("  steps: {}", enumerated(&actions)))?;
        let meant: Vec<SourceTruth> = self.scene.cloud().sources().into_iter().filter(|source| source.target).collect();
        for left in list("left") {
            if meant.iter().any(|source| source.target_id == text(&left, "id")) {
                self.left.push(text(&left, "id"));
            }
        }
        let reasons = count(list("left").iter().map(|left| text(left, "reason")));
        for (reason, count) in reasons {
            self.say(&format!("  left alone: {count} ({reason})"))?;
        }
        ensure!(list("problems").is_empty(), "the plan has problems: {}", plan["problems"]);
        self.out.claim(targets > 0 && targets == self.covered().len(), "the plan has every data source that can be moved")?;
        self.out.claim(self.left.is_empty(), "nothing of the credential's own is left")?;
        self.out.claim(meant.iter().all(|source| source.writes == 0), "nothing was written")?;
        Ok(targets)
    }

    /// One rotation after that generation; with when the generation before may be retired.
    async fn rotate(&mut self, before: u64) -> anyhow::Result<(Rotation, Timestamp)> {
        let holders = self.holders();
        self.say("  lakekey rotate …")?;
        let answer = self.scene.lakekey("rotate").await?;
        let Answer { credential, seconds, requests, runs } = answer;
        let secret_id = credential["secret_id"].as_str().context("`rotate` names no secret")?.to_owned();
        let runs_said = if runs > 1 { format!(", in {runs} runs") } else { String::new() };
        self.say(&format!(
            "  {} in {seconds:.1} s, {requests} requests{runs_said}",
            credential["outcome"].as_str().unwrap_or("?")
        ))?;
        self.table(&holders)?;
        let covered = self.covered();
        let count = covered.len();
        let generation = credential["generation"].as_u64().context("`rotate` names no generation")?;
        // A new secret whose answer was lost or that was refused on the way is discarded with its number: faults only.
        let is_next = generation == before + 1 || (self.scene.faults.is_some() && generation > before);
        self.out.claim(is_next, &format!("this is generation {generation}"))?;
        let moved = covered.iter().all(|source| source.secret_id.as_ref() == Some(&secret_id));
        self.out.claim(moved, &format!("all {count} data sources hold its secret"))?;
        self.out.claim(covered.iter().all(|source| source.connects), "every one of them connects with it")?;
        let retire_after = credential["retire_after"].as_str().map(str::parse).transpose()?;
        let retire_after = retire_after.unwrap_or_else(|| self.scene.clock.now());
        Ok((Rotation { generation, secret_id, seconds, requests, runs }, retire_after))
    }

    /// Refreshes one dataset for each way to connect.
    async fn prove(&mut self, generation: u64) -> anyhow::Result<Vec<Refresh>> {
        let truth = self.scene.cloud().truth();
        let mut chosen: BTreeMap<String, &DatasetTruth> = BTreeMap::new();
        for source in self.covered() {
            let user = truth.datasets.iter().find(|dataset| source.datasets.contains(&dataset.id));
            if let Some(dataset) = user {
                chosen.entry(source.connectivity).or_insert(dataset);
            }
        }
        let mut refreshed = Vec::new();
        for (connectivity, dataset) in chosen {
            let status = proof::refresh(self.scene, dataset).await?;
            let what = format!("Power BI refreshes dataset `{}` ({connectivity}) with it: {status}", dataset.name);
            self.out.claim(status == "Completed", &what)?;
            refreshed.push(Refresh { dataset: dataset.name.clone(), connectivity, generation, status });
        }
        Ok(refreshed)
    }

    async fn retire(&mut self, after: Timestamp, first: &Rotation, second: &Rotation) -> anyhow::Result<Vec<String>> {
        let (old, new) = (first.generation, second.generation);
        let (first, second) = (first.secret_id.as_str(), second.secret_id.as_str());
        self.scene.pass_until(after);
        self.scene.pass(Duration::from_secs(1));
        let before = self.holders();
        self.say("  lakekey rotate …")?;
        let answer = self.scene.lakekey("rotate").await?;
        let retired: Vec<&str> =
            answer.credential["retired"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.say(&format!("  {} retired in {:.1} s", retired.len(), answer.seconds))?;
        // Under faults an earlier run of the same command may have; the truth below says whether it is gone.
        self.out.claim(answer.runs > 1 || retired.contains(&first), "lakekey says that it retired the first generation")?;
        self.table(&before)?;
        let gone = |id: &str| self.secret(id).map(|secret| secret.deleted.is_some());
        let (first_gone, second_gone) = (gone(first)?, gone(second)?);
        self.out
            .claim(first_gone && !second_gone, &format!("generation {old} is deleted at Databricks, generation {new} lives"))?;
        let covered = self.covered();
        let well = covered.iter().all(|source| source.connects && source.secret_id.as_deref() == Some(second));
        self.out.claim(well, &format!("every data source still connects, with generation {new}"))?;
        let people = self.secrets().into_iter().filter(|secret| !ours(secret, self.scene)).all(|secret| secret.deleted.is_none());
        self.out.claim(people, "no secret of a person was touched")?;
        Ok(vec![first.to_owned()])
    }

    fn look_back(&mut self) -> anyhow::Result<(usize, TakeOver, usize)> {
        self.say("\n# Looking back")?;
        let seen = self.scene.watch.seen();
        let longest = seen.bare_ever.values().copied().fold(0.0, f64::max);
        let take_over = TakeOver { data_sources: seen.bare_ever.len(), longest_gap_seconds: longest };
        if take_over.data_sources > 0 {
            self.say(&format!(
                "  Taking a dataset over may cost its data source the credential until the new one is written: here {} data\n  \
                 sources were without one for at most {longest:.2} s, once, in the first rotation",
                take_over.data_sources
            ))?;
        }
        let (samples, outages) = (seen.samples, seen.outages.len());
        let named: Vec<String> = seen.outages.iter().map(|(name, at)| format!("`{name}` at {at:.0}")).collect();
        ensure!(outages == 0, "data sources held a secret that did not work: {}", named.join(", "));
        self.out.claim(true, &format!("in {samples} samples, one after each answer, no data source held a dead secret"))?;
        let leaks = self.scene.cloud().leaks();
        self.out.claim(leaks.is_empty(), "no request showed a secret where none belongs")?;
        Ok((outages, take_over, samples))
    }

    /// Who holds what, before and now, and the slots at Databricks.
    fn table(&mut self, before: &BTreeMap<String, usize>) -> anyhow::Result<()> {
        let (now, after, secrets) = (self.scene.cloud().now(), self.holders(), self.secrets());
        self.say("    SECRET         MADE BY    AT DATABRICKS   DATA SOURCES BEFORE   NOW")?;
        for secret in &secrets {
            let by = if ours(secret, self.scene) { "lakekey" } else { "a person" };
            let state = match secret.deleted {
                Some(_) => "deleted".to_owned(),
                None if secret.expires <= now => "expired".to_owned(),
                None => format!("{} days left", secret.expires.duration_since(now).as_hours() / 24),
            };
            let held = |holders: &BTreeMap<String, usize>| holders.get(&secret.id).copied().unwrap_or_default();
            let (then, now) = (held(before), held(&after));
            let id: String = secret.id.chars().take(ID_SHOWN).collect();
            self.say(&format!("    {id:<12}…  {by:<9}  {state:<13}  {then:>19}   {now:>3}"))?;
        }
        let used = secrets.iter().filter(|secret| secret.deleted.is_none()).count();
        self.say(&format!("    {used} of 5 slots used"))
    }

    /// Data sources by the secret that they hold.
    fn holders(&self) -> BTreeMap<String, usize> {
        count(self.scene.cloud().sources().into_iter().filter(|source| source.target).filter_map(|source| source.secret_id))
    }

    fn covered(&self) -> Vec<SourceTruth> {
        let sources = self.scene.cloud().sources().into_iter();
        sources.filter(|source| source.target && !self.left.contains(&source.target_id)).collect()
    }

    fn secrets(&self) -> Vec<SecretTruth> {
        self.scene.cloud().secrets(&self.scene.cloud().cast().principal.application_id)
    }

    fn secret(&self, id: &str) -> anyhow::Result<SecretTruth> {
        self.secrets().into_iter().find(|secret| secret.id == id).with_context(|| format!("Databricks never had secret {id}"))
    }
}

fn ours(secret: &SecretTruth, scene: &Scene) -> bool {
    secret.made_by == scene.cloud().cast().admin.client_id
}

fn count(words: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    words.fold(BTreeMap::new(), |mut counts, word| {
        *counts.entry(word).or_default() += 1;
        counts
    })
}

fn enumerated(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// Of a secret's id, enough to tell one from the other.
const ID_SHOWN: usize = 12;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60 + 60);
