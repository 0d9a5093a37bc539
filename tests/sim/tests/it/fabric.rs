use serde_json::{Value, json};

use crate::client::{FABRIC, cloud, credential_text, fabric, get, minted, send, source, target};
use crate::sealing::seal;

#[tokio::test(start_paused = true)]
async fn connections_are_paged_by_a_token_that_is_encoded_already() {
    let cloud = cloud();
    let token = fabric(&cloud).await;
    let (mut ids, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(&cloud, &format!("{FABRIC}/connections{query}"), &token).await.json;
        ids.extend(page["value"].as_array().expect("a list").iter().filter_map(|row| row["id"].as_str().map(str::to_owned)));
        let Some(next) = page["continuationToken"].as_str() else { break };
        let twice: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let refused = get(&cloud, &format!("{FABRIC}/connections?continuationToken={twice}"), &token).await;
        assert_eq!(refused.status, 400, "encoding it again spoils it");
        query = format!("?continuationToken={next}");
    }
    ids.dedup();
    assert!(ids.len() > 3);
    assert!(!ids.contains(&target(&cloud, "PersonalCloud", false).id), "a person's connection is the person's");
    assert!(ids.contains(&target(&cloud, "VirtualNetworkGateway", false).id));
}

#[tokio::test(start_paused = true)]
async fn a_virtual_network_connection_takes_plaintext_and_keeps_the_rest() {
    let cloud = cloud();
    let token = fabric(&cloud).await;
    let before = target(&cloud, "VirtualNetworkGateway", false);
    let (id, value) = minted(&cloud).await;
    let url = format!("{FABRIC}/connections/{}", before.id);
    let push = async |kind: &str, value: &str| {
        let credentials =
            json!({ "credentialType": "Basic", "username": cloud.cast().principal.application_id, "password": value });
        let body = json!({ "connectivityType": kind, "credentialDetails": { "credentials": credentials } });
        send(&cloud, "PATCH", &url, &token, Some(body)).await
    };
    assert_eq!(push("ShareableCloud", &value).await.status, 400, "the type must be the connection's own");
    assert_eq!(push("VirtualNetworkGateway", "nonsense").await.json["errorCode"], "IncorrectCredentials");
    assert_eq!(source(&cloud, &before.id), before, "nothing is stored");
    let done = push("VirtualNetworkGateway", &value).await;
    assert_eq!((done.status, done.json["id"].as_str()), (200, Some(before.id.as_str())));
    assert!(!done.text.contains(&value));
    let after = source(&cloud, &before.id);
    assert_eq!((after.secret_id, after.privacy, after.sso), (Some(id), before.privacy, before.sso));

    let test = send(&cloud, "POST", &format!("{url}/testConnection"), &token, None).await;
    assert_eq!(test.json["status"], "Online");
    cloud.person_writes_credential(&before.id, "nobody", "nothing");
    let test = send(&cloud, "POST", &format!("{url}/testConnection"), &token, None).await;
    assert_eq!((test.status, test.json["status"].as_str()), (200, Some("Offline")), "offline is no error");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_wants_one_ciphertext_for_each_member() {
    let cloud = cloud();
    let token = fabric(&cloud).await;
    let gateways = cloud.truth();
    let cluster = gateways.sources.iter().filter(|source| source.target && source.connectivity == "OnPremisesGateway");
    let mut found = None;
    for source in cluster {
        let members = get(&cloud, &format!("{FABRIC}/gateways/{}/members", source.gateway), &token).await.json;
        let members = members["value"].as_array().expect("a list").clone();
        assert_eq!(members[0]["id"].as_str(), Some(source.gateway.as_str()));
        if members.len() == 2 {
            found = Some((source.clone(), members));
        }
    }
    let (target, members) = found.expect("the fleet has a cluster");
    let (id, value) = minted(&cloud).await;
    let plain = credential_text(&cloud.cast().principal.application_id, &value);
    let sealed = |plain: &str| -> Vec<Value> {
        let one = |member: &Value| {
            let text = seal(member["publicKey"]["modulus"].as_str().expect("a key"), plain.as_bytes());
            json!({ "gatewayId": member["id"], "encryptedCredentials": text })
        };
        members.iter().map(one).collect()
    };
    let push = async |values: Vec<Value>| {
        let credentials = json!({ "credentialType": "Basic", "values": values });
        let body = json!({ "connectivityType": "OnPremisesGateway", "credentialDetails": { "credentials": credentials } });
        send(&cloud, "PATCH", &format!("{FABRIC}/connections/{}", target.id), &token, Some(body)).await.status
    };
    assert_eq!(push(sealed(&plain)[..1].to_vec()).await, 400, "one is missing");
    assert_eq!(push([sealed(&plain), sealed(&plain)].concat()).await, 400, "two are too many");
    let mut swapped = sealed(&plain);
    let first = swapped[0]["gatewayId"].take();
    swapped[0]["gatewayId"] = swapped[1]["gatewayId"].take();
    swapped[1]["gatewayId"] = first;
    assert_eq!(push(swapped).await, 400, "each has its own key");
    assert_eq!(push(vec![sealed(&plain)[0].clone(), sealed(&credential_text("a", "b"))[1].clone()]).await, 400, "they differ");
    assert_eq!(push(sealed(&plain)).await, 200);
    assert_eq!(source(&cloud, &target.id).secret_id, Some(id));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_shared_can_not_be_seen() {
    let cloud = cloud();
    let token = fabric(&cloud).await;
    let persons = target(&cloud, "PersonalCloud", false);
    let answer = get(&cloud, &format!("{FABRIC}/connections/{}", persons.id), &token).await;
    assert_eq!((answer.status, answer.json["errorCode"].as_str()), (404, Some("EntityNotFound")));
    let gateways = get(&cloud, &format!("{FABRIC}/gateways"), &token).await;
    assert!(!gateways.text.contains("Someone else's"));
}

#[tokio::test(start_paused = true)]
async fn a_test_that_takes_time_is_an_operation_of_the_caller_s_own() {
    let cloud = cloud();
    cloud.configure(|settings| settings.connection_test_time = std::time::Duration::from_secs(5));
    let token = fabric(&cloud).await;
    let network = target(&cloud, "VirtualNetworkGateway", false);
    let started = send(&cloud, "POST", &format!("{FABRIC}/connections/{}/testConnection", network.id), &token, None).await;
    assert_eq!(started.status, 202);
    let id = started.headers["x-ms-operation-id"].to_str().expect("text").to_owned();
    let place = started.headers["location"].to_str().expect("text");
    assert!(place.ends_with(&format!("/operations/{id}")) && !place.contains("/v1/"), "as in the official example: {place}");
    let operation = format!("{FABRIC}/operations/{id}");
    assert_eq!(get(&cloud, &operation, &token).await.json["status"], "Running");
    assert_eq!(get(&cloud, &format!("{operation}/result"), &token).await.status, 400);
    cloud.advance(std::time::Duration::from_secs(6));
    assert_eq!(get(&cloud, &operation, &token).await.json["status"], "Succeeded");
    assert_eq!(get(&cloud, &format!("{operation}/result"), &token).await.json["status"], "Online");
    assert_eq!(get(&cloud, &format!("{FABRIC}/operations/nothing"), &token).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_known_words_and_those_that_were_shown() {
    let cloud = cloud();
    let token = fabric(&cloud).await;
    let network = target(&cloud, "VirtualNetworkGateway", false);
    let push = async |sso: &str| {
        let details = json!({ "singleSignOnType": sso });
        let body = json!({ "connectivityType": "VirtualNetworkGateway", "credentialDetails": details });
        send(&cloud, "PATCH", &format!("{FABRIC}/connections/{}", network.id), &token, Some(body)).await.status
    };
    assert_eq!(push("Telepathy").await, 400);
    cloud.show_connection_as(&network.id, "singleSignOnType", "Telepathy");
    assert_eq!((push("Telepathy").await, push("Sorcery").await), (200, 400));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_a_member_that_is_off_takes_nothing_and_tests_as_offline() {
    let cloud = cloud();
    let token = fabric(&cloud).await;
    let source = target(&cloud, "OnPremisesGateway", false);
    cloud.set_member_online(&source.gateway, 0, false);
    let url = format!("{FABRIC}/connections/{}", source.id);
    let credentials = json!({ "credentialType": "Basic", "values": [] });
    let body = json!({ "connectivityType": "OnPremisesGateway", "credentialDetails": { "credentials": credentials } });
    let refused = send(&cloud, "PATCH", &url, &token, Some(body)).await;
    assert_eq!((refused.status, refused.json["errorCode"].as_str()), (400, Some("UpdateGatewayConnectionFailed")));
    let test = send(&cloud, "POST", &format!("{url}/testConnection"), &token, None).await;
    assert_eq!((test.status, test.json["status"].as_str()), (200, Some("Offline")));
    cloud.set_fabric_allowed(&cloud.cast().powerbi.object_id, false);
    assert_eq!(get(&cloud, &url, &token).await.status, 403);
}
