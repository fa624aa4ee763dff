//! Whether an order may be carried out: the order, the host's file, what is remembered and the time come
//! in; a task without choices left in it, or a reason, comes out. Pure.
//!
//! The checks stand in the order in which they can be trusted: nothing of an order counts before its signature
//! does, and nothing it asks for is looked at before it is fresh. A refusal that comes after the
//! generation was found good uses the generation up, so that «refused» is the last word: an order that came too soon
//! after another cannot be played again a little later.
//!
//! Clocks: an order may be issued up to [`SKEW_US`] in this host's future; it is expired by this host's clock,
//! and one that claims to be valid for more than [`VALIDITY_MAX_US`] is refused, so that a captured order
//! is of no use a quarter of an hour later even to someone who has wiped the ledger.

mod memory;
mod task;

#[cfg(test)]
mod tests;

use std::time::Duration;

use fettle_shared::command::{Action, Order, Receipt, Refusal};
use fettle_shared::signing;
use xxhash_rust::xxh3::xxh3_128;

use crate::host_file::{HostFile, LocalRule};

pub(super) use memory::{Begun, Known, Memory};
pub(super) use task::{allowed, LimitPlace, Step, Verb};

/// How far in the future an order may have been issued: what clocks may differ by.
pub(super) const SKEW_US: i64 = 60_000_000;
/// The longest an order may be valid.
pub(super) const VALIDITY_MAX_US: i64 = 15 * 60 * 1_000_000;
/// How far a generation may lie ahead of this host's clock. Whoever gives orders numbers them by the
/// microseconds of its own clock; one taken from far ahead would make every later order stale.
pub(super) const AHEAD_US: i64 = 86_400_000_000;
/// What rates are counted over.
pub(super) const HOUR_US: i64 = 3_600_000_000;

/// Everything an order is judged by but the order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    /// This agent's name.
    pub agent: &'a str,
    /// What the host allows.
    pub host: &'a HostFile,
    /// What was done and promised before.
    pub memory: &'a Memory,
    /// Whether the freeze file is there.
    pub frozen: bool,
    /// Now, µs since 1970.
    pub now_us: i64,
}

/// What will be done, with no choices left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    /// The order's id, or one the agent made.
    pub id: String,
    /// Component; empty for the host.
    pub component: String,
    /// What was asked for.
    pub action: Action,
    /// How it is done.
    pub step: Step,
    /// It is stopped after this.
    pub timeout: Duration,
    /// Only say what would be done.
    pub dry_run: bool,
    /// By the agent's own rules.
    pub local: bool,
    /// Plan or rule that wanted it.
    pub because: String,
}

/// The word on what came in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// To be persisted, then done.
    Accept {
        /// What to do.
        task: Box<Task>,
        /// Generation to be noted.
        generation: u64,
        /// What the order's text is known by.
        digest: u128,
    },
    /// The same order again: this is what became of it.
    Known(Box<Receipt>),
    /// A good signature, and still no: to be persisted, so that it stays no.
    Deny {
        /// The order.
        order: Box<Order>,
        /// Why.
        reason: Refusal,
        /// What the order's text is known by.
        digest: u128,
    },
    /// Not to be taken at all.
    Refuse {
        /// The order, where one could be read; it may be forged.
        order: Option<Box<Order>>,
        /// Why.
        reason: Refusal,
    },
}

/// Judges what came in on the orders' subject.
pub(super) fn admit(bytes: &[u8], situation: &Situation<'_>) -> Verdict {
    let signed = match signing::read(bytes) {
        Ok(signed) => signed,
        Err(reason) => return Verdict::Refuse { order: None, reason },
    };
    let order = match signing::verify(&signed, &situation.host.trusted_keys) {
        Ok(order) => order,
        Err(reason) => {
            // For the record only: nothing of it is believed.
            let order = serde_json::from_str::<Order>(&signed.order).ok().map(Box::new);
            return Verdict::Refuse { order, reason };
        }
    };
    let digest = xxh3_128(signed.order.as_bytes());
    match judge(&order, digest, situation) {
        Ok(task) => Verdict::Accept { task: Box::new(task), generation: order.generation, digest },
        Err(No::Known(receipt)) => Verdict::Known(receipt),
        Err(No::Unfit(reason)) => Verdict::Refuse { order: Some(Box::new(order)), reason },
        Err(No::Denied(reason)) => Verdict::Deny { order: Box::new(order), reason, digest },
    }
}

/// Why not.
enum No {
    Known(Box<Receipt>),
    Unfit(Refusal),
    Denied(Refusal),
}

