//! Rows of Power BI's answers, read leniently: both casings of each key, every field optional, unknown values kept as text.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use super::request::{flag, id};
use super::{DatabricksSource, Dataset, DatasetSource, Gateway, GatewayKey, GatewaySource, Group, Refresh};
use crate::ids::{DatasetId, DatasourceId, GatewayId, GroupId, Text};

#[derive(Deserialize)]
pub(super) struct List<T> {
    #[serde(alias = "Value")]
    pub(super) value: Vec<T>,
}

impl<T> List<T> {
    /// What is kept of the rows, in no more memory than that needs: fifty thousand datasets are kept until all are known, and
    /// `collect` would leave them where the larger rows were.
    pub(super) fn kept<U>(self, kept: impl FnMut(T) -> Option<U>) -> Vec<U> {
        let mut all = Vec::with_capacity(self.value.len());
        all.extend(self.value.into_iter().filter_map(kept));
        all
    }
}

#[derive(Deserialize)]
pub(super) struct GroupRow {
    #[serde(alias = "Id")]
    id: String,
    #[serde(default, alias = "Name")]
    name: Option<String>,
    #[serde(default, rename = "type", alias = "Type")]
    kind: Option<String>,
}

impl GroupRow {
    pub(super) fn group(self) -> Option<Group> {
        // Personal workspaces appear in some listings.
        let is_personal = self.kind.is_some_and(|kind| kind.starts_with("Personal"));
        Some(Group { id: GroupId::new(id(&self.id)?), name: Text::new(self.name.unwrap_or_default()), is_personal })
    }
}

#[derive(Deserialize)]
pub(super) struct DatasetRow {
    #[serde(alias = "Id")]
    id: String,
    #[serde(default, alias = "Name")]
    name: Option<String>,
    #[serde(default, rename = "configuredBy", alias = "ConfiguredBy")]
    configured_by: Option<String>,
    #[serde(default, rename = "isOnPremGatewayRequired", alias = "IsOnPremGatewayRequired")]
    needs_gateway: Option<bool>,
}

