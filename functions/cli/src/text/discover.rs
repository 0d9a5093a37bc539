//! `discover` as text: a line for each data source, then what is not covered and why.

use std::fmt::Write;

use lakekey_core::report::{DiscoverReport, Discovered};

use super::table::Table;
use super::{or_dash, printable, warnings};

pub(super) fn discover(report: &DiscoverReport, width: Option<usize>) -> String {
    let mut text = String::new();
    for looker in &report.identities {
        let how = match looker.by.as_str() {
            "scanner" => "by the scanner: every workspace of the tenant",
            _ => "workspace by workspace, those in which it has a role",
        };
        let _ = writeln!(text, "seen as {}, {how}", printable(looker.name.as_str()));
    }
    let _ = writeln!(text, "data sources: {}", report.datasources.len());
    if !report.datasources.is_empty() {
        text.push_str(&datasources(&report.datasources, width));
    }
    let of_sources = report.datasources.iter().filter_map(|found| Some((found.id.as_str(), found.left.as_deref()?)));
    let left: Vec<(&str, &str)> =
        of_sources.chain(report.left.iter().map(|left| (left.id.as_str(), left.reason.as_str()))).collect();
    if !left.is_empty() {
        text.push_str("not covered:\n");
        for (id, reason) in left {
            let _ = writeln!(text, "  {}: {}", printable(id), printable(reason));
        }
    }
    text.push_str(&warnings(&report.problems));
    text
}

fn datasources(found: &[Discovered], width: Option<usize>) -> String {
    let mut table =
        Table::new(2, &["ID", "KIND", "NAME", "GATEWAY", "HOST", "WAREHOUSE", "CREDENTIAL", "SELECTED BY", "OWNER", "USED BY"]);
    for source in found {
        let names = |names: Vec<String>| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
        let owners: std::collections::BTreeSet<&str> =
            source.datasets.iter().filter_map(|dataset| dataset.owner.as_deref()).collect();
        let users = source.datasets.iter().map(|dataset| format!("{} / {}", dataset.workspace, dataset.name)).collect();
        table.row(vec![
            source.id.as_str().into(),
            source.kind.as_str().into(),
            or_dash(source.name.as_ref()).into(),
            or_dash(source.gateway.as_ref().map(|gateway| &gateway.name)).into(),
            source.host.as_str().into(),
            or_dash(source.warehouse.as_ref()).into(),
            or_dash(source.credential_kind.as_ref()).into(),
            names(source.selected_by.iter().map(ToString::to_string).collect()).into(),
            names(owners.into_iter().map(str::to_owned).collect()).into(),
            names(users).into(),
        ]);
    }
    table.render(width)
}