fn judge(order: &Order, digest: u128, situation: &Situation<'_>) -> Result<Task, No> {
    let Situation { agent, host, memory, now_us, .. } = *situation;
    if order.host != agent {
        return Err(No::Unfit(Refusal::WrongHost));
    }
    if let Some(known) = memory.known.get(&order.id) {
        let same = known.digest == digest;
        return Err(if same {
            No::Known(Box::new(known.receipt.clone()))
        } else {
            No::Unfit(Refusal::Repeated)
        });
    }
    if !is_timely(order, memory.floor_us, now_us) {
        return Err(No::Unfit(Refusal::Expired));
    }
    if is_far_ahead(order.generation, now_us) {
        return Err(No::Unfit(Refusal::Malformed));
    }
    if order.generation <= memory.high {
        return Err(No::Unfit(Refusal::StaleGeneration));
    }
    let step = allowed(host, &order.component, &order.action, false).map_err(No::Denied)?;
    let limit = host.limits.timeout;
    let asked = Duration::from_secs(u64::from(order.timeout_s));
    let task = Task {
        id: order.id.clone(),
        component: order.component.clone(),
        action: order.action.clone(),
        step,
        timeout: if asked.is_zero() { limit } else { asked.min(limit) },
        dry_run: order.dry_run,
        local: false,
        because: order.plan.clone(),
    };
    within_limits(&task, situation).map_err(No::Denied)?;
    Ok(task)
}

/// Judges an action by the agent's own rule; `id` is the name it is to have.
pub(super) fn admit_local(
    id: String,
    component: &str,
    rule: &LocalRule,
    situation: &Situation<'_>,
) -> Result<Task, Refusal> {
    let task = Task {
        id,
        component: component.to_owned(),
        action: rule.action.clone(),
        step: allowed(situation.host, component, &rule.action, true)?,
        timeout: situation.host.limits.timeout,
        dry_run: false,
        local: true,
        because: "local rule".to_owned(),
    };
    within_limits(&task, situation)?;
    Ok(task)
}

/// Whether an order's times are sound and fit this moment.
fn is_timely(order: &Order, floor_us: i64, now_us: i64) -> bool {
    let validity = order.expires_us.saturating_sub(order.issued_us);
    validity > 0
        && validity <= VALIDITY_MAX_US
        && order.expires_us > now_us
        && order.issued_us <= now_us.saturating_add(SKEW_US)
        && order.issued_us >= floor_us
}

/// Whether a generation is no clock's: taking it would leave no room for those that come after.
fn is_far_ahead(generation: u64, now_us: i64) -> bool {
    i64::try_from(generation).map_or(true, |generation| generation > now_us.saturating_add(AHEAD_US))
}

/// Freeze, concurrency, cooldown and rates; a dry run does nothing, so it only has to be one of a few.
fn within_limits(task: &Task, situation: &Situation<'_>) -> Result<(), Refusal> {
    let Situation { host, memory, frozen, now_us, .. } = *situation;
    let limits = &host.limits;
    if frozen && !task.dry_run {
        return Err(Refusal::Frozen);
    }
    let same_component = memory.running.values().any(|component| *component == task.component);
    if same_component || memory.running.len() >= limits.concurrent {
        return Err(Refusal::Busy);
    }
    if task.dry_run {
        return Ok(());
    }
    let cooldown_us = i64::try_from(limits.cooldown.as_micros()).unwrap_or(i64::MAX);
    // A clock that was set back must not free what was done in its future; the memory moves that to now.
    let since = |begun: &&Begun, span: i64| begun.begun_us > now_us.saturating_sub(span);
    let cooling = memory.begun.iter().any(|begun| {
        since(&begun, cooldown_us)
            && begun.component == task.component
            && is_same(&begun.action, &task.action)
    });
    if cooling {
        return Err(Refusal::CoolingDown);
    }
    let in_hour = || memory.begun.iter().filter(|begun| since(begun, HOUR_US));
    let locals = in_hour().filter(|begun| begun.local).count();
    let is_over = in_hour().count() >= limits.per_hour as usize
        || (task.local && locals >= limits.local_per_hour as usize);
    if is_over {
        return Err(Refusal::RateLimited);
    }
    Ok(())
}

/// Whether two actions are the same thing done again; a number or a candidate does not make them another.
fn is_same(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (Action::Renice { .. }, Action::Renice { .. }) | (Action::Scale { .. }, Action::Scale { .. }) => true,
        (Action::Limit { resource: one, .. }, Action::Limit { resource: other, .. }) => one == other,
        (Action::FailOver { entry: one, .. }, Action::FailOver { entry: other, .. }) => one == other,
        (one, other) => one == other,
    }
}
