//! The mapping list: a CSV file that says which service principal each data source uses. One list may serve many credentials:
//! each takes the rows of its own principal.
//!
//! Cells that a spreadsheet would run as a formula are written with an apostrophe before them, which is taken away again here.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::model::{Selector, Targets};
use super::problem::{ConfigProblem, Position, Problems, shown};
use crate::error::Problem;
use crate::ids::{WarehouseId, Workspace};

/// The columns, the last of which may be left out.
pub const COLUMNS: [&str; 5] = ["gateway_data_source", "workspace", "warehouse", "service_principal", "gateway"];
/// Largest list: some fifty thousand rows.
const LIST_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A list as read: every row of it, whoever's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The file as the config names it.
    pub file: String,
    /// Its rows.
    pub rows: Vec<MappedRow>,
}

/// One row: this data source, which connects there, uses this principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRow {
    /// `FILE:LINE`.
    pub at: String,
    /// Name or id of the data source.
    pub source: String,
    /// The Databricks workspace that it connects to.
    pub workspace: Workspace,
    /// The SQL warehouse that it connects to.
    pub warehouse: WarehouseId,
    /// Display name or application id of the principal.
    pub principal: String,
    /// Name or id of the gateway, where the source's name alone would not do.
    pub gateway: Option<String>,
}

impl Targets {
    /// These targets with the rows of one principal, who goes by any of `names`, as selectors of their own.
    pub fn of_principal(&self, names: &[&str]) -> (Self, Option<Problem>) {
        let mut targets = self.clone();
        let Some(mapping) = targets.mapping.take() else { return (targets, None) };
        let is_ours = |row: &&MappedRow| {
            names.iter().any(|name| row.principal == *name || row.principal.eq_ignore_ascii_case(name) && is_id(name))
        };
        let ours: Vec<Selector> = mapping.rows.iter().filter(is_ours).cloned().map(Box::new).map(Selector::Mapped).collect();
        let problem = ours.is_empty().then(|| {
            let known: std::collections::BTreeSet<String> =
                mapping.rows.iter().map(|row| format!("`{}`", row.principal)).collect();
            let known: Vec<String> = known.into_iter().take(NAMES_SHOWN_MAX).collect();
            Problem::new(
                "mapping-selects-nothing",
                format!("no row of {} is for the service principal `{}`", mapping.file, names.join("` or `")),
            )
            .hint(format!(
                "write its display name or application id into the column `service_principal`, which has {}",
                known.join(", ")
            ))
        });
        targets.select.extend(ours);
        (targets, problem)
    }
}

/// Principals that a hint lists.
const NAMES_SHOWN_MAX: usize = 10;

fn is_id(name: &str) -> bool {
    uuid::Uuid::try_parse(name).is_ok()
}

/// Reads the list at `path`, which the config calls `file`. Everything that is wrong is noted, each with its line.
pub(super) fn read(file: &str, path: &Path, problems: &mut Problems) -> Option<Mapping> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|list| list.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes));
    let mut notes = Notes { file, problems, clean: true };
    if let Err(error) = read {
        notes.add(
            1,
            "mapping-unreadable",
            format!("the mapping list {} can't be read: {}", shown(file), error.kind()),
            "write it, or correct the path; it is relative to the config",
        );
        return None;
    }
    if bytes.len() as u64 > LIST_BYTES_MAX {
        notes.add(1, "mapping-too-large", "the mapping list is larger than 8 MiB".to_owned(), "split it by credential");
        return None;
    }
    let rows = parse(&bytes, &mut notes);
    notes.clean.then(|| Mapping { file: file.to_owned(), rows })
}

struct Notes<'a, 'b> {
    file: &'a str,
    problems: &'b mut Problems,
    clean: bool,
}

impl Notes<'_, '_> {
    fn add(&mut self, line: u64, code: &str, message: String, hint: &str) {
        self.clean = false;
        self.problems.push(ConfigProblem {
            code: code.to_owned(),
            message,
            hint: Some(hint.to_owned()),
            file: self.file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: Position::START.column,
        });
    }
}

