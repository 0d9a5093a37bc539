//! Makes the universe of a plan, and lakekey's config for it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::{SignedDuration, Timestamp};
use lakekey_core::clock::Clock;
use lakekey_core::config::env_vars::{CONFIG, Environment};
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::rotation::drive::Folded;
use lakekey_core::stores::memory::MemoryStore;
use lakekey_sim::{Cloud, Fleet, Settings, TakeOver};
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;

use crate::broken::Variant;
use crate::people;
use crate::plan::{Act, ConfigPlan, Edit, Plan};
use crate::process::CONCURRENCY;
use crate::universe::{Trouble, Universe, held};
use crate::watch::is_covered;

/// When every seed begins.
pub const START: Timestamp = Timestamp::constant(1_772_438_400, 0);

/// A universe with lakekey set up in it.
pub struct Stage {
    /// What lakekey's processes share.
    pub universe: Arc<Universe>,
    /// How they are set up.
    pub config: Config,
    /// Their environment.
    pub environment: Environment,
    /// Where their randomness starts.
    pub seed: u64,
    /// Whether expired secrets are listed and use up slots; else nobody can delete them, or need.
    pub expired_count: bool,
    /// The journal as far as the simulation has read it.
    pub folded: Mutex<Option<Folded>>,
    /// How the config differs for some.
    edited: Vec<(Edit, Config)>,
    /// Hears what they log.
    _listening: DefaultGuard,
}

impl Stage {
    /// The config, as one invocation sees it.
    pub fn config(&self, edit: Option<Edit>) -> &Config {
        let edited = self.edited.iter().find(|(known, _)| Some(*known) == edit);
        edited.map_or(&self.config, |(_, config)| config)
    }
}

/// Sets the stage for a plan. Inside a runtime whose time is paused.
pub fn stage(plan: &Plan, variant: Option<Variant>, traced: bool) -> anyhow::Result<Stage> {
    let fleet = Fleet {
        seed: plan.seed,
        targets: plan.fleet.targets,
        gateways: plan.fleet.gateways,
        decoys: plan.fleet.decoys,
        datasets_each: 1,
        foreign_secrets: plan.fleet.foreign,
        first_shape: plan.fleet.shape,
        hard_cases: false,
    };
    let cloud = fleet.build(settings(plan));
    let cast = cloud.cast();
    let secrets = [("ADMIN_SECRET", &cast.admin.client_secret), ("POWERBI_SECRET", &cast.powerbi.client_secret)];
    let config = config(&document(&cloud, &plan.config, None))?;
    let mut edits: Vec<Edit> = plan.shifts.iter().filter_map(|shift| shift.edit).collect();
    edits.extend(plan.other_principal.then_some(Edit::OtherPrincipal));
    edits.sort_unstable();
    edits.dedup();
    let edited = edits.into_iter().map(|edit| Ok((edit, self::config(&document(&cloud, &plan.config, Some(edit)))?)));
    let edited = edited.collect::<anyhow::Result<_>>()?;
    let environment: Environment = secrets.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let mut universe = Universe::new(cloud.clone(), Clock::runtime(START), plan.seed, plan.locked, traced);
    universe.variant = variant;
    {
        let mut watch = universe.watch();
        watch.kept_back = signed(config.state.request_timeout).saturating_add(signed(config.state.skew));
        let bounded = plan.skews_ms.iter().all(|skew| skew.unsigned_abs() <= plan.skew_ms());
        let shorter = plan.shifts.iter().any(|shift| shift.edit == Some(Edit::ShorterGrace));
        let grace = if shorter { plan.config.shortest_grace() } else { plan.config.grace };
        watch.grace = bounded.then(|| signed(Duration::from_secs(grace)));
        watch.narrowed = plan.shifts.iter().any(|shift| shift.edit == Some(Edit::FewerTargets))
            || plan.fleet.hidden
            || plan.has_act(|act| matches!(act, Act::Hides(_)));
        watch.recently = signed(Duration::from_millis(plan.services.list_lag) + config.state.lease);
    }
    if plan.services.take_over == TakeOver::Keeps {
        // Else nobody could say what privacy level a dataset's sources have once it is lakekey's.
        for source in cloud.sources() {
            cloud.share_source(&source.id, &cloud.cast().powerbi.object_id);
        }
    }
    if plan.fleet.hidden {
        people::hide(&universe, 0);
    }
    if plan.config.adopt {
        put_value_to_adopt(&universe);
    }
    let listening = universe.logs.listen();
    let expired_count = plan.services.expired_count;
    let universe = Arc::new(universe);
    let folded = Mutex::default();
    Ok(Stage { universe, config, environment, seed: plan.seed, expired_count, folded, edited, _listening: listening })
}

