//! The document as reviewed: what callers build on changes only where somebody looks at it.

use insta::assert_json_snapshot;

use super::{calls, document};

#[test]
fn the_openapi_document_is_as_reviewed() {
    let (_, mut document) = calls().split_for_parts();
    document::complete(&mut document);
    let json = serde_json::to_value(&document).unwrap();
    assert!(json["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_json_snapshot!(json);
}
