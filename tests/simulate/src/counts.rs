//! What a run of the simulation has done, counted.

use std::collections::BTreeMap;

/// Counts over one seed, or the sum over many.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Seeds run.
    pub seeds: u64,
    /// Commands run.
    pub runs: u64,
    /// Generations that became current.
    pub rotations: u64,
    /// Processes that died.
    pub crashes: u64,
    /// Processes that stood still.
    pub freezes: u64,
    /// Requests, journal entries and store writes.
    pub effects: u64,
    /// Things people did.
    pub acts: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Invariants looked at, by guarantee.
    pub checks: BTreeMap<&'static str, u64>,
    /// Virtual time that passed, in seconds.
    pub virtual_s: u64,
    /// Secrets made by lakekey.
    pub minted: u64,
    /// Secrets deleted by lakekey.
    pub deleted: u64,
    /// Lines logged and looked at.
    pub log_lines: u64,
    /// Messages sent between invocations.
    pub messages: u64,
    /// Waves that were sent out in slices.
    pub sent_out: u64,
}

impl Counts {
    /// One more fault of a kind.
    pub fn add_fault(&mut self, kind: &str) {
        match self.faults.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.faults.insert(kind.to_owned(), 1)),
        }
    }

    /// One more look at a guarantee.
    pub fn checked(&mut self, guarantee: &'static str) {
        *self.checks.entry(guarantee).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.runs += other.runs;
        self.rotations += other.rotations;
        self.crashes += other.crashes;
        self.freezes += other.freezes;
        self.effects += other.effects;
        self.acts += other.acts;
        self.virtual_s += other.virtual_s;
        self.minted += other.minted;
        self.deleted += other.deleted;
        self.log_lines += other.log_lines;
        self.messages += other.messages;
        self.sent_out += other.sent_out;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        for (guarantee, count) in &other.checks {
            *self.checks.entry(guarantee).or_default() += count;
        }
    }
}
