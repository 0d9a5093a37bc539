//! What goes wrong: scripted, or by a seeded dice.

use jiff::SignedDuration;

use crate::report::RefreshOutcome;

use super::world::{Create, REQUEST_TIMEOUT, SKEW, TakeOver};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn seconds(&mut self, limit: i64) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.below(u64::try_from(limit).unwrap())).unwrap())
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    pub(super) dice: Dice,
    /// Chance in percent of each fault that is not scripted.
    pub(super) chance: u64,
    /// Dies at the crash point with this number, counted down.
    pub(super) crash_in: Option<u32>,
    /// What becomes of the next creates; then they are answered.
    pub(super) creates: Vec<Create>,
    pub(super) take_over: TakeOver,
    /// Whether Databricks refuses every sign-in, whatever the secret.
    pub(super) locked_out: bool,
    /// Whether the smoke query fails.
    pub(super) unreadable: bool,
    /// Whether Databricks refuses to delete.
    pub(super) undeletable: bool,
    /// Whether what refuses a write is a service in trouble.
    pub(super) passing: bool,
    /// What becomes of refreshes that are looked at; `None` while they run.
    pub(super) refreshes: Option<(RefreshOutcome, bool)>,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            dice: Dice(1),
            chance: 0,
            crash_in: None,
            creates: Vec::new(),
            take_over: TakeOver::Rebinds,
            locked_out: false,
            unreadable: false,
            undeletable: false,
            passing: false,
            refreshes: Some((RefreshOutcome::Completed, false)),
        }
    }
}

pub(super) fn chance_of_create(faults: &mut Faults) -> Create {
    if !faults.dice.percent(faults.chance) {
        return Create::Answered;
    }
    match faults.dice.below(6) {
        0 => Create::Doubled,
        1 => Create::Refused,
        2 => Create::Lost(None),
        3 => Create::Lost(Some(SignedDuration::ZERO)),
        4 => Create::Lost(Some(faults.dice.seconds((REQUEST_TIMEOUT + SKEW).as_secs()))),
        _ => Create::Lost(Some(faults.dice.seconds(48 * 3_600))),
    }
}

pub(super) fn chance_of_take_over(faults: &mut Faults) -> TakeOver {
    match faults.dice.below(4) {
        0 => TakeOver::Bares,
        1 => TakeOver::Rebinds,
        2 => TakeOver::Refused,
        _ => TakeOver::RebindsUnheard,
    }
}
