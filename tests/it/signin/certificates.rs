//! Certificates: they sign in, `doctor` sees their end, and one that is unusable says why without showing the key.

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, date_time_ymd};
use serde_json::json;

use super::Visitor;

/// A self-signed certificate with its key: PEM for lakekey, both halves for Entra.
fn certificate() -> (String, Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 3, 9);
    let certificate = params.self_signed(&key).unwrap();
    let pem = format!("{}{}", pem("PRIVATE KEY", &key.serialize_der()), pem("CERTIFICATE", certificate.der()));
    (pem, certificate.der().to_vec(), key.subject_public_key_info())
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn visitor(pem: &str) -> Visitor {
    let mut me = Visitor::new(json!(null));
    let entra = me.bench.cloud.cast().entra_admin.clone();
    me.file("sp.pem", pem);
    me.set(json!({ "auth": "azure-client-certificate", "client_id": entra.client_id, "client_certificate": "file:sp.pem" }));
    me
}

#[tokio::test(start_paused = true)]
async fn an_entra_application_signs_in_with_its_certificate() {
    let (pem, der, public_key) = certificate();
    let me = visitor(&pem);
    let entra = me.bench.cloud.cast().entra_admin.clone();
    assert_eq!(me.name().await.unwrap_err().code(), "sign-in-refused", "Entra does not know it yet");
    me.bench.cloud.upload_certificate(&entra.client_id, &der, &public_key);
    assert_eq!(me.name().await.unwrap(), entra.client_id);
    me.assert_entra().await;
}

#[tokio::test(start_paused = true)]
async fn doctor_shows_when_the_certificate_of_an_identity_expires() {
    let (pem, der, public_key) = certificate();
    let mut me = visitor(&pem);
    let entra = me.bench.cloud.cast().entra_admin.clone();
    me.bench.cloud.upload_certificate(&entra.client_id, &der, &public_key);
    me.bench.config["credentials"]["sales-bi"]["identity"] = "me".into();
    let (_, report) = me.bench.json(&["doctor"]).await;
    let checks = report["checks"].as_array().unwrap();
    let own = checks.iter().find(|check| check["check"] == "own-secret" && check["subject"] == "identity me").unwrap();
    let end: Timestamp = "2026-03-09T00:00:00Z".parse().unwrap();
    assert_eq!(own["detail"], format!("its certificate expires: {end}"));
    assert!(own["fix"].is_string(), "a week is left: {own:#}");
    let signed_in = checks.iter().filter(|check| check["check"] == "sign-in" && check["ok"] == true);
    assert!(signed_in.count() >= 3, "{checks:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_unusable_certificate_says_why_and_shows_no_key() {
    let (good, ..) = certificate();
    let (other, ..) = certificate();
    let begins = good.find("-----BEGIN CERTIFICATE").unwrap();
    let (key, own) = good.split_at(begins);
    let foreign = &other[other.find("-----BEGIN CERTIFICATE").unwrap()..];
    let cases = [
        (key.to_owned(), "no certificate"),
        (own.to_owned(), "no private key"),
        (format!("{key}{foreign}"), "another certificate"),
        (good.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE"), "encrypted"),
        (pem("CERTIFICATE", b"x") + &pem("PRIVATE KEY", b"x"), "not an RSA key"),
    ];
    for (pem, why) in cases {
        let error = visitor(&pem).name().await.unwrap_err();
        assert_eq!(error.code(), "bad-certificate", "{why}");
        assert!(error.problem().message.contains(why), "{why}: {error:?}");
        assert!(!format!("{error:?}").contains("MII"), "{error:?}");
    }
}
