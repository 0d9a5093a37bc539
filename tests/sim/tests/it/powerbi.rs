use std::time::Duration;

use lakekey_sim::{Cloud, Fleet, Role, Settings, TakeOver};
use serde_json::{Value, json};

use crate::client::{
    FABRIC, PBI, cloud, cloud_with, credential_text, dataset_of, fabric, get, minted, powerbi, send, source, source_url, target,
    update,
};
use crate::sealing::seal;

async fn patch(cloud: &Cloud, url: &str, body: Value) -> (u16, String) {
    let answer = send(cloud, "PATCH", url, &powerbi(cloud).await, Some(body)).await;
    (answer.status, answer.json["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn principal(cloud: &Cloud) -> String {
    cloud.cast().principal.application_id.clone()
}

#[tokio::test(start_paused = true)]
async fn an_update_stores_just_what_was_pushed() {
    let cloud = cloud();
    let target = target(&cloud, "PersonalCloud", true);
    let (id, value) = minted(&cloud).await;
    let body = update(&credential_text(&principal(&cloud), &value), "None");
    assert_eq!(patch(&cloud, &source_url(&target), body).await.0, 200);
    let after = source(&cloud, &target.id);
    assert_eq!(after.secret_id, Some(id));
    assert_eq!((after.privacy.as_str(), after.sso, after.writes), ("Private", false, 1));
    assert!(cloud.leaks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_update_with_anything_amiss_is_refused() {
    let cloud = cloud();
    let target = target(&cloud, "PersonalCloud", true);
    let (_, value) = minted(&cloud).await;
    let good = credential_text(&principal(&cloud), &value);
    let mut bodies = Vec::new();
    for key in ["credentials", "credentialType", "encryptedConnection", "encryptionAlgorithm", "privacyLevel"] {
        for wrong in [None, Some(json!("Unheard-Of")), Some(json!(1))] {
            let mut body = update(&good, "None");
            let details = body["credentialDetails"].as_object_mut().expect("an object");
            match wrong {
                None => details.remove(key),
                Some(wrong) => details.insert(key.to_owned(), wrong),
            };
            bodies.push(body);
        }
    }
    let mut as_text = update(&good, "None");
    as_text["credentialDetails"]["useEndUserOAuth2Credentials"] = json!("False");
    let mut unknown = update(&good, "None");
    unknown["credentialDetails"]["skipTestConnection"] = json!(true);
    let single_quoted = good.replace('"', "'");
    let flat = json!({ "username": principal(&cloud), "password": value }).to_string();
    bodies.extend([
        as_text,
        unknown,
        update(&single_quoted, "None"),
        update(&flat, "None"),
        update(&good, "RSA-OAEP"),
        json!({}),
    ]);
    for body in bodies {
        assert_eq!(patch(&cloud, &source_url(&target), body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(source(&cloud, &target.id), target, "nothing is stored");
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_does_not_connect_is_not_stored() {
    let cloud = cloud();
    let target = target(&cloud, "PersonalCloud", true);
    let (id, value) = minted(&cloud).await;
    let principal = principal(&cloud);
    let refused = (400, "DM_GWPipeline_Gateway_InvalidConnectionCredentials".to_owned());
    let push = async |value: &str| patch(&cloud, &source_url(&target), update(&credential_text(&principal, value), "None")).await;
    assert_eq!(push("made up").await, refused);
    cloud.set_warehouse_level(&target.warehouse, &principal, None);
    assert_eq!(push(&value).await, refused, "CAN_USE is needed on the source's own warehouse");
    cloud.set_warehouse_level(&target.warehouse, &principal, Some(lakekey_sim::Level::CanUse));
    assert_eq!(push(&value).await.0, 200);
    cloud.person_deletes_secret(&id);
    assert_eq!(push(&value).await, refused);
    assert!(!source(&cloud, &target.id).alive);
}

#[tokio::test(start_paused = true)]
async fn a_cold_warehouse_makes_an_update_slow() {
    let cloud = cloud_with(|settings| settings.warehouse_start = Duration::from_secs(90));
    let target = target(&cloud, "PersonalCloud", true);
    let (_, value) = minted(&cloud).await;
    let before = cloud.now();
    let body = update(&credential_text(&principal(&cloud), &value), "None");
    assert_eq!(patch(&cloud, &source_url(&target), body).await.0, 200);
    assert_eq!(cloud.now().duration_since(before).as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn only_the_owner_writes_a_cloud_source_and_take_over_moves_it() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let old = target(&cloud, "PersonalCloud", false);
    let (_, value) = minted(&cloud).await;
    let body = update(&credential_text(&principal(&cloud), &value), "None");
    assert_eq!(patch(&cloud, &source_url(&old), body.clone()).await, (403, "PowerBINotAuthorizedException".to_owned()));

    let (group, dataset) = dataset_of(&cloud, &old);
    let take_over = format!("{PBI}/groups/{group}/datasets/{dataset}/Default.TakeOver");
    assert_eq!(send(&cloud, "POST", &take_over, &token, None).await.status, 200);
    let listed = get(&cloud, &format!("{PBI}/groups/{group}/datasets/{dataset}/datasources"), &token).await.json;
    let new = source(&cloud, listed["value"][0]["datasourceId"].as_str().expect("it is bound"));
    assert_ne!(new.id, old.id);
    assert_eq!((new.credential.as_deref(), new.alive, new.privacy.as_str()), (None, false, old.privacy.as_str()));
    assert_eq!(patch(&cloud, &source_url(&new), body).await.0, 200);
    assert!(source(&cloud, &new.id).alive);

    assert_eq!(send(&cloud, "POST", &take_over, &token, None).await.status, 200);
    assert!(source(&cloud, &new.id).alive, "a second take-over by the owner changes nothing");
}

#[tokio::test(start_paused = true)]
async fn take_over_may_leave_everything_where_it_is() {
    let cloud = cloud_with(|settings| settings.take_over = TakeOver::Keeps);
    let old = target(&cloud, "PersonalCloud", false);
    let (group, dataset) = dataset_of(&cloud, &old);
    let url = format!("{PBI}/groups/{group}/datasets/{dataset}/Default.TakeOver");
    assert_eq!(send(&cloud, "POST", &url, &powerbi(&cloud).await, None).await.status, 200);
    assert_eq!(source(&cloud, &old.id), old);
    let (_, value) = minted(&cloud).await;
    let body = update(&credential_text(&principal(&cloud), &value), "None");
    assert_eq!(patch(&cloud, &source_url(&old), body).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn an_on_premises_source_takes_what_its_gateway_can_open() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let target = target(&cloud, "OnPremisesGateway", false);
    let (id, value) = minted(&cloud).await;
    let gateway = get(&cloud, &format!("{PBI}/gateways/{}", target.gateway), &token).await.json;
    let modulus = gateway["publicKey"]["modulus"].as_str().expect("a key");
    let plain = credential_text(&principal(&cloud), &value);
    let undone = (400, "DM_GWPipeline_Gateway_DecryptionError".to_owned());
    assert_eq!(patch(&cloud, &source_url(&target), update(&plain, "None")).await, undone);
    let stranger = lakekey_sim::GatewayKey::Bits3072.public().1;
    assert_eq!(patch(&cloud, &source_url(&target), update(&seal(stranger, plain.as_bytes()), "RSA-OAEP")).await, undone);
    assert_eq!(patch(&cloud, &source_url(&target), update(&seal(modulus, plain.as_bytes()), "RSA-OAEP")).await.0, 200);
    assert_eq!(source(&cloud, &target.id).secret_id, Some(id));

    cloud.set_gateway_admin(&target.gateway, &cloud.cast().powerbi.object_id, false);
    let refused = patch(&cloud, &source_url(&target), update(&seal(modulus, plain.as_bytes()), "RSA-OAEP")).await;
    assert_eq!(refused, (403, "PowerBINotAuthorizedException".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn gateway_data_sources_are_json_in_json_in_json() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let target = target(&cloud, "OnPremisesGateway", false);
    let shown = get(&cloud, &source_url(&target), &token).await.json;
    let details = shown["connectionDetails"].as_str().expect("text");
    assert!(details.contains(r"\\/sql\\/1.0"), "{details}");
    let details: Value = serde_json::from_str(details).expect("JSON");
    let path: Value = serde_json::from_str(details["extensionDataSourcePath"].as_str().expect("text")).expect("JSON");
    assert_eq!(details["extensionDataSourceKind"], target.kind.as_str());
    assert_eq!(
        (path["host"].as_str(), path["httpPath"].as_str()),
        (Some(target.host.as_str()), Some(format!("/sql/1.0/warehouses/{}", target.warehouse).as_str()))
    );
    assert_eq!(get(&cloud, &format!("{}/status", source_url(&target)), &token).await.status, 200);
    cloud.person_writes_credential(&target.id, "nobody", "nothing");
    let status = get(&cloud, &format!("{}/status", source_url(&target)), &token).await;
    assert_eq!((status.status, status.json["error"]["pbi.error"]["exceptionCulprit"].as_i64()), (400, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn cloud_and_virtual_network_sources_have_no_gateway_here() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let in_cloud = target(&cloud, "PersonalCloud", true);
    assert_eq!(get(&cloud, &format!("{PBI}/gateways/{}", in_cloud.gateway), &token).await.status, 404);
    assert_eq!(get(&cloud, &source_url(&in_cloud), &token).await.status, 404);
    cloud.configure(|settings| settings.cloud_sources_readable = true);
    assert_eq!(get(&cloud, &source_url(&in_cloud), &token).await.status, 200);

    let network = target(&cloud, "VirtualNetworkGateway", false);
    assert_eq!(get(&cloud, &format!("{PBI}/gateways/{}", network.gateway), &token).await.status, 404);
    let (_, value) = minted(&cloud).await;
    let body = update(&credential_text(&principal(&cloud), &value), "None");
    assert_eq!(patch(&cloud, &source_url(&network), body).await.0, 400);
    let listed = get(&cloud, &format!("{PBI}/gateways"), &token).await;
    assert!(!listed.text.contains(&network.gateway) && !listed.text.contains("Someone else's"));
}

#[tokio::test(start_paused = true)]
async fn workspaces_are_filtered_paged_and_shut_to_strangers() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let names = async |query: &str| {
        let answer = get(&cloud, &format!("{PBI}/groups{query}"), &token).await;
        let rows = answer.json["value"].as_array().cloned().unwrap_or_default();
        (answer.status, rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect::<Vec<_>>())
    };
    let (_, all) = names("").await;
    assert_eq!(all.len(), 3, "the hidden one is not among them");
    assert_eq!(names("?$top=2&$skip=1").await.1, all[1..]);
    assert_eq!(names("?$filter=name%20eq%20%27Anne%27%27s%20Reports%27").await.1, ["Anne's Reports"]);
    assert_eq!(names("?$filter=name%20eq%20%27Anne%27s%20Reports%27").await.0, 400, "quotes are doubled");
    assert_eq!(names("?$top=5001").await.0, 400);

    let seen = get(&cloud, &format!("{PBI}/groups"), &token).await.text;
    let hidden = cloud.truth().datasets.into_iter().find(|dataset| !seen.contains(&dataset.group)).expect("one is hidden");
    for path in ["", "/any", "/any/datasources"] {
        assert_eq!(get(&cloud, &format!("{PBI}/groups/{}/datasets{path}", hidden.group), &token).await.status, 401);
    }
    assert_eq!(
        get(&cloud, &format!("{PBI}/datasets/x/datasources"), &token).await.json["Message"],
        "API is not accessible for application"
    );
}

#[tokio::test(start_paused = true)]
async fn a_viewer_reads_and_does_nothing_else() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let (group, dataset) = dataset_of(&cloud, &target(&cloud, "PersonalCloud", false));
    cloud.join_group(&group, &cloud.cast().powerbi.object_id, Role::Viewer);
    let url = format!("{PBI}/groups/{group}/datasets/{dataset}");
    assert_eq!(get(&cloud, &format!("{url}/datasources"), &token).await.status, 200);
    assert_eq!(send(&cloud, "POST", &format!("{url}/Default.TakeOver"), &token, None).await.status, 403);
    assert_eq!(send(&cloud, "POST", &format!("{url}/refreshes"), &token, None).await.status, 403);
    assert_eq!(get(&cloud, &format!("{PBI}/groups/{group}/datasets/nothing/datasources"), &token).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_judged_by_what_is_stored_when_it_ends() {
    let cloud = cloud_with(|settings| settings.refresh_time = Duration::from_secs(60));
    let token = powerbi(&cloud).await;
    let target = target(&cloud, "PersonalCloud", true);
    let (group, dataset) = dataset_of(&cloud, &target);
    let url = format!("{PBI}/groups/{group}/datasets/{dataset}/refreshes");
    let last = async || get(&cloud, &format!("{url}?$top=1"), &token).await.json["value"][0].clone();
    let start = async || send(&cloud, "POST", &url, &token, Some(json!({ "notifyOption": "NoNotification" }))).await.status;

    assert_eq!(start().await, 202);
    assert_eq!(last().await["status"], "Unknown");
    assert_eq!(start().await, 400, "one is running");
    cloud.advance(Duration::from_secs(60));
    assert_eq!(last().await["status"], "Completed");

    assert_eq!(start().await, 202);
    cloud.advance(Duration::from_secs(59));
    cloud.person_deletes_secret(&target.secret_id.clone().expect("it holds one"));
    cloud.advance(Duration::from_secs(1));
    let failed = last().await;
    assert_eq!(failed["status"], "Failed");
    assert!(
        failed["serviceExceptionJson"].as_str().is_some_and(|text| text.contains("ModelRefreshFailed_CredentialsNotSpecified"))
    );
    assert_eq!(send(&cloud, "POST", &url, &token, Some(json!({ "notifyOption": "MailOnFailure" }))).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn only_an_enhanced_refresh_has_details() {
    let cloud = cloud();
    let token = powerbi(&cloud).await;
    let (group, dataset) = dataset_of(&cloud, &target(&cloud, "PersonalCloud", true));
    let url = format!("{PBI}/groups/{group}/datasets/{dataset}/refreshes");
    let plain = send(&cloud, "POST", &url, &token, None).await;
    assert!(plain.headers.get("location").is_none());
    cloud.advance(Duration::from_secs(10));
    let id = get(&cloud, &url, &token).await.json["value"][0]["requestId"].as_str().expect("an id").to_owned();
    assert_eq!(get(&cloud, &format!("{url}/{id}"), &token).await.status, 404);

    let enhanced = send(&cloud, "POST", &url, &token, Some(json!({ "type": "Full" }))).await;
    let place = enhanced.headers["location"].to_str().expect("text").to_owned();
    let running = get(&cloud, &place, &token).await;
    assert_eq!((running.status, running.json["extendedStatus"].as_str()), (202, Some("InProgress")));
    cloud.advance(Duration::from_secs(10));
    let done = get(&cloud, &place, &token).await;
    assert_eq!((done.status, done.json["status"].as_str()), (200, Some("Completed")));
    assert!(done.json["endTime"].as_str().is_some_and(|time| !time.ends_with('Z')), "a time without a zone");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_other_audiences_and_old_ones_are_refused() {
    let cloud = cloud();
    let (for_powerbi, for_fabric) = (powerbi(&cloud).await, fabric(&cloud).await);
    assert_eq!(get(&cloud, &format!("{PBI}/groups"), &for_fabric).await.status, 401);
    assert_eq!(get(&cloud, &format!("{FABRIC}/connections"), &for_powerbi).await.status, 401);
    cloud.advance(Duration::from_secs(3_599));
    assert_eq!(get(&cloud, &format!("{PBI}/groups"), &for_powerbi).await.json["error"]["code"], "TokenExpired");
    assert_eq!(get(&cloud, &format!("{FABRIC}/connections"), &for_fabric).await.json["errorCode"], "TokenExpired");
}

#[tokio::test(start_paused = true)]
async fn each_identity_has_its_limit_where_one_is_set() {
    let cloud = cloud_with(|settings| settings.rate_limit = Some(3));
    let token = powerbi(&cloud).await;
    for _ in 0..3 {
        assert_eq!(get(&cloud, &format!("{PBI}/groups"), &token).await.status, 200);
    }
    let refused = get(&cloud, &format!("{PBI}/groups"), &token).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.headers["retry-after"].to_str().ok().and_then(|text| text.parse().ok()).expect("seconds");
    assert_eq!(get(&cloud, &format!("{FABRIC}/connections"), &fabric(&cloud).await).await.status, 200);
    cloud.advance(Duration::from_secs(wait));
    assert_eq!(get(&cloud, &format!("{PBI}/groups"), &token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_leak_is_noticed_wherever_it_shows() {
    let cloud = Fleet::small(3).build(Settings::default());
    let (_, value) = minted(&cloud).await;
    assert!(cloud.leaks().is_empty());
    get(&cloud, &format!("{PBI}/groups?$filter={value}"), &powerbi(&cloud).await).await;
    assert_eq!(cloud.leaks().len(), 1);
}
