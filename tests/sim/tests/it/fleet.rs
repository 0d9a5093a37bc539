use lakekey_sim::{Fleet, Settings};
use serde_json::{Value, json};

use crate::client::{Answer, FABRIC, PBI, credential_text, fabric, get, minted, powerbi, send, update};
use crate::sealing::seal;

fn settings() -> Settings {
    Settings { start: Some("2026-03-01T08:00:00Z".parse().expect("a timestamp")), ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_one_fleet() {
    let shown = |seed| serde_json::to_string(&Fleet::medium(seed).build(settings()).truth()).expect("JSON");
    assert_eq!(shown(1), shown(1));
    assert_ne!(shown(1), shown(2));
}

#[tokio::test(start_paused = true)]
async fn fleets_have_the_targets_asked_for_all_of_them_live() {
    for (fleet, targets) in [(Fleet::small(1), 5), (Fleet::medium(2), 40), (Fleet::new(300, 3), 300)] {
        let sources = fleet.build(settings()).sources();
        let (targeted, decoys): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.target);
        assert_eq!(targeted.len(), targets);
        assert!(targeted.iter().all(|source| source.alive && source.connects && source.host.starts_with("adb-")));
        assert!(decoys.len() > 8);
        let others = decoys.iter().filter(|source| source.credential.as_deref() == Some("Basic") && source.connects);
        assert_eq!(others.count(), 2, "another principal's sources work, and must go on working");
    }
}

#[tokio::test(start_paused = true)]
async fn options_take_away_and_add() {
    let plain = Fleet { gateways: false, decoys: false, ..Fleet::medium(1) }.build(settings());
    assert!(plain.sources().iter().all(|source| source.target && source.connectivity.ends_with("Cloud")));
    let hard = Fleet { hard_cases: true, foreign_secrets: 3, ..Fleet::small(1) }.build(settings());
    assert_eq!(hard.sources().iter().filter(|source| source.target).count(), 7);
    let principal = &hard.cast().principal.application_id;
    assert_eq!(hard.secrets(principal).len(), 4);
    assert!(hard.person_mints(principal, std::time::Duration::from_secs(60)).is_some());
    assert!(hard.person_mints(principal, std::time::Duration::from_secs(60)).is_none(), "five are five");
}

/// A rotation as simple as can be: no crash safety, no order, only the calls. If it can't move every target, no client can.
#[tokio::test(start_paused = true)]
async fn every_target_of_a_fleet_can_be_moved_and_no_decoy_need_be_touched() {
    let cloud = Fleet::medium(11).build(settings());
    let before = cloud.sources();
    let (id, value) = minted(&cloud).await;
    let (token, for_fabric) = (powerbi(&cloud).await, fabric(&cloud).await);
    let principal = cloud.cast().principal.application_id.clone();
    let plain = credential_text(&principal, &value);
    let hosts: Vec<&str> = cloud.addresses().databricks.iter().map(|base| base.trim_start_matches("https://")).collect();

    for group in rows(&get(&cloud, &format!("{PBI}/groups"), &token).await) {
        let group = format!("{PBI}/groups/{}", text(&group["id"]));
        for dataset in rows(&get(&cloud, &format!("{group}/datasets"), &token).await) {
            let dataset_url = format!("{group}/datasets/{}", text(&dataset["id"]));
            let sources = async || rows(&get(&cloud, &format!("{dataset_url}/datasources"), &token).await);
            let ours = |source: &&Value| {
                let details = &source["connectionDetails"];
                let known = text(&details["kind"]).starts_with("Databricks") && source["datasourceId"].is_string();
                known && hosts.iter().any(|host| text(&details["path"]).contains(host))
            };
            for source in sources().await.iter().filter(ours) {
                let connection =
                    get(&cloud, &format!("{FABRIC}/connections/{}", text(&source["datasourceId"])), &for_fabric).await.json;
                if connection["credentialDetails"]["credentialType"].as_str().is_some_and(|kind| kind != "Basic") {
                    continue;
                }
                let (url, body) = match connection["connectivityType"].as_str() {
                    Some("VirtualNetworkGateway") => {
                        let credentials = json!({ "credentialType": "Basic", "username": principal, "password": value });
                        let body = json!({ "connectivityType": "VirtualNetworkGateway", "credentialDetails": { "credentials": credentials } });
                        (format!("{FABRIC}/connections/{}", text(&source["datasourceId"])), body)
                    }
                    Some("OnPremisesGateway") => {
                        let gateway = get(&cloud, &format!("{PBI}/gateways/{}", text(&source["gatewayId"])), &token).await.json;
                        let sealed = seal(text(&gateway["publicKey"]["modulus"]), plain.as_bytes());
                        (update_url(source), update(&sealed, "RSA-OAEP"))
                    }
                    _ => {
                        if text(&dataset["configuredBy"]) != cloud.cast().powerbi.object_id {
                            send(&cloud, "POST", &format!("{dataset_url}/Default.TakeOver"), &token, None).await;
                        }
                        (update_url(&sources().await[0]), update(&plain, "None"))
                    }
                };
                let token = if url.starts_with(FABRIC) { &for_fabric } else { &token };
                let answer = send(&cloud, "PATCH", &url, token, Some(body)).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
        }
    }
    let after = cloud.sources();
    let moved: Vec<_> = after.iter().filter(|source| source.target).collect();
    assert_eq!(moved.len(), 40);
    assert!(moved.iter().all(|source| source.secret_id.as_ref() == Some(&id) && source.alive && source.connects));
    for decoy in before.iter().filter(|source| !source.target) {
        assert_eq!(after.iter().find(|source| source.id == decoy.id), Some(decoy));
    }
    assert_eq!(cloud.leaks(), Vec::<String>::new());
}

fn rows(answer: &Answer) -> Vec<Value> {
    answer.json["value"].as_array().expect("a list").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn update_url(source: &Value) -> String {
    format!("{PBI}/gateways/{}/datasources/{}", text(&source["gatewayId"]), text(&source["datasourceId"]))
}