fn parse(bytes: &[u8], notes: &mut Notes<'_, '_>) -> Vec<MappedRow> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let form = format!("the first line is `{}`; `gateway` may be left out", COLUMNS.join(","));
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(_) => {
            notes.add(1, "mapping-header", "the first line of the mapping list is not UTF-8 text".to_owned(), &form);
            return Vec::new();
        }
    };
    let at = |name: &str| header.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
    let missing: Vec<String> = COLUMNS[..4].iter().filter(|name| at(name).is_none()).map(|name| format!("`{name}`")).collect();
    let unknown = header.iter().map(str::trim).filter(|cell| !COLUMNS.iter().any(|name| name.eq_ignore_ascii_case(cell)));
    let unknown: Vec<String> = unknown.map(shown).collect();
    if !missing.is_empty() || !unknown.is_empty() {
        let said = [("lacks", missing), ("has unknown", unknown)]
            .map(|(verb, names)| if names.is_empty() { String::new() } else { format!("{verb} {}", names.join(", ")) });
        let said: Vec<&str> = said.iter().map(String::as_str).filter(|said| !said.is_empty()).collect();
        notes.add(1, "mapping-header", format!("the mapping list {}", said.join(" and ")), &form);
        return Vec::new();
    }
    let columns: Vec<Option<usize>> = COLUMNS.iter().map(|name| at(name)).collect();
    let (mut rows, mut seen, mut lines) = (Vec::new(), Vec::new(), Lines { bytes, counted: 0, line: 1 });
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = lines.at(record.position());
                if record.len() > header.len() {
                    notes.add(
                        line,
                        "mapping-row",
                        format!("the row has {} cells, the first line {}", record.len(), header.len()),
                        "put a cell that holds commas into double quotes",
                    );
                    continue;
                }
                let cell = |column: usize| columns[column].and_then(|at| record.get(at)).map(plain).unwrap_or_default();
                if let Some(row) = row(&cell, line, notes) {
                    seen.push(line);
                    rows.push(row);
                }
            }
            Err(error) => {
                let line = lines.at(error.position());
                notes.add(line, "mapping-row", "the row is not UTF-8 text".to_owned(), "save the list as UTF-8");
            }
        }
    }
    compare(&rows, &seen, notes);
    rows
}

/// Counts lines as editors do. The reader's own count lags where lines end in carriage return and line feed.
struct Lines<'a> {
    bytes: &'a [u8],
    counted: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line that a record begins on; records come in the order of the file.
    fn at(&mut self, position: Option<&csv::Position>) -> u64 {
        let start = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.counted);
        let blank = self.bytes.iter().skip(start).take_while(|byte| matches!(**byte, b'\r' | b'\n')).count();
        let end = (start + blank).clamp(self.counted, self.bytes.len());
        let breaks = self.bytes[self.counted..end].iter().filter(|byte| **byte == b'\n').count();
        (self.counted, self.line) = (end, self.line + breaks as u64);
        self.line
    }
}

fn row<'c>(cell: &impl Fn(usize) -> &'c str, line: u64, notes: &mut Notes<'_, '_>) -> Option<MappedRow> {
    for (column, name) in COLUMNS[..4].iter().enumerate() {
        if cell(column).trim().is_empty() {
            notes.add(line, "mapping-row", format!("the cell of `{name}` is empty"), "fill it in, or take the row out");
            return None;
        }
    }
    let workspace =
        Workspace::parse(cell(1).trim()).ok().filter(|found| found.host().contains('.') || found.host().contains(':'));
    if workspace.is_none() {
        notes.add(
            line,
            "mapping-row",
            format!("{} is not the address of a Databricks workspace", shown(cell(1))),
            "write `https://HOST`, as the browser shows it",
        );
    }
    let warehouse = cell(2).trim();
    let is_warehouse = warehouse.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_warehouse {
        notes.add(
            line,
            "mapping-row",
            format!("{} is not the id of a SQL warehouse", shown(warehouse)),
            "take it from the warehouse's connection details",
        );
    }
    Some(MappedRow {
        at: format!("{}:{line}", notes.file),
        source: cell(0).to_owned(),
        workspace: workspace?,
        warehouse: is_warehouse.then(|| WarehouseId::new(warehouse.to_ascii_lowercase()))?,
        principal: cell(3).trim().to_owned(),
        gateway: Some(cell(4).to_owned()).filter(|gateway| !gateway.trim().is_empty()),
    })
}

/// A data source has one place and one principal, and is named once.
fn compare(rows: &[MappedRow], lines: &[u64], notes: &mut Notes<'_, '_>) {
    let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let earlier = by_source.entry(&row.source).or_default();
        for &other in earlier.iter() {
            let (first, line) = (&rows[other], lines[other]);
            let same_place = first.workspace == row.workspace && first.warehouse == row.warehouse;
            // Without a gateway a name may mean sources of several; with one, or by id, it means one source.
            let same_gateway = first.gateway == row.gateway;
            let one_source = same_gateway && (row.gateway.is_some() || is_id(&row.source))
                || same_place && (same_gateway || first.gateway.is_none() || row.gateway.is_none());
            if !one_source {
                continue;
            }
            if same_place && same_gateway && first.principal == row.principal {
                notes.add(
                    lines[at],
                    "mapping-duplicate",
                    format!("the row says again what line {line} says"),
                    "take one of the two out",
                );
            } else if !same_place || first.principal != row.principal {
                notes.add(
                    lines[at],
                    "mapping-contradiction",
                    format!("the row contradicts line {line}, which maps the same data source otherwise"),
                    "keep the row that is true; where two gateways have sources of one name, fill in `gateway`",
                );
            }
        }
        earlier.push(at);
    }
}

