//! What admission has to remember: the highest generation, what became of each order, and what was begun when.
//! Plain data; the ledger fills it from disk.

use std::collections::{BTreeMap, VecDeque};

use fettle_shared::command::{Action, Receipt};

use super::HOUR_US;

/// An order that was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::act) struct Known {
    /// What its text is known by; 0 for an action of the agent's own.
    pub digest: u128,
    /// Its newest receipt.
    pub receipt: Receipt,
}

/// An action that was begun and was no dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::act) struct Begun {
    /// Component.
    pub component: String,
    /// What was done.
    pub action: Action,
    /// When, µs since 1970.
    pub begun_us: i64,
    /// By the agent's own rules.
    pub local: bool,
}

/// All that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::act) struct Memory {
    /// Highest generation taken. Never goes back.
    pub high: u64,
    /// Orders issued before this are not taken: what was known of them is lost or never was. µs since 1970.
    pub floor_us: i64,
    /// Orders by id.
    pub known: BTreeMap<String, Known>,
    /// Begun in the last hour, oldest first.
    pub begun: VecDeque<Begun>,
    /// Component of each action that runs, by the action's id.
    pub running: BTreeMap<String, String>,
}

impl Memory {
    /// What was begun while the clock was ahead counts as begun now: it binds for as long as anything does, and
    /// not until that time has come.
    pub(in crate::act) fn keep_to_clock(&mut self, now_us: i64) {
        for begun in &mut self.begun {
            begun.begun_us = begun.begun_us.min(now_us);
        }
    }

    /// Forgets what is too old to count.
    pub(in crate::act) fn forget_before(&mut self, now_us: i64) {
        // Twice the hour, so that a clock set back a little does not make it forget.
        let oldest = now_us.saturating_sub(2 * HOUR_US);
        self.begun.retain(|begun| begun.begun_us >= oldest);
    }
}
