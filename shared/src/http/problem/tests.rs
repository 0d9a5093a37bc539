use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;

fn read(body: &str) -> (Option<String>, Option<String>) {
    let problem = ServiceProblem::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    (problem.code, problem.message)
}

fn some(code: &str, message: &str) -> (Option<String>, Option<String>) {
    (Some(code.to_owned()), Some(message.to_owned()))
}

#[test]
fn databricks_codes_are_text_or_numbers() {
    assert_eq!(
        read(r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no such principal"}"#),
        some("RESOURCE_DOES_NOT_EXIST", "no such principal")
    );
    assert_eq!(read(r#"{"error_code":403,"message":"Invalid access token"}"#), some("403", "Invalid access token"));
    assert_eq!(read(r#"{"error":"the old dialect speaks so"}"#), (None, Some("the old dialect speaks so".to_owned())));
}

#[test]
fn the_request_id_comes_from_the_body_or_the_headers() {
    let body = br#"{"error_code":"X","details":[{"@type":"type.googleapis.com/google.rpc.RequestInfo","request_id":"r-1"}]}"#;
    let mut headers = HeaderMap::new();
    headers.insert("RequestId", HeaderValue::from_static("h-1"));
    assert_eq!(ServiceProblem::read(StatusCode::BAD_REQUEST, &headers, body).request_id.as_deref(), Some("r-1"));
    assert_eq!(ServiceProblem::read(StatusCode::BAD_REQUEST, &headers, b"").request_id.as_deref(), Some("h-1"));
}

#[test]
fn scim_has_a_status_in_text_and_a_detail_that_may_be_null() {
    let schemas = r#""schemas":["urn:ietf:params:scim:api:messages:2.0:Error"]"#;
    assert_eq!(read(&format!(r#"{{{schemas},"detail":"gone","status":"404"}}"#)), some("SCIM_404", "gone"));
    assert_eq!(
        read(&format!(r#"{{{schemas},"detail":"taken","status":"409","scimType":"uniqueness"}}"#)),
        some("SCIM_409", "uniqueness taken")
    );
    assert_eq!(read(&format!(r#"{{{schemas},"detail":"null","status":"500"}}"#)), some("SCIM_500", "SCIM API internal error"));
}

#[test]
fn oauth_speaks_two_dialects() {
    assert_eq!(
        read(r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","trace_id":"t"}"#),
        some("invalid_client", "AADSTS7000215: Invalid client secret provided.")
    );
    assert_eq!(read(r#"{"errorCode":"invalid_client","errorSummary":"no"}"#), some("invalid_client", "no"));
    assert_eq!(read(r#"{"error":"invalid_client"}"#), (Some("invalid_client".to_owned()), None));
}

#[test]
fn power_bi_errors_lose_their_connection_data() {
    let body = r#"{"error":{"code":"DM_GWPipeline_Gateway_InvalidConnectionCredentials","pbi.error":{"code":"DM_GWPipeline_Gateway_InvalidConnectionCredentials","parameters":{},"details":[{"code":"DM_ErrorDetailNameCode_UnderlyingErrorMessage","detail":{"type":1,"value":"Server=x;Password=hunter2"}}],"exceptionCulprit":1}}}"#;
    let problem = ServiceProblem::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    assert_eq!(problem.code.as_deref(), Some("DM_GWPipeline_Gateway_InvalidConnectionCredentials"));
    assert!(!format!("{problem:?}").contains("hunter2"));
    assert_eq!(
        read(r#"{"error":{"code":"PowerBINotAuthorizedException","message":"nope"}}"#),
        some("PowerBINotAuthorizedException", "nope")
    );
    assert_eq!(
        read(r#"{"Message":"API is not accessible for application"}"#),
        (None, Some("API is not accessible for application".to_owned()))
    );
}

#[test]
fn fabric_gives_more_details() {
    let body = r#"{"errorCode":"InvalidInput","message":"bad","requestId":"f-1","moreDetails":[{"errorCode":"X","message":"worse"}],"isRetriable":false}"#;
    let problem = ServiceProblem::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    assert_eq!(problem.code.as_deref(), Some("InvalidInput"));
    assert_eq!(problem.message.as_deref(), Some("bad (worse)"));
    assert_eq!(problem.request_id.as_deref(), Some("f-1"));
}

#[test]
fn pages_text_and_nothing_are_read_too() {
    assert_eq!(read("<html><head><title>Bad\nGateway</title></head></html>"), (None, Some("Bad Gateway".to_owned())));
    assert_eq!(
        read("<HTML><body><pre class=x>IncorrectClaimException: iss</pre>"),
        (None, Some("IncorrectClaimException: iss".to_owned()))
    );
    assert_eq!(read("INVALID_STATE: not now"), some("INVALID_STATE", "not now"));
    assert_eq!(read("some words"), (None, Some("some words".to_owned())));
    assert_eq!(read(""), (None, None));
    assert_eq!(read("null"), (None, Some("null".to_owned())));
}

#[test]
fn a_redirect_names_its_place_without_the_query() {
    let mut headers = HeaderMap::new();
    headers.insert("location", HeaderValue::from_static("https://login.example.com/a/b?code=hush#frag"));
    let problem = ServiceProblem::read(StatusCode::FOUND, &headers, b"");
    assert_eq!(problem.code.as_deref(), Some(REDIRECT));
    assert_eq!(problem.message.as_deref(), Some("it points to https://login.example.com/a/b"));
    headers.insert("location", HeaderValue::from_static("/login.html?error=private-link-validation-error:1"));
    assert_eq!(ServiceProblem::read(StatusCode::FOUND, &headers, b"").code.as_deref(), Some(PRIVATE_LINK));
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let problem = ServiceProblem::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), &body);
        prop_assert!(problem.message.is_none_or(|message| message.chars().count() <= redact::MESSAGE_CHARS_MAX));
    }

    #[test]
    fn no_json_makes_it_panic(keys in proptest::collection::vec("(error|error_code|message|details|schemas|detail|status|moreDetails|code|pbi.error)", 0..6), value in "(\"[^\"\\\\\\p{C}]{0,20}\"|[0-9]{1,5}|null|\\[\\]|\\{\\}|\\[1\\])") {
        let body = format!("{{{}}}", keys.iter().map(|key| format!("\"{key}\":{value}")).collect::<Vec<_>>().join(","));
        let _ = ServiceProblem::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    }
}