/// The stage of another deployment that mints on the same principal, in breach of the contract: a state, a store and an
/// admin of its own, and no targets.
pub fn rival(plan: &Plan, stage: &Stage) -> anyhow::Result<Stage> {
    let cloud = &stage.universe.cloud;
    let cast = cloud.cast();
    let mut document = document(cloud, &plan.config, None);
    document["identities"] = json!({ "dbx-admin": {
        "auth": "azure-client-secret",
        "tenant_id": cast.tenant,
        "client_id": cast.entra_admin.client_id,
        "client_secret": "env:RIVAL_SECRET",
    } });
    let credential = &mut document["credentials"]["sales-bi"];
    credential["copies"] = json!([]);
    for key in ["targets", "verify", "warehouses"] {
        credential.as_object_mut().map(|credential| credential.remove(key));
    }
    let secret = ("RIVAL_SECRET".to_owned(), cast.entra_admin.client_secret.clone());
    let universe = stage.universe.beside(&cast.entra_admin.client_id);
    {
        let (mut watch, known) = (universe.watch(), stage.universe.watch());
        (watch.kept_back, watch.recently, watch.grace) = (known.kept_back, known.recently, known.grace);
    }
    Ok(Stage {
        universe: Arc::new(universe),
        config: config(&document)?,
        environment: std::iter::once(secret).collect(),
        expired_count: stage.expired_count,
        seed: !stage.seed,
        folded: Mutex::default(),
        edited: Vec::new(),
        _listening: stage.universe.logs.listen(),
    })
}

/// Turns the plan's faults on.
pub fn trouble(plan: &Plan, universe: &Universe) {
    universe.cloud.set_faults(plan.rules.clone());
    *held(&universe.trouble) = plan.trouble;
}

/// Turns all faults off.
pub fn calm(universe: &Universe) {
    universe.cloud.set_faults(Vec::new());
    *held(&universe.trouble) = Trouble::default();
}

fn settings(plan: &Plan) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        start: Some(START),
        latency: ms(plan.services.latency),
        list_lag: ms(plan.services.list_lag),
        secret_settles: ms(plan.services.settles),
        token_life: ms(plan.services.token_life),
        page: plan.services.page,
        cap_answer: plan.services.cap,
        take_over: plan.services.take_over,
        expired_count: plan.services.expired_count,
        ..Settings::default()
    }
}

/// The store holds what people put into the targets, in the plain shape that other programs write.
fn put_value_to_adopt(universe: &Universe) {
    let cast = universe.cloud.cast();
    let held = universe.cloud.sources().into_iter().find_map(|source| source.secret_id);
    let Some(id) = held else { return };
    let Some(value) = universe.cloud.minted_values().remove(&id) else { return };
    let text = json!({
        "clientId": cast.principal.application_id,
        "clientSecret": value,
        "oauthSecretId": id,
        "servicePrincipalId": cast.principal.id,
    });
    let store: MemoryStore = universe.store(&format!("file:{FOLDER}/{STORE}"));
    store.tamper(Some(text.to_string().as_bytes()));
    universe.watch().adopted.insert(id);
}

/// The config goes the way of every config: as a document, through the loader and its checks.
fn config(document: &Value) -> anyhow::Result<Config> {
    let environment: Environment = std::iter::once((CONFIG.to_owned(), document.to_string())).collect();
    Config::load(&ConfigSource::Environment, &environment, Path::new(FOLDER))
        .map_err(|problems| anyhow!("{problems:?}"))
        .context("the simulation's own config is not valid")
}

