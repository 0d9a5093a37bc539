//! The gateway's side of credential encryption (facts §2B): the private keys of simulated gateways, and opening what was
//! sealed for them. The keys in `keys/` were made for this simulation and protect nothing.

use std::sync::OnceLock;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{KeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayKey {
    /// As gateways before 2019 had; nothing opens it here, for no vetted library does so small a key any more.
    Bits1024,
    Bits2048,
    Bits3072,
    Bits4096,
}

impl GatewayKey {
    /// Exponent and modulus as the APIs show them.
    pub fn public(self) -> (&'static str, &'static str) {
        let modulus = match self.pair() {
            None => MODULUS_1024,
            Some(pair) => &pair.modulus,
        };
        ("AQAB", modulus)
    }

    /// The plaintext, if it was sealed for this key and nobody has touched it.
    pub fn open(self, sealed: &str) -> Option<Vec<u8>> {
        let private = &self.pair()?.private;
        let size = private.key_size_bytes();
        let (rsa, blob) = sealed.split_at_checked(size.div_ceil(3) * 4)?;
        let (rsa, blob) = (STANDARD.decode(rsa).ok()?, STANDARD.decode(blob).ok()?);

        let mut room = vec![0; private.min_output_size()];
        let keys = private.decrypt(&OAEP_SHA256_MGF1SHA256, &rsa, &mut room, None).ok()?;
        let keys = keys.strip_prefix(&KEY_LENGTHS).filter(|keys| keys.len() == 32 + 64)?;
        let (key_enc, key_mac) = keys.split_at(32);

        let rest = blob.strip_prefix(&ALGORITHMS)?;
        let (tag, rest) = rest.split_at_checked(32)?;
        let (iv, ciphertext) = rest.split_at_checked(16)?;
        let signed = [&ALGORITHMS, iv, ciphertext].concat();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key_mac), &signed, tag).ok()?;

        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, key_enc).ok()?).ok()?;
        let iv: [u8; 16] = iv.try_into().ok()?;
        let mut text = ciphertext.to_vec();
        let plain = key.decrypt(&mut text, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        Some(plain.to_vec())
    }

    fn pair(self) -> Option<&'static Pair> {
        static PAIRS: [OnceLock<Pair>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
        match self {
            Self::Bits1024 => None,
            Self::Bits2048 => Some(PAIRS[0].get_or_init(|| Pair::read(include_bytes!("../../keys/rsa-2048.pk8")))),
            Self::Bits3072 => Some(PAIRS[1].get_or_init(|| Pair::read(include_bytes!("../../keys/rsa-3072.pk8")))),
            Self::Bits4096 => Some(PAIRS[2].get_or_init(|| Pair::read(include_bytes!("../../keys/rsa-4096.pk8")))),
        }
    }
}

struct Pair {
    private: OaepPrivateDecryptingKey,
    modulus: String,
}

impl Pair {
    fn read(pkcs8: &[u8]) -> Self {
        let private = PrivateDecryptingKey::from_pkcs8(pkcs8).expect("the key file is valid PKCS#8");
        let pair = KeyPair::from_pkcs8(pkcs8).expect("the key file is valid PKCS#8");
        // PKCS#1: a sequence of two integers, and the modulus is all that stands before the exponent 65537.
        let before = pair.public_key().as_ref().strip_suffix(&EXPONENT).expect("the key's exponent is 65537");
        let modulus = STANDARD.encode(&before[before.len() - private.key_size_bytes()..]);
        Self { private: OaepPrivateDecryptingKey::new(private).expect("the key is an RSA key"), modulus }
    }
}

/// AES-256-CBC-PKCS7 and HMAC-SHA256, by their numbers.
const ALGORITHMS: [u8; 2] = [0, 0];
/// Thirty-two bytes of one key, sixty-four of the other, by their numbers.
const KEY_LENGTHS: [u8; 2] = [0, 1];
/// 65537 as a DER integer.
const EXPONENT: [u8; 5] = [2, 3, 1, 0, 1];
const MODULUS_1024: &str = "wdFw311gtjv3cYynx4L341GZnmmRrI2N/Zc8+ft+aHWOLmXUvHgmSi6jQXmpP/EfGvfCVkfIKht2pCfOg7myRYHJIO9Aixby1on1lzx+9OpR3Xxz5zbcCM5Jt4e8sxR4B0bhBd+f2OHMfQH4etvjAut+OFLHIWNIu5iX3gAgIjc=";
