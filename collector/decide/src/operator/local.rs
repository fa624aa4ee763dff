//! What agents do by their own rules is told, and counted where budgets count. An agent says what it likes, so what one
//! host's words can use up is bounded: no more than its own budget, and nothing for a component nobody knows it to have.

use fettle_alert::handoff::Severity;
use fettle_shared::command::{Outcome, Receipt};
use serde::{Deserialize, Serialize};

use super::receipts::outcome;
use super::{Operator, Page, PageKind};
use crate::audit::Entry;
use crate::budget::Given;
use crate::policy::Policy;
use crate::world::{Place, World};

/// Agents' own actions whose receipts are remembered, so that a repeat is not told twice.
const LOCAL_MAX: usize = 2_000;
/// Words told of one action: it is begun, and it is over.
const WORDS: u32 = 2;

/// What one host said of its own actions in the window of its budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalWords {
    /// Since when it is counted, µs since 1970.
    pub since_us: i64,
    /// Actions counted.
    pub actions: u32,
    /// Words told.
    pub words: u32,
    /// Whether people heard that there are more than its budget allows.
    pub too_many: bool,
    /// Whether the audit says that there were some of components that it does not have.
    pub stray: bool,
}

impl Operator {
    /// An agent has acted by its own rules.
    pub(super) fn local(&mut self, receipt: &Receipt, policy: &Policy, world: &World, now_us: i64) {
        let name = format!("{} {} ", receipt.host, receipt.id);
        let word = format!("{name}{}", outcome(&receipt.outcome));
        let Some(host) = world.hosts.get(&receipt.host) else { return };
        if self.state.heard_local.contains(&word) {
            return;
        }
        let budget = policy.budgets.host;
        let said = self.state.local_words.entry(receipt.host.clone()).or_default();
        if said.since_us == 0 || now_us - said.since_us >= budget.per_us || said.since_us > now_us {
            *said = LocalWords { since_us: now_us, ..LocalWords::default() };
        }
        let place = Place::new(&receipt.host, &receipt.component);
        if !place.component.is_empty() && !host.components.contains_key(&place.component) {
            if !std::mem::replace(&mut said.stray, true) {
                self.stray(receipt, &place, now_us);
            }
            return;
        }
        // Told in two words (accepted, done) it is one action all the same.
        let begun = !matches!(receipt.outcome, Outcome::Refused { .. } | Outcome::WouldDo);
        let new = begun && !self.state.heard_local.iter().any(|known| known.starts_with(&name));
        let spent = said.words >= budget.actions.saturating_mul(WORDS);
        if spent || (new && said.actions >= budget.actions) {
            if !std::mem::replace(&mut said.too_many, true) {
                self.too_many(receipt, policy, now_us);
            }
            return;
        }
        said.words += 1;
        if new {
            said.actions += 1;
            let at_us = if receipt.begun_us > 0 { receipt.begun_us.min(now_us) } else { now_us };
            let group = world.group(&place, &policy.budgets.group_label);
            self.state.ledger.give(Given { at_us, host: place.host.clone(), group });
        }
        self.state.heard_local.push_back(word);
        if self.state.heard_local.len() > LOCAL_MAX {
            self.state.heard_local.pop_front();
        }
        self.output(&place, &receipt.output, now_us);
        self.tell(receipt, "", "local", now_us);
    }

    fn stray(&mut self, receipt: &Receipt, place: &Place, now_us: i64) {
        let what = format!(
            "{} tells of an action of its own on {place}, which it is not known to have; it and others like it are not \
             counted",
            receipt.host
        );
        let who = format!("agent:{}", receipt.host);
        self.audit(now_us, Entry { kind: "local_stray", who, what, ..Entry::default() });
    }

    /// Called once in a window: more is not counted, so that one host cannot use up what all have.
    fn too_many(&mut self, receipt: &Receipt, policy: &Policy, now_us: i64) {
        let budget = policy.budgets.host;
        let what = format!(
            "{} tells of more than {} actions of its own in {} min; more are not counted: look at its local rules, and \
             whether its login is in other hands",
            receipt.host,
            budget.actions,
            budget.per_us as f64 / 6e7
        );
        let page = (PageKind::LocalTooMany, format!("local-{}-{now_us}", receipt.host));
        self.call_for_host(&receipt.host, ("local_too_many", what), page, now_us);
    }

    /// A host hands in more receipts in a second than are taken. To be called once, until it keeps to that again.
    pub fn hands_in_too_much(&mut self, host: &str, per_second: u32, now_us: i64) {
        let what = format!(
            "{host} hands in more than {per_second} receipts a second; more are not taken: look at `fettle-agent actions` \
             there, and whether its login is in other hands"
        );
        let page = (PageKind::ReceiptsTooMany, format!("receipts-{host}"));
        self.call_for_host(host, ("receipts_too_many", what), page, now_us);
    }

    /// A word for the audit, and a call for a person.
    fn call_for_host(
        &mut self,
        host: &str,
        (kind, what): (&'static str, String),
        (page, id): (PageKind, String),
        now_us: i64,
    ) {
        let who = format!("agent:{host}");
        self.audit(now_us, Entry { kind, who, what: what.clone(), ..Entry::default() });
        self.page(Page {
            id,
            kind: page,
            severity: Severity::High,
            place: Place::new(host, ""),
            summary: what,
            incident: String::new(),
            plan: String::new(),
            at_us: now_us,
        });
    }
}
