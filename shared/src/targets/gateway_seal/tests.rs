//! Round trips against a decryptor written from the byte layout, not from the code it checks.

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Opened {
    Text(String),
    Tampered,
}

/// The two numbers at the end of a SubjectPublicKeyInfo: SEQUENCE { INTEGER modulus, INTEGER exponent }.
fn numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn header(der: &[u8]) -> (usize, usize) {
        match der[1] {
            0x81 => (3, usize::from(der[2])),
            0x82 => (4, usize::from(der[2]) * 256 + usize::from(der[3])),
            short => (2, usize::from(short)),
        }
    }
    let info = &der[header(der).0..];
    let (start, length) = header(info);
    let bits = &info[start + length..];
    let key = &bits[header(bits).0 + 1..];
    let integers = &key[header(key).0..];
    let (start, length) = header(integers);
    let exponent = &integers[start + length..];
    (integers[start..start + length].to_vec(), exponent[header(exponent).0..].to_vec())
}

fn generate(size: KeySize) -> (PrivateDecryptingKey, GatewayKey) {
    let private = PrivateDecryptingKey::generate(size).unwrap();
    let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
    let (modulus, exponent) = numbers(der.as_ref());
    // DER integers carry a leading zero; .NET writes none.
    let key = GatewayKey { modulus: STANDARD.encode(&modulus[1..]), exponent: STANDARD.encode(exponent) };
    (private, key)
}

fn open(private: PrivateDecryptingKey, text: &str) -> Opened {
    let bytes = private.key_size_bytes();
    let (wrapped, blob) = text.split_at(bytes.div_ceil(3) * 4);
    let (wrapped, blob) = (STANDARD.decode(wrapped).unwrap(), STANDARD.decode(blob).unwrap());
    assert_eq!(wrapped.len(), bytes);

    let mut keys = vec![0; bytes];
    let private = OaepPrivateDecryptingKey::new(private).unwrap();
    let Ok(keys) = private.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut keys, None) else { return Opened::Tampered };
    assert_eq!(keys.len(), 98);
    assert_eq!(keys[..2], [0, 1]);

    assert_eq!(blob[..2], [0, 0]);
    let (tag, iv, ciphertext) = (&blob[2..34], &blob[34..50], &blob[50..]);
    let signed = [&[0, 0], iv, ciphertext].concat();
    if hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &keys[34..98]), &signed, tag).is_err() {
        return Opened::Tampered;
    }
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &keys[2..34]).unwrap()).unwrap();
    let mut ciphertext = ciphertext.to_vec();
    let iv: [u8; 16] = iv.try_into().unwrap();
    let plain = key.decrypt(&mut ciphertext, DecryptionContext::Iv128(FixedLength::from(iv))).unwrap();
    Opened::Text(String::from_utf8(plain.to_vec()).unwrap())
}

fn fields(json: &str) -> (String, String) {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let data = value["credentialData"].as_array().unwrap();
    assert_eq!((data.len(), &data[0]["name"], &data[1]["name"]), (2, &"username".into(), &"password".into()));
    (data[0]["value"].as_str().unwrap().to_owned(), data[1]["value"].as_str().unwrap().to_owned())
}

#[test]
fn a_gateway_opens_what_was_sealed_for_each_supported_key_length() {
    for (size, wrapped) in [(KeySize::Rsa2048, 344), (KeySize::Rsa3072, 512), (KeySize::Rsa4096, 684)] {
        let (private, public) = generate(size);
        let text = seal(&public, "client-id", &Secret::new("dose123"), &Random::system()).unwrap().into_text();
        assert_eq!(wrapped, private.key_size_bytes().div_ceil(3) * 4);
        let plain = credentials_json("client-id", &Secret::new("dose123"));
        let padded = (plain.len() / 16 + 1) * 16;
        assert_eq!(text.len(), wrapped + (50 + padded).div_ceil(3) * 4);
        assert_eq!(open(private, &text), Opened::Text(plain.to_string()));
    }
}

