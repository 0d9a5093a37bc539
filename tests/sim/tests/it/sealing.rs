//! Sealing credentials as the official SDK does, written from the facts alone, and what a gateway does with the result.

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lakekey_sim::GatewayKey;

/// Seals for the public key that an API shows.
pub(crate) fn seal(modulus: &str, plain: &[u8]) -> String {
    let (rsa, blob) = parts(modulus, plain);
    STANDARD.encode(rsa) + &STANDARD.encode(blob)
}

fn parts(modulus: &str, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut keys = [0; 96];
    rand::fill(&mut keys).expect("randomness");
    let (key_enc, key_mac) = keys.split_at(32);

    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, key_enc).expect("a key")).expect("a cipher");
    let mut ciphertext = plain.to_vec();
    let DecryptionContext::Iv128(iv) = cipher.encrypt(&mut ciphertext).expect("encryption") else { panic!("CBC has an IV") };
    let signed = [&[0, 0][..], iv.as_ref(), &ciphertext].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key_mac), &signed);
    let blob = [&[0, 0][..], tag.as_ref(), iv.as_ref(), &ciphertext].concat();

    let components = PublicKeyComponents { n: STANDARD.decode(modulus).expect("base64"), e: vec![1, 0, 1] };
    let public: PublicEncryptingKey = components.try_into().expect("a public key");
    let public = OaepPublicEncryptingKey::new(public).expect("an RSA key");
    let mut rsa = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, &[&[0, 1], keys.as_slice()].concat(), &mut rsa, None).expect("encryption");
    (rsa, blob)
}

const KEYS: [GatewayKey; 3] = [GatewayKey::Bits2048, GatewayKey::Bits3072, GatewayKey::Bits4096];

#[test]
fn what_is_sealed_for_a_gateway_opens_there_and_nowhere_else() {
    for (at, key) in KEYS.into_iter().enumerate() {
        let sealed = seal(key.public().1, "{\"ä\": \"'\\\"}".as_bytes());
        assert_eq!(key.open(&sealed).as_deref(), Some("{\"ä\": \"'\\\"}".as_bytes()));
        assert_eq!(KEYS[(at + 1) % 3].open(&sealed), None);
    }
}

#[test]
fn public_keys_are_as_long_as_they_say() {
    let bits = |key: GatewayKey| STANDARD.decode(key.public().1).expect("base64").len() * 8;
    let all = [GatewayKey::Bits1024, GatewayKey::Bits2048, GatewayKey::Bits3072, GatewayKey::Bits4096].map(bits);
    assert_eq!(all, [1024, 2048, 3072, 4096]);
}

#[test]
fn no_bit_of_the_blob_can_be_turned_unseen() {
    let key = GatewayKey::Bits2048;
    let (rsa, blob) = parts(key.public().1, b"secret");
    for at in 0..blob.len() {
        let mut touched = blob.clone();
        touched[at] ^= 1;
        assert_eq!(key.open(&(STANDARD.encode(&rsa) + &STANDARD.encode(touched))), None, "byte {at}");
    }
}

#[test]
fn one_base64_over_both_parts_is_refused() {
    let key = GatewayKey::Bits2048;
    let (rsa, blob) = parts(key.public().1, b"secret");
    assert_eq!(key.open(&STANDARD.encode([rsa, blob].concat())), None);
    assert_eq!(key.open("short"), None);
}
