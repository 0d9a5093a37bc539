//! Randomness, passed in: the operating system's in production, a seeded stream in simulation.

use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};

/// A source of random bytes; clones share their stream.
#[derive(Clone, Debug)]
pub struct Random(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<Mutex<Stream>>),
}

#[derive(Debug)]
struct Stream {
    seed: u64,
    block: u64,
}

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A reproducible stream: SHA-256 in counter mode. For simulation only.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(Stream { seed, block: 0 }))))
    }

    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            // Asked directly: the generator of the TLS library takes 40 ms to seed itself, and every process has to start.
            Source::System => getrandom::fill(bytes).expect("the operating system's generator answers"),
            Source::Seeded(stream) => {
                let mut stream = stream.lock().expect("no code panics while it holds the stream");
                for chunk in bytes.chunks_mut(32) {
                    let mut input = [0_u8; 16];
                    input[..8].copy_from_slice(&stream.seed.to_be_bytes());
                    input[8..].copy_from_slice(&stream.block.to_be_bytes());
                    stream.block += 1;
                    chunk.copy_from_slice(&digest(&SHA256, &input).as_ref()[..chunk.len()]);
                }
            }
        }
    }

    /// A number in `low..=high`. The bias of the modulo is below 2^-32 for every range used here.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        let mut bytes = [0_u8; 8];
        self.fill(&mut bytes);
        low + u64::from_be_bytes(bytes) % (high - low + 1)
    }

    /// 128 random bits in hex.
    pub fn nonce(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.fill(&mut bytes);
        crate::ids::hex(&bytes)
    }
}
