//! Keeps the books of a rehearsal: each time an alert fired, and a row for each step that was ordered, held up,
//! asked about or left out, read off the operator's own effects.

use std::collections::BTreeMap;

use fettle_shared::command::Order;

use super::sums::Totals;
use super::{Fate, Held, History, Opened, Row};
use crate::audit::AuditRecord;
use crate::budget::Groups;
use crate::memory::Ended;
use crate::operator::run::{Phase, Run};
use crate::operator::{Effect, HeldBy, Numbered, Operator, PageKind};
use crate::plan::{NoPlan, Step, Why};
use crate::policy::Policy;
use crate::world::World;

/// One time that an alert fired.
#[derive(Debug)]
struct Occurrence {
    id: String,
    opened: Opened,
    opened_us: i64,
    closed_us: Option<i64>,
    /// Why there was no plan when one was last thought of, while there has been none.
    no_plan: Option<(i64, NoPlan)>,
    has_rows: bool,
}

/// A row that grows.
#[derive(Debug)]
struct Draft {
    occurrence: usize,
    row: Row,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    occurrences: Vec<Occurrence>,
    /// The occurrence of each alert that fires, or fired last.
    latest: BTreeMap<String, usize>,
    /// Alerts that fire and have no rows yet.
    unplanned: BTreeMap<String, usize>,
    drafts: Vec<Draft>,
    /// The row of a plan's step.
    steps: BTreeMap<(String, usize), usize>,
    /// The row of an order.
    orders: BTreeMap<String, usize>,
    /// What a plan is about, and how many ends of its steps were seen.
    plans: BTreeMap<String, (usize, usize)>,
    totals: Totals,
}

impl Book {
    pub(super) fn opened(&mut self, id: &str, opened: &Opened, at_us: i64) {
        let at = self.occurrences.len();
        self.occurrences.push(Occurrence {
            id: id.to_owned(),
            opened: opened.clone(),
            opened_us: at_us,
            closed_us: None,
            no_plan: None,
            has_rows: false,
        });
        self.latest.insert(id.to_owned(), at);
        self.unplanned.insert(id.to_owned(), at);
    }

    pub(super) fn closed(&mut self, id: &str, at_us: i64) {
        self.unplanned.remove(id);
        if let Some(at) = self.latest.get(id) {
            self.occurrences[*at].closed_us = Some(at_us);
        }
    }

    /// Takes what a tick gave.
    pub(super) fn take(
        &mut self,
        effects: &[Numbered],
        operator: &Operator,
        (policy, world): (&Policy, &World),
        now_us: i64,
    ) {
        let mut ordered = false;
        for numbered in effects {
            match &numbered.effect {
                Effect::Audit(record) => {
                    ordered |= record.kind == "intent";
                    self.record(record, operator, now_us);
                }
                Effect::Page(page) if page.kind == PageKind::Storm => self.totals.storms += 1,
                Effect::Page(page) if page.kind == PageKind::GaveUp => {
                    self.totals.people_called += 1;
                    if let Some(at) = self.latest.get(&page.incident).copied() {
                        let why = page.summary.clone();
                        self.draft(at, None, Fate::GaveUp { why }, now_us);
                    }
                }
                Effect::Page(page) if matches!(page.kind, PageKind::NotTakenBack | PageKind::Unverified) => {
                    self.totals.people_called += 1;
                }
                Effect::Changed { plan, .. } => self.ends(plan, operator, now_us),
                Effect::Page(_) | Effect::Send(_) => {}
            }
        }
        if ordered {
            self.share(operator, policy, world, now_us);
        }
        let incidents = &operator.state().incidents;
        for (id, at) in &self.unplanned {
            let Some(none) = incidents.get(id).and_then(|one| one.no_plan.as_ref()) else { continue };
            let known = &mut self.occurrences[*at].no_plan;
            match known {
                None => *known = Some((now_us, none.clone())),
                // These pass; what comes after them tells more.
                Some((_, known)) if matches!(known.why, Why::HostUnknown | Why::Waits { .. }) => {
                    known.clone_from(none);
                }
                Some(_) => {}
            }
        }
    }

    fn record(&mut self, record: &AuditRecord, operator: &Operator, now_us: i64) {
        let Some(run) = operator.run(&record.plan) else { return };
        match record.kind.as_str() {
            "planned" => {
                self.totals.plans += 1;
                if let Some(at) = self.latest.get(&run.plan.incident) {
                    self.plans.insert(record.plan.clone(), (*at, 0));
                }
            }
            "held" => {
                let Some(at) = self.step_row(run, run.step, Fate::Held, now_us) else { return };
                let detail: serde_json::Value = serde_json::from_str(&record.detail).unwrap_or_default();
                if let Ok(by) = serde_json::from_value::<HeldBy>(detail["by"].clone()) {
                    let held = Held { by, why: record.what.clone(), since_us: now_us };
                    self.drafts[at].row.held.get_or_insert(held);
                }
            }
            "asked" => {
                if let Some(at) = self.step_row(run, run.step, Fate::Asked, now_us) {
                    self.drafts[at].row.fate = Fate::Asked;
                }
            }
            "intent" => self.ordered(record, run, now_us),
            "verified" => {
                let detail: serde_json::Value = serde_json::from_str(&record.detail).unwrap_or_default();
                let verdict = serde_json::from_value::<Ended>(detail["verdict"].clone()).ok();
                if let Some(at) = self.orders.get(&record.order) {
                    self.drafts[*at].row.verdict = verdict;
                }
            }
            _ => {}
        }
    }

