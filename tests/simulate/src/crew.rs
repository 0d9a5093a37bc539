//! Work in many equal pieces, on every core; each piece has a runtime of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::universe::held;

/// Does every piece, on so many threads, and gives what came of each in order; stops early where `enough` says so.
pub fn each<P: Sync, R: Send>(
    pieces: &[P],
    threads: usize,
    work: impl Fn(&P) -> R + Sync,
    enough: impl Fn(&R) -> bool + Sync,
) -> Vec<R> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let came = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(piece) = pieces.get(at) else { break };
                    let result = work(piece);
                    stop.fetch_or(enough(&result), Ordering::Relaxed);
                    held(&came).push((at, result));
                }
            });
        }
    });
    let mut came = came.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    came.sort_by_key(|(at, _)| *at);
    came.into_iter().map(|(_, result)| result).collect()
}
