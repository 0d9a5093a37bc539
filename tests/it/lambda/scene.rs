//! A customer whose secret AWS rotates by lakekey: the strict Secrets Manager beside the simulated cloud, and the four steps, each
//! in a sandbox of its own that knows the others only by the journal and its lease.

use std::collections::BTreeSet;
use std::sync::Arc;

use lakekey_aws::error_type;
use lakekey_core::app::{App, StepOrder};
use lakekey_core::command::{Command, Outcome, Progress};
use lakekey_core::error::Error;
use lakekey_core::http::transport::Transport;
use lakekey_core::report::MoveReport;
use lakekey_sim::Fleet;
use serde_json::{Value, json};

use super::secrets::{ARN, Carrier, NAME, Secrets};
use crate::support::{Bench, InProcess};

pub const TOKEN: &str = "8f14e45f-ceea-467f-a834-1d9b0a2c3d4e";
pub const NEXT_TOKEN: &str = "c9f0f895-fb98-4b91-9f6d-0a1b2c3d4e5f";
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

pub struct Scene {
    pub bench: Bench,
    pub secrets: Secrets,
}

impl Scene {
    /// With generation 1 everywhere, and AWS about to rotate.
    pub async fn rotating(fleet: &Fleet) -> Self {
        let scene = Self::new(fleet);
        scene.schedule().await;
        scene.secrets.set_rotation(Some(true));
        scene.secrets.begin_rotation(TOKEN);
        scene
    }

    pub fn new(fleet: &Fleet) -> Self {
        let mut bench = Bench::new(fleet);
        bench.credential()["store"] = json!(format!("awssm:{NAME}"));
        let aws = [("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "key")];
        bench.environment.extend(aws.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { bench, secrets: Secrets::default() }
    }

    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Carrier { cloud: InProcess(self.bench.cloud.clone()), secrets: self.secrets.clone() })
    }

    /// A sandbox.
    pub fn sandbox(&self) -> App {
        self.sandbox_over(self.transport(), "sandbox")
    }

    /// A sandbox whose requests go this way, under a name that leases know it by.
    pub fn sandbox_over(&self, transport: Arc<dyn Transport>, name: &str) -> App {
        self.bench.elsewhere(transport, name, self.bench.clock.clone())
    }

    pub async fn step(&self, step: &str) -> Result<MoveReport, Error> {
        self.ask(order(step)).await
    }

    pub async fn ask(&self, order: StepOrder) -> Result<MoveReport, Error> {
        Box::pin(self.sandbox().step(&order, &Progress::none())).await
    }

    /// What the schedule's event does.
    pub async fn schedule(&self) -> Value {
        schedule_in(&self.sandbox()).await
    }

    /// The id of the secret that the version with a label holds.
    pub fn holds(&self, label: &str) -> Option<String> {
        let (_, value) = self.secrets.labelled(label)?;
        let value: Value = serde_json::from_str(&value?).unwrap();
        Some(value["oauthSecretId"].as_str().unwrap().to_owned())
    }

    pub fn all_hold(&self, secret_id: &str) -> bool {
        self.bench.targets().iter().all(|source| source.secret_id.as_deref() == Some(secret_id))
    }

    pub fn living(&self) -> BTreeSet<String> {
        self.bench.living().into_iter().collect()
    }
}

/// What the schedule's event does in this sandbox.
pub async fn schedule_in(app: &App) -> Value {
    let rotate = Command::Rotate { names: Vec::new(), force: false };
    let outcome = app.run(rotate, &Progress::none()).await.unwrap();
    let Outcome::Moved(report) = outcome else { panic!("no report") };
    json!(report)["credentials"][0].clone()
}

pub fn order(step: &str) -> StepOrder {
    StepOrder { step: step.to_owned(), secret_id: ARN.to_owned(), token: TOKEN.to_owned(), rotation_token: None }
}

/// The `errorType` of a refusal.
pub fn kind(answer: Result<MoveReport, Error>) -> String {
    error_type(&answer.expect_err("a refusal"))
}