    fn ordered(&mut self, record: &AuditRecord, run: &Run, now_us: i64) {
        let Ok(order) = serde_json::from_str::<Order>(&record.detail) else { return };
        let number = order.id.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(run.step);
        let back = matches!(&run.phase, Phase::Ordered { order: own, back: true, .. } if own.id == order.id);
        let at = if back {
            let Some((occurrence, _)) = self.plans.get(&run.plan.id).copied() else { return };
            let fate = Fate::TookBack { ordered_us: now_us };
            self.draft(occurrence, run.plan.steps.get(number), fate, now_us)
        } else {
            let fate = Fate::Ordered { ordered_us: now_us };
            let Some(at) = self.step_row(run, number, fate.clone(), now_us) else { return };
            self.drafts[at].row.fate = fate;
            at
        };
        self.drafts[at].row.action = Some(order.action);
        self.orders.insert(order.id, at);
    }

    /// Steps whose turn came and that were left out.
    fn ends(&mut self, plan: &str, operator: &Operator, now_us: i64) {
        let Some(run) = operator.run(plan) else { return };
        let Some((_, known)) = self.plans.get(plan).copied() else { return };
        for end in run.log.iter().skip(known).filter(|end| end.ended.is_none()) {
            let step = run.plan.steps.iter().position(|step| step.strategy == end.strategy);
            let fate = Fate::Skipped { why: end.note.clone() };
            if let Some(at) = step.and_then(|step| self.step_row(run, step, fate.clone(), now_us)) {
                self.drafts[at].row.fate = fate;
            }
        }
        if let Some(entry) = self.plans.get_mut(plan) {
            entry.1 = run.log.len();
        }
    }

    /// The row of a step, made with this fate if there is none.
    fn step_row(&mut self, run: &Run, step: usize, fate: Fate, now_us: i64) -> Option<usize> {
        let key = (run.plan.id.clone(), step);
        if let Some(at) = self.steps.get(&key) {
            return Some(*at);
        }
        let (occurrence, _) = *self.plans.get(&run.plan.id)?;
        let at = self.draft(occurrence, run.plan.steps.get(step), fate, now_us);
        self.steps.insert(key, at);
        Some(at)
    }

    fn draft(&mut self, occurrence: usize, step: Option<&Step>, fate: Fate, at_us: i64) -> usize {
        let about = &mut self.occurrences[occurrence];
        about.has_rows = true;
        self.unplanned.remove(&about.id);
        let name = step.map_or("", |step| step.strategy.as_str());
        let (entry, strategy) = name.split_once('/').unwrap_or((name, ""));
        let row = Row {
            at_us,
            place: step.map_or_else(|| about.opened.place(), |step| step.place.clone()),
            alert: about.id.clone(),
            rule: about.opened.rule.clone(),
            opened_us: about.opened_us,
            closed_us: None,
            entry: entry.to_owned(),
            strategy: strategy.to_owned(),
            action: step.map(|step| step.action.clone()),
            fate,
            held: None,
            verdict: None,
            really: Vec::new(),
        };
        self.drafts.push(Draft { occurrence, row });
        self.drafts.len() - 1
    }

    /// How much of a group is acted on at once: most, right after an order.
    fn share(&mut self, operator: &Operator, policy: &Policy, world: &World, now_us: i64) {
        let mut acted: BTreeMap<&str, usize> = BTreeMap::new();
        for run in operator.state().runs.values().filter(|run| run.in_flight()) {
            if let Some(step) = run.current().filter(|step| !step.group.is_empty()) {
                *acted.entry(&step.group).or_default() += 1;
            }
        }
        let groups = Groups::of(world, policy, now_us);
        for (group, acted) in acted {
            self.totals.share(group, acted, groups.members(group), now_us);
        }
    }

    /// All rows, and the sums that only the way could tell.
    pub(super) fn close(mut self, history: &History) -> (Vec<Row>, Totals) {
        for at in 0..self.occurrences.len() {
            let one = &self.occurrences[at];
            if one.has_rows {
                continue;
            }
            if let Some((at_us, none)) = one.no_plan.clone() {
                self.draft(at, None, Fate::NoPlan(none), at_us);
            }
        }
        self.totals.alerts = self.occurrences.len();
        let occurrences = self.occurrences;
        let rows = self.drafts.into_iter().map(|draft| {
            let about = &occurrences[draft.occurrence];
            Row { closed_us: about.closed_us.filter(|at_us| *at_us <= history.until_us), ..draft.row }
        });
        (rows.collect(), self.totals)
    }
}