fn document(cloud: &Cloud, plan: &ConfigPlan, edit: Option<Edit>) -> Value {
    let (addresses, cast) = (cloud.addresses(), cloud.cast());
    let seconds = |count: u64| format!("{count}s");
    let grace = match edit {
        Some(Edit::LongerGrace) => (plan.grace * 8).min(plan.lifetime - plan.rotate_every),
        Some(Edit::ShorterGrace) => plan.shortest_grace(),
        Some(
            Edit::FewerTargets
            | Edit::OtherCopies
            | Edit::OtherStore
            | Edit::OtherPrincipal
            | Edit::OtherWaves
            | Edit::SlowerRhythm
            | Edit::NoTakeOver
            | Edit::NoQuery,
        )
        | None => plan.grace,
    };
    let mut select = match edit {
        Some(Edit::FewerTargets) => vec![json!({ "warehouse": cast.warehouses[0][0] })],
        _ => vec![json!({ "all": true })],
    };
    select.extend(plan.refresh.into_iter().flat_map(|wait| refreshed(cloud, wait)));
    let waves = match (plan.waves, edit == Some(Edit::OtherWaves)) {
        (waves, false) => waves,
        ([], true) => &["1", "100%"],
        (_, true) => &[],
    };
    let waves = if waves.is_empty() { &["100%"] } else { waves };
    let slower = if edit == Some(Edit::SlowerRhythm) { 2 } else { 1 };
    let principal = if edit == Some(Edit::OtherPrincipal) { "pbi-finance" } else { &cast.principal.display_name };
    let store = if edit == Some(Edit::OtherStore) { OTHER_STORE } else { STORE };
    let copies: &[&str] = if plan.copy != (edit == Some(Edit::OtherCopies)) {
        &["file:copy/sales-bi.json", "databricks:powerbi/sales-bi"]
    } else {
        &[]
    };
    let mut document = json!({
        "version": 1,
        "endpoints": { "entra": addresses.entra, "powerbi": addresses.powerbi, "fabric": addresses.fabric },
        "state": { "url": "file:state", "lease": seconds(plan.lease) },
        "identities": {
            "dbx-admin": { "auth": "oauth-m2m", "client_id": cast.admin.client_id, "client_secret": "env:ADMIN_SECRET" },
            "powerbi": {
                "auth": "azure-client-secret",
                "tenant_id": cast.tenant,
                "client_id": cast.powerbi.client_id,
                "client_secret": "env:POWERBI_SECRET",
            },
        },
        "credentials": { "sales-bi": {
            "workspace": addresses.databricks[0],
            "also_workspaces": addresses.databricks[1..],
            "identity": "dbx-admin",
            "service_principal": principal,
            "lifetime": seconds(plan.lifetime * slower),
            "rotate_every": seconds(plan.rotate_every * slower),
            "grace": seconds(grace),
            "store": format!("file:{store}"),
            "copies": copies,
            "warehouses": cast.warehouses[0],
            "verify": { "warehouse": cast.warehouses[0][0] },
            "targets": {
                "identity": "powerbi",
                "select": select,
                "take_over": edit != Some(Edit::NoTakeOver),
                "waves": waves,
                "concurrency": CONCURRENCY,
            },
        } },
    });
    if edit == Some(Edit::NoQuery) {
        document["credentials"]["sales-bi"].as_object_mut().map(|credential| credential.remove("verify"));
    }
    document
}

/// A row for each dataset of a target that is refreshed, by ids.
fn refreshed(cloud: &Cloud, wait: bool) -> Vec<Value> {
    let covered: Vec<String> = cloud.sources().into_iter().filter(is_covered).flat_map(|source| source.datasets).collect();
    let datasets = cloud.truth().datasets.into_iter().filter(|dataset| covered.contains(&dataset.id));
    let word = if wait { "wait" } else { "start" };
    datasets.map(|dataset| json!({ "workspace": dataset.group, "dataset": dataset.id, "refresh": word })).collect()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

const FOLDER: &str = "/simulated";
const STORE: &str = "store/sales-bi.json";
const OTHER_STORE: &str = "other/sales-bi.json";