#[test]
fn every_secret_survives_quoting_and_every_padding() {
    let (private, public) = generate(KeySize::Rsa2048);
    let hard = ["", "it's \"quoted\"", r"back\slash\", "grüße 🔑 \u{0}\u{1f}\n", "</script>{}'"];
    let lengths = (0..33).map(|length| "x".repeat(length));
    for secret in hard.into_iter().map(str::to_owned).chain(lengths) {
        let text = seal(&public, "u'\"\\ü", &Secret::new(secret.clone()), &Random::system()).unwrap().into_text();
        let Opened::Text(json) = open(private.clone(), &text) else { panic!("`{secret}` does not open") };
        assert_eq!(fields(&json), ("u'\"\\ü".to_owned(), secret));
    }
}

#[test]
fn the_plaintext_is_what_the_official_sdk_writes() {
    let plain = credentials_json("user", &Secret::new("pass"));
    assert_eq!(*plain, r#"{"credentialData":[{"name":"username","value":"user"},{"name":"password","value":"pass"}]}"#);
}

#[test]
fn a_changed_byte_anywhere_in_the_sealed_text_is_noticed() {
    let (private, public) = generate(KeySize::Rsa2048);
    let text = seal(&public, "user", &Secret::new("pass"), &Random::system()).unwrap().into_text();
    let (wrapped, blob) = text.split_at(344);
    let blob = STANDARD.decode(blob).unwrap();
    for position in 2..blob.len() {
        let mut changed = blob.clone();
        changed[position] ^= 1;
        let changed = format!("{wrapped}{}", STANDARD.encode(changed));
        assert_eq!(open(private.clone(), &changed), Opened::Tampered, "byte {position}");
    }
    let mut wrapped = STANDARD.decode(wrapped).unwrap();
    wrapped[100] ^= 1;
    let changed = format!("{}{}", STANDARD.encode(wrapped), STANDARD.encode(blob));
    assert_eq!(open(private, &changed), Opened::Tampered);
}

#[test]
fn no_two_seals_share_key_material() {
    let (_, public) = generate(KeySize::Rsa2048);
    let random = Random::seeded(7);
    let mut texts: Vec<_> = (0..4).map(|_| seal(&public, "user", &Secret::new("pass"), &random).unwrap().into_text()).collect();
    texts.iter_mut().for_each(|text| *text = text.split_off(344));
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 4);
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    let modulus = |bytes: usize| STANDARD.encode([&[0x80], vec![1; bytes - 1].as_slice()].concat());
    let key = |modulus: &str, exponent: &str| GatewayKey { modulus: modulus.to_owned(), exponent: exponent.to_owned() };
    let error = |key: &GatewayKey| seal(key, "user", &Secret::new("pass"), &Random::system()).err().unwrap();

    assert_eq!(error(&key(&modulus(128), "AQAB")), SealError::KeyTooShort { bits: 1024 });
    assert!(error(&key(&modulus(128), "AQAB")).problem().hint.unwrap().contains("update"));
    assert_eq!(error(&key(&modulus(512 + 1), "AQAB")), SealError::KeyLength { bits: 4104 });
    assert_eq!(error(&key("not base64", "AQAB")), SealError::Key { part: "modulus" });
    assert_eq!(error(&key("", "AQAB")), SealError::Key { part: "modulus" });
    assert_eq!(error(&key(&modulus(256), "???")), SealError::Key { part: "exponent" });
    for exponent in [vec![0], vec![1], vec![2], vec![0, 0, 4], vec![1; 9]] {
        assert_eq!(error(&key(&modulus(256), &STANDARD.encode(exponent))), SealError::Key { part: "exponent" });
    }
}

/// Public keys that microsoft/PowerBI-CSharp uses in `AsymmetricKeyEncryptorTests.cs` have this form: no leading zero, `AQAB`.
#[test]
fn a_leading_zero_in_the_modulus_does_not_matter() {
    let (private, public) = generate(KeySize::Rsa2048);
    let modulus = [vec![0, 0], STANDARD.decode(&public.modulus).unwrap()].concat();
    let public = GatewayKey { modulus: STANDARD.encode(modulus), exponent: "AAEAAQ==".to_owned() };
    assert_eq!(check_key(&public), Ok(()));
    let text = seal(&public, "user", &Secret::new("pass"), &Random::system()).unwrap().into_text();
    assert_eq!(open(private, &text), Opened::Text(credentials_json("user", &Secret::new("pass")).to_string()));
}
