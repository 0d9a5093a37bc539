//! `plan` as text.

use std::fmt::Write;

use lakekey_core::report::{CredentialPlan, PlanReport, PlannedTarget};
use lakekey_core::targets::TargetKind;

use super::table::Table;
use super::{NOTHING, Tone, heading, or_dash, printable, problem};

pub(super) fn plan(report: &PlanReport, width: Option<usize>) -> String {
    let mut text = String::new();
    for credential in &report.credentials {
        one(&mut text, credential, width);
    }
    if text.is_empty() { NOTHING.to_owned() } else { text }
}

fn one(text: &mut String, plan: &CredentialPlan, width: Option<usize>) {
    let due = if plan.due { "due" } else { "not due" };
    let rest = format!(", {due}: {}", printable(&plan.reason));
    heading(text, plan.name.as_str(), plan.phase.as_str(), Tone::of(plan.phase), &rest);
    let principal = &plan.service_principal;
    let exists = if principal.exists { "" } else { ", does not exist yet" };
    let _ = writeln!(
        text,
        "  principal: id {}, application {}{exists}",
        or_dash(principal.id.as_ref()),
        or_dash(principal.application_id.as_ref())
    );
    let secrets = plan.secrets;
    let _ = writeln!(text, "  secrets: {} of {} used, {} foreign", secrets.used, secrets.cap, secrets.foreign);
    if !plan.steps.is_empty() {
        text.push_str("  steps:\n");
        let mut table = Table::new(4, &["ACTION", "SUBJECT", "DETAIL"]);
        for step in &plan.steps {
            let detail = step.detail.as_deref().unwrap_or_default();
            table.row(vec![step.action.as_str().into(), step.subject.as_str().into(), detail.into()]);
        }
        text.push_str(&table.render(width));
    }
    if !plan.targets.is_empty() {
        let _ = writeln!(text, "  targets: {}", plan.targets.len());
        text.push_str(&targets(&plan.targets, width));
    }
    if !plan.left.is_empty() {
        text.push_str("  not covered:\n");
        for left in &plan.left {
            let _ = writeln!(text, "    {}: {}", printable(&left.id), printable(&left.reason));
        }
    }
    for found in &plan.problems {
        text.push_str(&problem(found, 2));
    }
}

fn targets(targets: &[PlannedTarget], width: Option<usize>) -> String {
    let mut table = Table::new(4, &["WAVE", "TARGET", "KIND", "HOST", "WAREHOUSE", "USED BY"]);
    for target in targets {
        let users: Vec<String> =
            target.datasets.iter().map(|dataset| format!("{} / {}", dataset.workspace, dataset.name)).collect();
        table.row(vec![
            target.wave.to_string().into(),
            target.id.as_str().into(),
            kind(target.kind).into(),
            target.host.as_str().into(),
            or_dash(target.warehouse.as_ref()).into(),
            users.join(", ").into(),
        ]);
    }
    table.render(width)
}

fn kind(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Cloud => "cloud",
        TargetKind::Gateway => "gateway",
        TargetKind::Vnet => "vnet",
        TargetKind::Connection => "connection",
    }
}
