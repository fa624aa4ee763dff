//! What was really done, laid beside the rows, and the sums over them.

use std::collections::BTreeMap;

use fettle_shared::command::Action;
use serde::Serialize;

use super::{Done, Fate, History, Row};
use crate::memory::Ended;
use crate::operator::run::KEEPS_FAILING;
use crate::plan::{Reason, Why};

/// What was done so long before an alert began or after it ended belongs to it, µs.
const BEFORE_US: i64 = 10_000_000;
/// See [`BEFORE_US`].
const AFTER_US: i64 = 60_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// The largest share of a group that was acted on at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupShare {
    /// Group.
    pub group: String,
    /// Members acted on: ordered, verified or taken back.
    pub acted: usize,
    /// Members.
    pub members: usize,
    /// When, µs since 1970.
    pub at_us: i64,
}

/// Sums of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Times that alerts fired.
    pub alerts: usize,
    /// Of these, those that no entry is for, by rule.
    pub without_entry: BTreeMap<String, usize>,
    /// Plans.
    pub plans: usize,
    /// Orders, those that take back too.
    pub orders: usize,
    /// Orders by action.
    pub by_action: BTreeMap<String, usize>,
    /// Verdicts over orders, under what is assumed.
    pub verdicts: BTreeMap<String, usize>,
    /// Steps and alerts of which nothing came, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Steps that were ordered later than they might have been, by what held them up first.
    pub delayed: BTreeMap<String, usize>,
    /// Most orders in any hour.
    pub most_in_an_hour: usize,
    /// When that hour began, µs since 1970; 0: there was no order.
    pub that_hour_us: i64,
    /// The largest share of a group at once.
    pub most_of_a_group: Option<GroupShare>,
    /// Times a person was called because nothing was left to try.
    pub people_called: usize,
    /// Storms that froze everything.
    pub storms: usize,
    /// What was really done, by action.
    pub really: BTreeMap<String, usize>,
    /// Orders beside which the same was really done.
    pub same: usize,
    /// What was really done and the policy would not have done.
    pub only_really: usize,
}

impl Totals {
    /// Takes the share of a group that is acted on now.
    pub(super) fn share(&mut self, group: &str, acted: usize, members: usize, at_us: i64) {
        let members = members.max(acted);
        let larger = self.most_of_a_group.as_ref().is_none_or(|most| {
            (acted * most.members, acted).cmp(&(most.acted * members, most.acted)).is_gt()
        });
        if larger {
            self.most_of_a_group = Some(GroupShare { group: group.to_owned(), acted, members, at_us });
        }
    }
}

/// Lays what was really done beside the rows: each order gets its like if there is one, the first row of an
/// alert whatever else was done there while it fired. What then is left makes rows of its own.
pub(super) fn beside(rows: &mut Vec<Row>, history: &History, totals: &mut Totals) {
    let in_span = |done: &&Done| (history.from_us..history.until_us).contains(&done.at_us);
    let mut left: Vec<Option<&Done>> = history.done.iter().filter(in_span).map(Some).collect();
    for done in left.iter().flatten() {
        *totals.really.entry(done.action.name().to_owned()).or_default() += 1;
    }
    for row in rows.iter_mut() {
        let Some(action) = row.action.as_ref().map(Action::name) else { continue };
        if !matches!(row.fate, Fate::Ordered { .. }) {
            continue;
        }
        let like =
            |done: &Done| done.action.name() == action && done.place == row.place && belongs(row, done);
        if let Some(slot) = left.iter_mut().find(|slot| slot.is_some_and(like)) {
            row.really.extend(slot.take().cloned());
            totals.same += 1;
        }
    }
    // What no entry is for is only counted, and would hide what was done.
    for row in rows.iter_mut().filter(|row| row.refused().as_deref() != Some("no_entry")) {
        for slot in &mut left {
            if slot.is_some_and(|done| done.place.host == row.place.host && belongs(row, done)) {
                row.really.extend(slot.take().cloned());
            }
        }
    }
    let alone: Vec<&Done> = left.into_iter().flatten().collect();
    totals.only_really = rows
        .iter()
        .map(|row| row.really.len() - usize::from(row.really.first().is_some_and(|first| same(row, first))))
        .sum::<usize>()
        + alone.len();
    rows.extend(alone.into_iter().map(only_really));
}

/// Whether it was done while the row's alert fired, on its component or on the host.
fn belongs(row: &Row, done: &Done) -> bool {
    let until_us = row.closed_us.unwrap_or(i64::MAX / 2) + AFTER_US;
    let place = done.place == row.place || done.place.component.is_empty() || row.place.component.is_empty();
    place && (row.opened_us - BEFORE_US..=until_us).contains(&done.at_us)
}

