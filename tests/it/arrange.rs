//! What the tests of planning and selection share: finding and changing parts of the customer, and telling what a command
//! left as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lakekey_sim::{DatasetTruth, Seen, SourceTruth, WarehouseTruth};
use serde_json::{Value, json};

use crate::support::{Bench, Ran};

/// How everything was at one moment.
pub struct Before {
    requests: usize,
    truth: Value,
    files: BTreeMap<String, Vec<u8>>,
    pub sources: BTreeMap<String, SourceTruth>,
    pub warehouses: Vec<WarehouseTruth>,
    pub grants: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Bench {
    /// The credential's part of the config.
    pub fn credential(&mut self) -> &mut Value {
        &mut self.config["credentials"]["sales-bi"]
    }

    pub fn select(&mut self, rows: Value) {
        self.credential()["targets"]["select"] = rows;
    }

    /// All warehouses that the principal may use, of every workspace.
    pub fn list_all_warehouses(&mut self) {
        let all = self.cloud.cast().warehouses.concat();
        self.credential()["warehouses"] = json!(all);
    }

    /// A credential without targets: only the secret is made, proved and kept.
    pub fn without_targets(&mut self) {
        let credential = self.credential().as_object_mut().unwrap();
        credential.remove("targets");
        credential.remove("warehouses");
        credential.remove("verify");
    }

    pub fn me(&self) -> String {
        self.cloud.cast().powerbi.object_id.clone()
    }

    pub fn source(&self, id: &str) -> SourceTruth {
        self.cloud.sources().into_iter().find(|source| source.id == id).unwrap()
    }

    pub fn dataset(&self, id: &str) -> DatasetTruth {
        self.cloud.truth().datasets.into_iter().find(|dataset| dataset.id == id).unwrap()
    }

    /// The first dataset that uses a source.
    pub fn dataset_of(&self, source: &SourceTruth) -> DatasetTruth {
        self.dataset(&source.datasets[0])
    }

    /// The one target like this.
    pub fn target(&self, is_like: impl Fn(&SourceTruth) -> bool) -> SourceTruth {
        self.cloud.sources().into_iter().find(|source| source.target && is_like(source)).expect("the fleet has one like this")
    }

    /// A cloud source of a dataset that the identity owns.
    pub fn own_source(&self) -> SourceTruth {
        let me = self.me();
        self.target(|source| source.connectivity == "PersonalCloud" && self.dataset_of(source).owner == me)
    }

    /// A cloud source whose only dataset is a person's.
    pub fn persons_source(&self) -> SourceTruth {
        let me = self.me();
        self.target(|source| {
            source.connectivity == "PersonalCloud" && source.datasets.len() == 1 && self.dataset_of(source).owner != me
        })
    }

    /// A source on the gateway of one member.
    pub fn gateway_source(&self) -> SourceTruth {
        self.target(|source| self.cloud.gateway_name(&source.gateway).as_deref() == Some("Contoso-GW"))
    }

    /// Gives every dataset and cloud source to the identity, so that nothing need be taken over.
    pub fn own_everything(&mut self) {
        let me = self.me();
        self.credential()["targets"]["take_over"] = json!(false);
        for dataset in self.cloud.truth().datasets {
            self.cloud.set_owner(&dataset.id, &me);
        }
        for source in self.cloud.sources() {
            self.cloud.share_source(&source.id, &me);
        }
    }

    /// The row that names a dataset, by ids.
    pub fn row(&self, dataset: &DatasetTruth) -> Value {
        json!({ "workspace": dataset.group, "dataset": dataset.id })
    }

    /// Selects this data source alone, by a dataset that uses it.
    pub fn select_source(&mut self, source: &SourceTruth) {
        let row = self.row(&self.dataset_of(source));
        self.select(json!([row]));
    }

    pub fn mark(&self) -> Before {
        let truth = self.cloud.truth();
        Before {
            requests: self.cloud.requests().len(),
            files: files(self.folder.path()),
            sources: truth.sources.iter().map(|source| (source.id.clone(), source.clone())).collect(),
            warehouses: truth.warehouses.clone(),
            grants: truth.grants.clone(),
            truth: lasting(&serde_json::to_value(&truth).unwrap()),
        }
    }

    pub fn requests_since(&self, before: &Before) -> Vec<Seen> {
        self.cloud.requests().split_off(before.requests)
    }

    /// Nothing in the cloud is other than it was.
    pub fn assert_untouched(&self, before: &Before) {
        let now = lasting(&serde_json::to_value(self.cloud.truth()).unwrap());
        for (part, then) in before.truth.as_object().unwrap() {
            assert_eq!(&now[part], then, "{part} changed");
        }
    }

    /// No file is other than it was.
    pub fn assert_no_file_changed(&self, before: &Before) {
        let (now, then): (Vec<_>, Vec<_>) = (files(self.folder.path()).into_keys().collect(), before.files.keys().collect());
        assert_eq!(now.iter().collect::<Vec<_>>(), then);
        assert!(files(self.folder.path()) == before.files, "a file was rewritten");
    }

    /// Every request since then only read, or signed in.
    pub fn assert_only_read(&self, before: &Before) {
        let wrote = |seen: &Seen| seen.method != "GET" && !(seen.method == "POST" && seen.path.ends_with("/token"));
        let writes: Vec<Seen> = self.requests_since(before).into_iter().filter(wrote).collect();
        assert!(writes.is_empty(), "{writes:#?}");
    }

    /// No secret value is anywhere in what the program said.
    pub fn assert_discreet(&self, ran: &Ran) {
        let cast = self.cloud.cast();
        let mut values: Vec<String> = self.cloud.minted_values().into_values().collect();
        values.extend([cast.admin.client_secret.clone(), cast.entra_admin.client_secret.clone()]);
        values.extend([cast.powerbi.client_secret.clone(), cast.personal_token.clone()]);
        for value in values {
            assert!(!ran.stdout.contains(&value) && !ran.stderr.contains(&value), "a secret shows: {ran:?}");
        }
        assert_eq!(self.cloud.leaks(), Vec::<String>::new());
    }

    /// `plan` names this problem and `rotate` fails with it; neither changes anything in the cloud, and both say what to do.
    pub async fn refused(&self, code: &str) -> Value {
        let before = self.mark();
        let planned = self.run(&["plan", "--output", "json"]).await;
        self.assert_discreet(&planned);
        let plan: Value = serde_json::from_str(&planned.stdout).unwrap();
        let problems = plan["credentials"][0]["problems"].as_array().unwrap();
        assert!(problems.iter().any(|problem| problem["code"] == code), "{problems:#?}");
        assert!(problems.iter().all(hints), "{problems:#?}");
        assert_eq!(planned.status, 1, "{plan:#}");
        self.assert_no_file_changed(&before);

        let rotated = self.run(&["rotate", "--output", "json"]).await;
        self.assert_discreet(&rotated);
        let report: Value = serde_json::from_str(&rotated.stdout).unwrap();
        let credential = &report["credentials"][0];
        assert_eq!((rotated.status, credential["error"]["code"].as_str()), (1, Some(code)), "{report:#}");
        assert_eq!(credential["outcome"], "failed", "{report:#}");
        assert!(hints(&credential["error"]), "{report:#}");
        self.assert_untouched(&before);
        credential["error"].clone()
    }

    /// `rotate` reaches `draining`, and says nothing that it must not.
    pub async fn rotated(&self) -> Value {
        let ran = self.run(&["rotate", "--output", "json"]).await;
        self.assert_discreet(&ran);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let credential = report["credentials"][0].clone();
        assert_eq!((ran.status, credential["outcome"].as_str()), (0, Some("rotated")), "{credential:#}\n{}", ran.stderr);
        credential
    }

    /// Exactly these sources were written, once each; all others, and whatever is no credential, are as they were. Sources
    /// that a take-over put in the place of others count as these.
    pub fn assert_wrote_exactly(&self, before: &Before, expected: &[&str], secret_id: &Value) {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        let now = self.cloud.sources();
        let written: BTreeSet<&str> = now
            .iter()
            .filter(|source| source.writes > before.sources.get(&source.id).map_or(0, |old| old.writes))
            .map(|source| source.id.as_str())
            .collect();
        assert_eq!(written, expected);
        for source in &now {
            let old = before.sources.get(&source.id);
            let writes = source.writes - old.map_or(0, |old| old.writes);
            assert_eq!(writes, u32::from(expected.contains(source.id.as_str())), "{source:?}");
            if expected.contains(source.id.as_str()) {
                assert_eq!((source.secret_id.as_deref(), source.connects), (secret_id.as_str(), true), "{source:?}");
            }
            if let Some(old) = old {
                assert_eq!((&source.privacy, source.sso), (&old.privacy, old.sso), "{source:?}");
            }
        }
    }
}

/// Whether a problem says what to do.
pub fn hints(problem: &Value) -> bool {
    problem["hint"].as_str().is_some_and(|hint| !hint.is_empty())
}

/// The words of one field of every element.
pub fn column(rows: &Value, field: &str) -> BTreeSet<String> {
    let text = |row: &Value| row[field].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(text).collect()
}

/// What does not change by being looked at.
fn lasting(truth: &Value) -> Value {
    let mut truth = truth.clone();
    let whole = truth.as_object_mut().unwrap();
    for passing in ["now", "tokens", "counters"] {
        whole.remove(passing);
    }
    for warehouse in whole["warehouses"].as_array_mut().unwrap() {
        warehouse.as_object_mut().unwrap().remove("state");
    }
    truth
}

/// Every file and folder below, but for the config.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                open.push(path);
            } else if name != "lakekey.yaml" {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