impl DatasetRow {
    pub(super) fn dataset(self) -> Option<Dataset> {
        let configured_by = self.configured_by.filter(|owner| !owner.trim().is_empty());
        Some(Dataset {
            id: DatasetId::new(id(&self.id)?),
            name: Text::new(self.name.unwrap_or_default()),
            configured_by: configured_by.map(Text::new),
            needs_gateway: self.needs_gateway.unwrap_or(false),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct DatasetSourceRow {
    #[serde(default, rename = "datasourceId", alias = "DatasourceId")]
    datasource: Option<String>,
    #[serde(default, rename = "gatewayId", alias = "GatewayId")]
    gateway: Option<String>,
    #[serde(default, rename = "connectionDetails", alias = "ConnectionDetails")]
    details: Value,
}

impl DatasetSourceRow {
    pub(super) fn of(datasource: Option<String>, gateway: Option<String>, details: Value) -> Self {
        Self { datasource, gateway, details }
    }

    pub(super) fn source(self) -> DatasetSource {
        DatasetSource {
            gateway: self.gateway.as_deref().and_then(bound).map(GatewayId::new),
            datasource: self.datasource.as_deref().and_then(bound).map(DatasourceId::new),
            databricks: DatabricksSource::parse(&self.details),
        }
    }
}

/// An id, unless it is one of the ways to say that there is none.
fn bound(text: &str) -> Option<String> {
    id(text).filter(|text| text != "00000000-0000-0000-0000-000000000000")
}

#[derive(Deserialize)]
pub(super) struct GatewayRow {
    #[serde(default, alias = "Id")]
    id: Option<String>,
    #[serde(default, alias = "Name")]
    name: Option<String>,
    #[serde(default, rename = "publicKey", alias = "PublicKey")]
    public_key: Option<KeyRow>,
}

#[derive(Deserialize)]
struct KeyRow {
    #[serde(default, alias = "Modulus")]
    modulus: Option<String>,
    #[serde(default, alias = "Exponent")]
    exponent: Option<String>,
}

impl GatewayRow {
    pub(super) fn gateway(self) -> Option<Gateway> {
        let gateway = GatewayId::new(id(self.id.as_deref()?)?);
        Some(self.with_id(&gateway))
    }

    pub(super) fn with_id(self, id: &GatewayId) -> Gateway {
        let key = self.public_key.and_then(|key| Some((key.modulus?, key.exponent?)));
        Gateway {
            id: id.clone(),
            name: self.name.filter(|name| !name.is_empty()),
            public_key: key
                .filter(|(modulus, exponent)| !modulus.is_empty() && !exponent.is_empty())
                .map(|(modulus, exponent)| GatewayKey { modulus, exponent }),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct GatewaySourceRow {
    #[serde(default, alias = "Id")]
    id: Option<String>,
    #[serde(default, rename = "datasourceName", alias = "DatasourceName")]
    name: Option<String>,
    #[serde(default, rename = "connectionDetails", alias = "ConnectionDetails")]
    details: Value,
    #[serde(default, rename = "credentialType", alias = "CredentialType")]
    credential_type: Option<String>,
    #[serde(default, rename = "credentialDetails", alias = "CredentialDetails")]
    credential: Option<CredentialRow>,
}

#[derive(Default, Deserialize)]
struct CredentialRow {
    #[serde(default, rename = "privacyLevel", alias = "PrivacyLevel")]
    privacy_level: Option<String>,
    #[serde(default, rename = "useEndUserOAuth2Credentials", alias = "UseEndUserOAuth2Credentials", deserialize_with = "flag")]
    single_sign_on: Option<bool>,
}

impl GatewaySourceRow {
    pub(super) fn source(self, gateway: &GatewayId) -> Option<GatewaySource> {
        let source = DatasourceId::new(id(self.id.as_deref()?)?);
        Some(self.with_id(gateway, &source))
    }

    pub(super) fn with_id(self, gateway: &GatewayId, id: &DatasourceId) -> GatewaySource {
        let credential = self.credential.unwrap_or_default();
        GatewaySource {
            gateway: gateway.clone(),
            id: id.clone(),
            name: self.name,
            databricks: DatabricksSource::parse(&self.details),
            credential_type: self.credential_type,
            privacy_level: credential.privacy_level.filter(|level| !level.is_empty()),
            single_sign_on: credential.single_sign_on,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RefreshRow {
    #[serde(default, rename = "requestId", alias = "RequestId")]
    request_id: Option<String>,
    #[serde(default, alias = "Status")]
    status: Option<String>,
    #[serde(default, rename = "startTime", alias = "StartTime")]
    start_time: Option<String>,
    #[serde(default, rename = "serviceExceptionJson", alias = "ServiceExceptionJson")]
    exception: Option<String>,
}

impl RefreshRow {
    pub(super) fn refresh(self) -> Refresh {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Exception {
            error_code: Option<String>,
        }
        let exception = self.exception.as_deref().and_then(|text| serde_json::from_str::<Exception>(text).ok());
        Refresh {
            request_id: self.request_id,
            status: self.status.unwrap_or_else(|| "Unknown".to_owned()),
            started: self.start_time.as_deref().and_then(instant),
            error_code: exception.and_then(|exception| exception.error_code),
        }
    }
}

/// Some answers leave out the `Z`; all mean UTC.
fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::SourceKind;

    fn list<T: for<'a> Deserialize<'a>>(body: &str) -> Vec<T> {
        serde_json::from_str::<List<T>>(body).unwrap().value
    }

    #[test]
    fn workspaces_are_read_and_personal_ones_told_apart() {
        let rows: Vec<GroupRow> = list(
            r#"{"@odata.context":"x","value":[{"id":"A0000000-0000-4000-8000-000000000001","name":"Sales","new":{}},
                {"id":"p","type":"PersonalGroup"},{"Id":"b","Name":null,"type":"Workspace"},{"id":".."}]}"#,
        );
        let groups: Vec<_> = rows.into_iter().filter_map(GroupRow::group).collect();
        let group = |id: &str, name: &str, is_personal| Group { id: GroupId::new(id), name: name.into(), is_personal };
        let expected =
            [group("a0000000-0000-4000-8000-000000000001", "Sales", false), group("p", "", true), group("b", "", false)];
        assert_eq!(groups, expected);
    }

    #[test]
    fn both_shapes_of_data_source_are_read() {
        let rows: Vec<DatasetSourceRow> = list(
            r#"{"value":[{"datasourceType":"Extension","datasourceId":"D1","gatewayId":"g1",
                 "connectionDetails":{"kind":"Databricks","path":"{\"host\":\"h.azuredatabricks.net\",\"httpPath\":\"\\/sql\\/1.0\\/warehouses\\/w1\"}"}},
                {"datasourceType":"Sql","connectionDetails":{"server":"s"}},
                {"gatewayId":"00000000-0000-0000-0000-000000000000","datasourceId":""}]}"#,
        );
        let sources: Vec<_> = rows.into_iter().map(DatasetSourceRow::source).collect();
        assert_eq!(sources[0].gateway, Some(GatewayId::new("g1")));
        assert_eq!(sources[0].databricks.as_ref().unwrap().host, "h.azuredatabricks.net");
        for source in &sources[1..] {
            assert_eq!(source, &DatasetSource { gateway: None, datasource: None, databricks: None });
        }

        let body = r#"{"value":[{"id":"d1","gatewayId":"g1","datasourceType":"Extension","datasourceName":"Sales DBX","credentialType":"Basic",
            "connectionDetails":"{\"extensionDataSourceKind\":\"DatabricksMultiCloud\",\"extensionDataSourcePath\":\"{\\\"host\\\":\\\"h.cloud.databricks.com\\\",\\\"httpPath\\\":\\\"\\\\/sql\\\\/1.0\\\\/endpoints\\\\/w1\\\"}\"}",
            "credentialDetails":{"privacyLevel":"Private","useEndUserOAuth2Credentials":"True"}}]}"#;
        let rows: Vec<GatewaySourceRow> = list(body);
        let source = rows.into_iter().next().unwrap().source(&GatewayId::new("g1")).unwrap();
        assert_eq!(source.databricks.unwrap().kind, SourceKind::DatabricksMultiCloud);
        assert_eq!((source.privacy_level.as_deref(), source.single_sign_on), (Some("Private"), Some(true)));
        assert_eq!(source.credential_type.as_deref(), Some("Basic"));
    }

    #[test]
    fn a_virtual_gateway_has_neither_name_nor_key() {
        let row: GatewayRow = serde_json::from_str(r#"{"id":"g","name":"","publicKey":{"exponent":"","modulus":""}}"#).unwrap();
        assert_eq!(row.gateway(), Some(Gateway { id: GatewayId::new("g"), name: None, public_key: None }));
    }

    #[test]
    fn refreshes_are_read_with_either_form_of_time() {
        let rows: Vec<RefreshRow> = list(
            r#"{"value":[{"requestId":"r","status":"Failed","startTime":"2021-12-10T08:40:31.57",
                "serviceExceptionJson":"{\"errorCode\":\"ModelRefreshFailed_CredentialsNotSpecified\"}"},
                {"startTime":"2021-12-10T08:40:31.57Z"}]}"#,
        );
        let refreshes: Vec<_> = rows.into_iter().map(RefreshRow::refresh).collect();
        assert_eq!(refreshes[0].started, "2021-12-10T08:40:31.57Z".parse().ok());
        assert_eq!(refreshes[0].started, refreshes[1].started);
        assert_eq!(refreshes[0].error_code.as_deref(), Some("ModelRefreshFailed_CredentialsNotSpecified"));
        assert_eq!(refreshes[1].status, "Unknown");
    }
}