fn same(row: &Row, done: &Done) -> bool {
    let action = row.action.as_ref().map(Action::name);
    matches!(row.fate, Fate::Ordered { .. }) && action == Some(done.action.name()) && row.place == done.place
}

fn only_really(done: &Done) -> Row {
    Row {
        at_us: done.at_us,
        place: done.place.clone(),
        alert: String::new(),
        rule: String::new(),
        opened_us: done.at_us,
        closed_us: None,
        entry: String::new(),
        strategy: String::new(),
        action: None,
        fate: Fate::OnlyReally,
        held: None,
        verdict: None,
        really: vec![done.clone()],
    }
}

/// Adds the rows up.
pub(super) fn add_up(rows: &[Row], totals: &mut Totals) {
    let mut orders: Vec<i64> = Vec::new();
    for row in rows {
        if let Fate::Ordered { ordered_us } | Fate::TookBack { ordered_us } = row.fate {
            orders.push(ordered_us);
            let action = row.action.as_ref().map_or("", Action::name);
            *totals.by_action.entry(action.to_owned()).or_default() += 1;
            if let Some(held) = &row.held {
                *totals.delayed.entry(word(&held.by)).or_default() += 1;
            }
        }
        if let Some(verdict) = row.verdict {
            *totals.verdicts.entry(word::<Ended>(&verdict)).or_default() += 1;
        }
        match row.refused() {
            Some(reason) if reason == "no_entry" => {
                *totals.without_entry.entry(row.rule.clone()).or_default() += 1;
            }
            Some(reason) => *totals.refused.entry(reason).or_default() += 1,
            None => {}
        }
    }
    totals.orders = orders.len();
    orders.sort_unstable();
    let mut first = 0;
    for last in 0..orders.len() {
        while orders[last] - orders[first] >= HOUR_US {
            first += 1;
        }
        if last + 1 - first > totals.most_in_an_hour {
            totals.most_in_an_hour = last + 1 - first;
            totals.that_hour_us = orders[first];
        }
    }
}

impl Row {
    /// Why nothing came of it, in a word; none where something did, or where nothing was to come.
    pub fn refused(&self) -> Option<String> {
        let held = || self.held.as_ref().map_or_else(|| "waits".to_owned(), |held| word(&held.by));
        match &self.fate {
            Fate::Held => Some(held()),
            Fate::Asked => Some("approval".to_owned()),
            Fate::Skipped { why } if why == KEEPS_FAILING => Some("breaker".to_owned()),
            Fate::Skipped { .. } => Some("prerequisite".to_owned()),
            Fate::GaveUp { .. } => Some("gave_up".to_owned()),
            Fate::NoPlan(none) => {
                let open = |reason: &Reason| matches!(reason, Reason::BreakerOpen { .. });
                let breaker = none.left_out.iter().any(|one| open(&one.reason));
                let nothing = matches!(none.why, Why::NothingLeft);
                Some(if breaker && nothing { "breaker".to_owned() } else { tag(&none.why) })
            }
            Fate::Ordered { .. } | Fate::TookBack { .. } | Fate::OnlyReally => None,
        }
    }

    /// What became of it, in a sentence.
    pub fn words(&self) -> String {
        let held = self.held.as_ref().map(|held| held.why.as_str());
        let seconds = |ordered_us: i64| (ordered_us - self.at_us) as f64 / 1e6;
        match &self.fate {
            Fate::Ordered { ordered_us } => match held {
                Some(why) => format!("allowed after {:.0} s; held first: {why}", seconds(*ordered_us)),
                None => "allowed".to_owned(),
            },
            Fate::TookBack { .. } => "allowed, to take the step back".to_owned(),
            Fate::Held => format!("not allowed: {}", held.unwrap_or("its turn did not come")),
            Fate::Asked => "needs a person's word".to_owned(),
            Fate::Skipped { why } => format!("left out: {why}"),
            Fate::GaveUp { why } => format!("a person is called: {why}"),
            Fate::NoPlan(none) => {
                let left = none.left_out.iter().map(|one| format!("{}: {}", one.strategy, one.reason));
                let left: Vec<String> = left.collect();
                let left = if left.is_empty() { String::new() } else { format!(" ({})", left.join("; ")) };
                format!("no plan: {}{left}", none.why)
            }
            Fate::OnlyReally => "nothing".to_owned(),
        }
    }
}

/// The name that a value of an enum without content has in JSON.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The tag of a reason for having no plan.
fn tag(why: &Why) -> String {
    let value = serde_json::to_value(why).unwrap_or_default();
    value["why"].as_str().unwrap_or_default().to_owned()
}
