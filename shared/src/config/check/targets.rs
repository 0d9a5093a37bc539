//! Targets: who signs in to Power BI, and what each row of `select` means.

use uuid::Uuid;

use super::Checker;
use crate::config::document::{AlwaysName, IdText, RefreshName, SelectPart, TakeOverPart, TargetsPart};
use crate::config::mapping::{self, Mapping};
use crate::config::model::{RefreshRow, Selector, TakeOver, Targets, WaveSize};
use crate::config::reference;
use crate::config::tree::Place;
use crate::ids::{DatasourceId, IdentityName};

const CONCURRENCY_DEFAULT: u64 = 16;

const ROW_FORMS: &str =
    "write `{ workspace, dataset }`, `{ warehouse }`, `{ all: true }`, `{ gateway, datasource }` or `{ connection }`";

impl Checker<'_> {
    pub(super) fn targets(&mut self, part: &TargetsPart, place: Place<'_>) -> Option<Targets> {
        let identity = part.identity.as_deref().and_then(|name| self.powerbi_identity(name, place.key("identity")));
        let rows = part.select.iter().flatten().enumerate();
        let select: Vec<Selector> = rows.filter_map(|(index, row)| self.selector(row, place.key("select").item(index))).collect();
        let empty = part.select.as_ref().is_none_or(Vec::is_empty);
        if empty && !place.has("mapping") && (part.select.is_some() || !place.has("select")) {
            let hint = "add rows under `select`, or remove `targets` if only the stores are to be kept";
            self.problem(place.label_at(), "no-targets", "the targets select nothing", hint);
        }
        let waves = self.waves(part.waves.as_deref(), place.key("waves"));
        let take_over = match part.take_over {
            None | Some(TakeOverPart::Flag(false)) => TakeOver::Never,
            Some(TakeOverPart::Flag(true)) => TakeOver::Allowed,
            Some(TakeOverPart::Word(AlwaysName::Always)) => TakeOver::Always,
        };
        let mapping = part.mapping.as_deref().and_then(|file| self.mapping(file, place.key("mapping")));
        Some(Targets {
            identity: identity?,
            select,
            mapping,
            take_over,
            convert: part.convert.unwrap_or(false),
            privacy_level: part.privacy_level.map(|level| format!("{level:?}")),
            concurrency: usize::try_from(part.concurrency.unwrap_or(CONCURRENCY_DEFAULT)).unwrap_or(1),
            waves,
            refresh: part.select.iter().flatten().filter_map(refresh_row).collect(),
        })
    }

    fn powerbi_identity(&mut self, name: &str, place: Place<'_>) -> Option<IdentityName> {
        let identity = self.identity_name(name, place)?;
        let sign_in = *self.sign_ins.as_ref()?.get(name)?;
        if sign_in.is_databricks_only() {
            let hint = "use an identity of Entra, such as `auth: azure-client-secret`";
            self.problem(place.at(), "wrong-identity", "this identity signs in to Databricks only, not to Power BI", hint);
        } else if sign_in.lacks_tenant() {
            let hint = "add `tenant_id` to the identity; it can be left out for Databricks only";
            self.problem(place.at(), "wrong-identity", "for Power BI this identity needs its tenant", hint);
        }
        Some(identity)
    }

    fn selector(&mut self, row: &SelectPart, place: Place<'_>) -> Option<Selector> {
        let keys: Vec<&str> = place.keys().filter(|key| *key != "refresh").collect();
        let has = |wanted: &[&str]| keys.len() == wanted.len() && wanted.iter().all(|key| keys.contains(key));
        let refreshes = place.has("refresh");
        if has(&["workspace", "dataset"]) {
            return Some(Selector::Dataset {
                workspace: self.named(row.workspace.as_ref(), place.key("workspace"))?,
                dataset: self.named(row.dataset.as_ref(), place.key("dataset"))?,
            });
        }
        if refreshes {
            let hint = "keep it in rows of a dataset only";
            self.problem(place.key("refresh").label_at(), "bad-selector", "only a dataset can be refreshed", hint);
        }
        if has(&["warehouse"]) {
            return self.warehouse(row.warehouse.as_ref()?, place.key("warehouse")).map(Selector::Warehouse);
        }
        if has(&["all"]) {
            if row.all == Some(false) {
                self.problem(
                    place.key("all").at(),
                    "bad-selector",
                    "`all: false` selects nothing",
                    "write `all: true`, or remove the row",
                );
            }
            return Some(Selector::All);
        }
        if has(&["gateway", "datasource"]) {
            return Some(Selector::Gateway {
                gateway: self.named(row.gateway.as_ref(), place.key("gateway"))?,
                datasource: self.named(row.datasource.as_ref(), place.key("datasource"))?,
            });
        }
        if has(&["connection"]) {
            return self.connection(row.connection.as_deref()?, place.key("connection")).map(Selector::Connection);
        }
        self.problem(place.at(), "bad-selector", "the row is of no known form", ROW_FORMS);
        None
    }

    fn mapping(&mut self, file: &str, place: Place<'_>) -> Option<Mapping> {
        let Some(path) = reference::absolute(file, self.base) else {
            self.problem(place.at(), "no-value", "the path of the mapping list is empty", "write the path of a CSV file");
            return None;
        };
        mapping::read(file, &path, self.problems)
    }

    fn connection(&mut self, text: &str, place: Place<'_>) -> Option<DatasourceId> {
        let id = Uuid::try_parse(text.trim()).ok();
        if id.is_none() {
            let hint = "take it from the connection's settings in Manage connections and gateways";
            self.problem(place.at(), "bad-id", "the id of a connection is a UUID", hint);
        }
        id.map(|id| DatasourceId::new(id.to_string()))
    }

    fn named(&mut self, text: Option<&String>, place: Place<'_>) -> Option<String> {
        let text = text?;
        if text.trim().is_empty() {
            self.problem(place.at(), "no-value", "the name is empty", "write a name or an id");
        }
        Some(text.clone())
    }

    fn waves(&mut self, waves: Option<&[IdText]>, place: Place<'_>) -> Vec<WaveSize> {
        let Some(waves) = waves else { return vec![WaveSize::Percent(100)] };
        let mut sizes: Vec<WaveSize> = Vec::new();
        let mut rises = true;
        for (index, IdText(text)) in waves.iter().enumerate() {
            let at = place.item(index).at();
            let Some(size) = wave_size(text) else {
                let hint = "write numbers of targets or percentages, such as `[1, 10%, 100%]`";
                self.problem(at, "bad-waves", "the wave is no number and no percentage", hint);
                continue;
            };
            let shrinks = sizes.iter().any(|earlier| match (*earlier, size) {
                (WaveSize::Count(earlier), WaveSize::Count(size)) | (WaveSize::Percent(earlier), WaveSize::Percent(size)) => {
                    earlier >= size
                }
                (WaveSize::Percent(100), WaveSize::Count(_)) => true,
                (WaveSize::Count(_), WaveSize::Percent(_)) | (WaveSize::Percent(_), WaveSize::Count(_)) => false,
            });
            if shrinks {
                rises = false;
                let hint = "each wave counts those before it too: write them in rising order, such as `[1, 10%, 100%]`";
                self.problem(at, "bad-waves", "the wave is not larger than one before it", hint);
            }
            sizes.push(size);
        }
        if waves.is_empty() {
            self.problem(place.at(), "bad-waves", "there is no wave", "write `[100%]`, or remove the line");
        } else if rises && sizes.len() == waves.len() && sizes.last() != Some(&WaveSize::Percent(100)) {
            let hint = "end the list with `100%`, such as `[1, 10%, 100%]`";
            self.problem(place.item(waves.len() - 1).at(), "bad-waves", "the last wave does not reach every target", hint);
        }
        sizes
    }
}

fn refresh_row(row: &SelectPart) -> Option<RefreshRow> {
    let wait = match row.refresh? {
        RefreshName::None => return None,
        RefreshName::Start => false,
        RefreshName::Wait => true,
    };
    Some(RefreshRow { workspace: row.workspace.clone()?, dataset: row.dataset.clone()?, wait })
}

fn wave_size(text: &str) -> Option<WaveSize> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    match text.strip_suffix('%') {
        Some(text) => number(text).filter(|percent| *percent <= 100).map(WaveSize::Percent),
        None => number(text).map(WaveSize::Count),
    }
}
