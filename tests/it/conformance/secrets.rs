//! How Secrets Manager answers, asked of moto and of the strict fake that rotations are tested with: the same calls, the same
//! answers. Where moto is known to be laxer than AWS, the fake alone is asked, and must refuse.

use lakekey_core::random::Random;
use lakekey_parts::Moto;
use serde_json::{Value, json};

use crate::lambda::secrets::{NAME, Secrets};

const ONE: &str = "11111111-0000-4000-8000-000000000001";
const TWO: &str = "22222222-0000-4000-8000-000000000002";
const THREE: &str = "33333333-0000-4000-8000-000000000003";

/// What a call came to, without what differs from secret to secret, and without what moto has wrong: it says 404 where AWS says
/// 400, and lists versions without a label.
async fn told(call: &impl AsyncFn(&str, Value) -> (u16, Value), action: &str, body: Value) -> String {
    let asked = body.to_string();
    let (status, answer) = call(action, body).await;
    let mut seen = json!({ "done": status == 200 });
    if let Some(kind) = answer["__type"].as_str() {
        seen["kind"] = json!(kind.rsplit('#').next());
    }
    for key in ["VersionId", "SecretString", "VersionStages", "VersionIdsToStages", "RotationEnabled"] {
        if !answer[key].is_null() {
            seen[key] = sorted(&answer[key]);
        }
    }
    format!("{action} {asked}: {seen}")
}

/// Labels have no order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(labels) => {
            let mut labels: Vec<String> = labels.iter().map(|label| label.as_str().unwrap().to_owned()).collect();
            labels.sort();
            json!(labels)
        }
        Value::Object(versions) => {
            let labelled = versions.iter().filter(|(_, labels)| **labels != json!([]));
            labelled.map(|(id, labels)| (id.clone(), sorted(labels))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// All that lakekey asks of it, and what it is refused.
async fn transcript(call: impl AsyncFn(&str, Value) -> (u16, Value)) -> Vec<String> {
    let put = |token: &str, value: &str, labels: &[&str]| json!({ "ClientRequestToken": token, "SecretString": value, "VersionStages": labels });
    let get = |id: Option<&str>, label: Option<&str>| json!({ "VersionId": id, "VersionStage": label });
    let moved = |label: &str, from: Option<&str>, to: Option<&str>| json!({ "VersionStage": label, "RemoveFromVersionId": from, "MoveToVersionId": to });
    let calls = [
        ("DescribeSecret", json!({})),
        ("GetSecretValue", get(None, Some("AWSCURRENT"))),
        ("PutSecretValue", put(ONE, "one", &["lakekey-next"])),
        ("CreateSecret", json!({})),
        ("DescribeSecret", json!({})),
        ("PutSecretValue", put(ONE, "one", &["AWSCURRENT", "lakekey-next"])),
        ("PutSecretValue", put(ONE, "one", &["AWSCURRENT", "lakekey-next"])),
        ("DescribeSecret", json!({})),
        ("GetSecretValue", get(None, Some("AWSCURRENT"))),
        ("GetSecretValue", get(Some(ONE), None)),
        ("GetSecretValue", get(Some(TWO), None)),
        ("PutSecretValue", put(TWO, "two", &["AWSPENDING"])),
        ("GetSecretValue", get(Some(TWO), Some("AWSPENDING"))),
        ("GetSecretValue", get(Some(TWO), Some("AWSCURRENT"))),
        ("GetSecretValue", get(None, Some("AWSPREVIOUS"))),
        ("UpdateSecretVersionStage", moved("AWSCURRENT", Some(ONE), Some(TWO))),
        ("DescribeSecret", json!({})),
        ("GetSecretValue", get(None, Some("AWSPREVIOUS"))),
        ("PutSecretValue", put(THREE, "three", &["lakekey-next"])),
        ("DescribeSecret", json!({})),
        ("UpdateSecretVersionStage", moved("lakekey-next", Some(THREE), None)),
        ("DescribeSecret", json!({})),
        ("UpdateSecretVersionStage", moved("AWSCURRENT", Some(TWO), Some(ONE))),
        ("DescribeSecret", json!({})),
    ];
    let mut told_all = Vec::new();
    for (action, body) in calls {
        told_all.push(told(&call, action, body).await);
    }
    told_all
}

#[tokio::test]
async fn the_strict_secrets_manager_answers_as_moto_does_where_moto_is_right() {
    let name = format!("lakekey/{}", Random::system().nonce());
    let named = |mut body: Value, action: &str, name: &str| {
        body[if action == "CreateSecret" { "Name" } else { "SecretId" }] = json!(name);
        body
    };
    let at_moto =
        transcript(async |action, body| Moto::shared().secrets_manager(action, named(body, action, &name)).await.unwrap());
    let secrets = Secrets::default();
    let at_fake = transcript(async |action, body| secrets.call(action, &named(body, action, NAME)));
    let (at_moto, at_fake) = (at_moto.await, at_fake.await);
    for (moto, fake) in at_moto.iter().zip(&at_fake) {
        assert_eq!(moto, fake);
    }
    assert!(at_fake.len() > 20 && at_fake.last().unwrap().contains("AWSPREVIOUS"));
}

#[tokio::test]
async fn what_moto_lets_pass_the_strict_secrets_manager_refuses() {
    let secrets = Secrets::default();
    let call = async |action: &str, body: Value| {
        let mut body = body;
        body["SecretId"] = json!(NAME);
        secrets.call(action, &body)
    };
    secrets.put_by_hand("one".to_owned());
    secrets.set_rotation(Some(true));
    secrets.begin_rotation(TWO);
    let put = |value: &str| json!({ "ClientRequestToken": TWO, "SecretString": value, "VersionStages": ["AWSPENDING"] });
    assert_eq!(call("PutSecretValue", put("two")).await.0, 200, "the empty version is filled");
    assert_eq!(call("PutSecretValue", put("other")).await.1["__type"], "ResourceExistsException");
    let from_elsewhere = json!({ "VersionStage": "AWSCURRENT", "RemoveFromVersionId": TWO, "MoveToVersionId": TWO });
    assert_eq!(call("UpdateSecretVersionStage", from_elsewhere).await.1["__type"], "InvalidParameterException");
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| secrets.begin_rotation(THREE)));
    assert!(again.is_err(), "the previous rotation isn't complete");
}
