//! What operations save, and what of it is asked before they go on from it.

use std::collections::BTreeMap;

use fettle_alert::manage;
use fettle_decide::operator::{self, Freeze, Page};
use fettle_shared::inventory::Inventory;
use serde::{Deserialize, Serialize};

use super::begin::Adopted;
use super::history::History;

/// Version of what is saved.
pub(super) const VERSION: u32 = 1;

/// All that is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) version: u32,
    pub(super) manager: manage::State,
    pub(super) operator: operator::State,
    pub(super) history: History,
    pub(super) pages: BTreeMap<String, Page>,
    pub(super) inventories: BTreeMap<String, Inventory>,
    /// Routes and channels as they were last taken from their file; empty: those that are built in.
    #[serde(default)]
    pub(super) alerting: String,
    /// When hosts were last heard of, µs since 1970.
    #[serde(default)]
    pub(super) heard: BTreeMap<String, i64>,
}

impl Saved {
    /// The audit's last record in it.
    pub(super) fn audit_seq(&self) -> u64 {
        self.operator.head.seq
    }

    /// Nothing is mended until a person says so; a freeze that is there stays.
    pub(super) fn freeze(&mut self, why: &str, now_us: i64) {
        let freeze = || Freeze { who: "collector".to_owned(), why: why.to_owned(), at_us: now_us };
        self.operator.freeze.get_or_insert_with(freeze);
    }

    /// How much of what is in it.
    pub(super) fn sum(&self) -> Adopted {
        Adopted {
            alerts: self.manager.alerts.len(),
            silences: self.manager.silences.len(),
            plans: self.operator.runs.values().filter(|run| run.live()).count(),
            audit: self.audit_seq(),
        }
    }
}
