//! `history` as text.

use lakekey_core::report::HistoryReport;

use super::table::Table;
use super::{NOTHING, Tone, heading, or_dash, time};

pub(super) fn history(report: &HistoryReport) -> String {
    let mut text = String::new();
    for credential in &report.credentials {
        let (word, tone) = match credential.verified {
            None => ("not verified", Tone::Plain),
            Some(true) => ("verified: the journal is whole", Tone::Good),
            Some(false) => ("broken: the journal is not what lakekey wrote", Tone::Bad),
        };
        heading(&mut text, credential.name.as_str(), word, tone, "");
        let mut table = Table::new(2, &["SEQ", "AT", "EVENT", "GENERATION", "BY", "DETAIL"]);
        for entry in &credential.entries {
            table.row(vec![
                entry.seq.to_string().into(),
                time(entry.at).into(),
                entry.event.as_str().into(),
                or_dash(entry.generation).into(),
                entry.by.as_str().into(),
                entry.detail.as_deref().unwrap_or_default().into(),
            ]);
        }
        text.push_str(&if credential.entries.is_empty() { "  no entries\n".to_owned() } else { table.render(None) });
    }
    if text.is_empty() { NOTHING.to_owned() } else { text }
}