/// What begins a formula in a spreadsheet, and the apostrophe that guards against it.
fn needs_guard(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\''])
}

/// A cell that no spreadsheet runs; [`plain`] gives the text back.
pub fn guarded(cell: &str) -> String {
    if needs_guard(cell) { format!("'{cell}") } else { cell.to_owned() }
}

/// The text of a cell, its guard taken off. An apostrophe before anything else is the text's own.
pub fn plain(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| needs_guard(rest)).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "gateway_data_source,workspace,warehouse,service_principal,gateway\n";

    fn read(text: &str) -> Result<Vec<MappedRow>, Vec<(u32, String)>> {
        let mut problems = Problems::new("lakekey.yaml");
        let mut notes = Notes { file: "m.csv", problems: &mut problems, clean: true };
        let rows = parse(text.as_bytes(), &mut notes);
        if notes.clean {
            Ok(rows)
        } else {
            Err(problems.into_sorted().into_iter().map(|problem| (problem.line, problem.code)).collect())
        }
    }

    #[test]
    fn a_byte_order_mark_quoted_commas_and_line_breaks_are_read() {
        let text = format!(
            "\u{feff}{HEADER}\"Sales, EU\",https://adb-1.7.azuredatabricks.net/,ABC1,pbi-sales,\r\n\"two\nlines\",adb-1.7.azuredatabricks.net,abc2,pbi-sales,GW\n"
        );
        let rows = read(&text).unwrap();
        assert_eq!((rows[0].source.as_str(), rows[0].warehouse.as_str(), &rows[0].gateway), ("Sales, EU", "abc1", &None));
        assert_eq!(
            (rows[1].source.as_str(), rows[1].at.as_str(), rows[1].gateway.as_deref()),
            ("two\nlines", "m.csv:3", Some("GW"))
        );
        assert_eq!(rows[0].workspace, rows[1].workspace);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_line() {
        let text = format!(
            "{HEADER}a,adb-1.x.net,w1,p,\na,adb-1.x.net,w1,p,\na,adb-1.x.net,w1,q,\n,adb-1.x.net,w1,p,\nb,nonsense,w/1,p,\nc,adb-1.x.net,w1,p,,more\n"
        );
        let found: Vec<(u32, &str)> = vec![
            (3, "mapping-duplicate"),
            (4, "mapping-contradiction"),
            (4, "mapping-contradiction"),
            (5, "mapping-row"),
            (6, "mapping-row"),
            (6, "mapping-row"),
            (7, "mapping-row"),
        ];
        let wrong = read(&text).unwrap_err();
        assert_eq!(wrong.iter().map(|(line, code)| (*line, code.as_str())).collect::<Vec<_>>(), found);
        for header in [
            "",
            "gateway_data_source,workspace",
            "gateway_data_source;workspace;warehouse;service_principal\n",
            "gateway_data_source,workspace,warehouse,service_principal,colour\n",
        ] {
            assert_eq!(read(header).unwrap_err(), [(1, "mapping-header".to_owned())], "{header}");
        }
    }

    #[test]
    fn one_name_on_several_gateways_or_places_is_no_contradiction() {
        for rows in ["a,h.x,w1,p,G1\na,h.x,w1,q,G2\n", "a,h.x,w1,p,\na,h.x,w2,q,\n"] {
            assert_eq!(read(&format!("{HEADER}{rows}")).unwrap().len(), 2, "{rows}");
        }
        for rows in ["a,h.x,w1,p,G1\na,h.x,w1,q,\n", "a,h.x,w1,p,G1\na,h.x,w2,p,G1\n"] {
            assert_eq!(read(&format!("{HEADER}{rows}")).unwrap_err(), [(3, "mapping-contradiction".to_owned())], "{rows}");
        }
    }

    proptest! {
        #[test]
        fn a_guard_is_taken_off_again_and_nothing_guarded_is_run(cell in "['=+@\t\r-]{0,3}.{0,4}") {
            let safe = guarded(&cell);
            prop_assert_eq!(plain(&safe), cell.as_str());
            prop_assert!(!safe.starts_with(['=', '+', '-', '@', '\t', '\r']));
        }
    }
}
