//! Drives the operator with the past: says what rules said, answers its orders, shows it samples, and turns the
//! clock in steps of a second while anything is on its way, in longer ones while alerts merely hold, and from
//! one event to the next while nothing is wrong.

use std::collections::{BTreeMap, BTreeSet};

use fettle_alert::handoff::Standing;
use fettle_shared::command::{Action, Order, Outcome, Receipt};

use super::book::Book;
use super::{Assume, Done, History, Opened, Seen, What};
use crate::operator::run::{Phase, Run};
use crate::operator::{Effect, Operator, VerifyFacts};
use crate::plan::Why;
use crate::policy::Policy;
use crate::world::{Place, World};

const SECOND: i64 = 1_000_000;
/// The operator's own pace, µs.
const TICK_US: i64 = SECOND / 10;
/// Alerts that fire are said again this often, µs.
const AGAIN_US: i64 = 30 * SECOND;
/// Steps while alerts hold and nothing is on its way, µs.
const LONG_US: i64 = 10 * SECOND;
/// After an event the clock goes by seconds for this long, µs.
const LIVELY_US: i64 = 60 * SECOND;
/// An order is carried out in this time, µs.
const CARRIED_OUT_US: i64 = SECOND;

/// An alert that fires.
struct Firing {
    opened: Opened,
    since_us: i64,
    said_us: i64,
    /// An action is assumed to have ended it.
    mended: bool,
}

struct Stage<'a> {
    policy: &'a Policy,
    history: &'a History,
    assume: Assume,
    operator: Operator,
    world: World,
    now_us: i64,
    /// Place in the list of events of the next one.
    next: usize,
    /// Place in the list of what was really done of the next one.
    next_done: usize,
    lively_until_us: i64,
    firing: BTreeMap<String, Firing>,
    silent: BTreeSet<String>,
    /// Components whose state is stored, from here on.
    seen: BTreeSet<Place>,
    /// Components that are assumed to be up again.
    helped: BTreeSet<Place>,
    /// Orders and when they are carried out.
    orders: Vec<(i64, Order)>,
    book: Book,
}

/// Goes through the past.
pub(super) fn play(policy: &Policy, history: &History, assume: Assume) -> Book {
    let mut stage = Stage {
        policy,
        history,
        assume,
        operator: Operator::new(),
        world: history.world.clone(),
        now_us: history.from_us,
        next: 0,
        next_done: 0,
        lively_until_us: 0,
        firing: BTreeMap::new(),
        silent: BTreeSet::new(),
        seen: BTreeSet::new(),
        helped: BTreeSet::new(),
        orders: Vec::new(),
        book: Book::default(),
    };
    loop {
        stage.step();
        if stage.now_us >= history.until_us {
            return stage.book;
        }
        stage.now_us = stage.later();
    }
}

impl Stage<'_> {
    fn step(&mut self) {
        for (name, view) in &mut self.world.hosts {
            if !self.silent.contains(name) {
                view.seen_us = self.now_us;
            }
        }
        self.happen();
        self.local();
        self.carry_out();
        self.say_again();
        self.show_samples();
        let effects = self.operator.tick(self.policy, &self.world, 0, self.now_us);
        for numbered in &effects {
            if let Effect::Send(order) = &numbered.effect {
                // Sent again while it is on its way, it is the same order.
                if !self.orders.iter().any(|(_, known)| known.id == order.id) {
                    self.orders.push((self.now_us + CARRIED_OUT_US, order.clone()));
                }
            }
            self.operator.confirm(numbered.number);
        }
        self.book.take(&effects, &self.operator, (self.policy, &self.world), self.now_us);
    }

    /// The next time at which anything may come about.
    fn later(&self) -> i64 {
        let live = self.operator.state().runs.values().any(Run::live);
        let pace_us = if live || !self.orders.is_empty() || self.now_us < self.lively_until_us {
            SECOND
        } else if self.firing.iter().any(|(id, one)| !one.mended && !self.is_settled(id)) {
            LONG_US
        } else {
            i64::MAX / 4
        };
        let event = self.history.events.get(self.next).map(|event| event.at_us);
        let due = event.unwrap_or(i64::MAX).min(self.now_us + pace_us);
        due.max(self.now_us + TICK_US).min(self.history.until_us)
    }

    /// Whether nothing but an event brings anything about for this incident.
    fn is_settled(&self, id: &str) -> bool {
        let watched = self.operator.state().incidents.get(id);
        watched.is_some_and(|one| {
            let no_entry = one.no_plan.as_ref().is_some_and(|none| none.why == Why::NoEntry);
            no_entry || !one.left_alone.is_empty()
        })
    }

    fn happen(&mut self) {
        let history = self.history;
        while let Some(event) = history.events.get(self.next).filter(|event| event.at_us <= self.now_us) {
            self.next += 1;
            self.lively_until_us = self.now_us + LIVELY_US;
            match &event.what {
                What::Opened(opened) => self.open(opened, event.at_us),
                What::Closed(id) => self.close(id, event.at_us),
                What::Seen(place, seen) => self.see(place, seen, event.at_us),
                What::Silent(host) => {
                    self.silent.insert(host.clone());
                }
                What::Heard(host) => {
                    self.silent.remove(host);
                    self.world.hosts.entry(host.clone()).or_default().seen_us = self.now_us;
                }
                // A name is all that can be wrong with these, and a stored one is there.
                What::Frozen(who) => drop(self.operator.freeze(who, "as it was then", self.now_us)),
                What::Thawed(who) => drop(self.operator.thaw(who, self.now_us)),
            }
        }
    }

    fn open(&mut self, opened: &Opened, at_us: i64) {
        let (id, place) = (opened.id(), opened.place());
        if !place.host.is_empty() {
            let host = self.world.hosts.entry(place.host.clone()).or_default();
            if !self.silent.contains(&place.host) {
                host.seen_us = self.now_us;
            }
        }
        self.book.opened(&id, opened, at_us);
        let firing = Firing { opened: opened.clone(), since_us: at_us, said_us: i64::MIN / 2, mended: false };
        self.firing.insert(id, firing);
        self.guess(&place, at_us);
    }

    fn close(&mut self, id: &str, at_us: i64) {
        let Some(firing) = self.firing.remove(id) else { return };
        self.book.closed(id, at_us);
        let finding = firing.opened.finding(Standing::Resolved, firing.since_us, self.now_us);
        self.operator.alert(&finding, self.policy, self.now_us);
        self.guess(&firing.opened.place(), at_us);
    }

    /// A component of which nothing is stored is down while an alert about it fires.
    fn guess(&mut self, place: &Place, at_us: i64) {
        if place.component.is_empty() || self.seen.contains(place) {
            return;
        }
        let down = self.firing.values().any(|one| !one.mended && one.opened.place() == *place);
        let host = self.world.hosts.entry(place.host.clone()).or_default();
        let view = host.components.entry(place.component.clone()).or_default();
        if down && view.up != Some(false) {
            view.down_since_us = at_us;
        }
        view.up = Some(!down);
    }

    fn see(&mut self, place: &Place, seen: &Seen, at_us: i64) {
        if let (false, true) = (seen.up, seen.complaint.is_matched()) {
            self.operator.complains(place, seen.complaint, self.now_us);
        }
        if seen.up {
            self.helped.remove(place);
        }
        self.seen.insert(place.clone());
        let host = self.world.hosts.entry(place.host.clone()).or_default();
        if !self.silent.contains(&place.host) {
            host.seen_us = self.now_us;
        }
        let view = host.components.entry(place.component.clone()).or_default();
        if view.up != Some(false) && !seen.up {
            view.down_since_us = at_us;
        }
        view.up = Some(seen.up || self.helped.contains(place));
        view.kind.clone_from(&seen.kind);
        view.critical = seen.critical;
        view.replicas = Some(seen.replicas);
    }

    /// What agents did by their own rules they did whatever the policy: it uses the budgets up.
    fn local(&mut self) {
        let history = self.history;
        while let Some(done) = history.done.get(self.next_done).filter(|done| done.at_us <= self.now_us) {
            self.next_done += 1;
            if done.local && done.outcome != "refused" && done.outcome != "would_do" {
                let receipt = receipt_of(done);
                self.operator.receipt(&receipt, self.policy, &self.world, self.now_us);
            }
        }
    }

    fn carry_out(&mut self) {
        let (now_us, silent) = (self.now_us, &self.silent);
        // A silent host takes no order, and none that has expired.
        self.orders.retain(|(_, order)| now_us <= order.expires_us || !silent.contains(&order.host));
        let is_due = |(due_us, order): &mut (i64, Order)| *due_us <= now_us && !silent.contains(&order.host);
        let due: Vec<Order> = self.orders.extract_if(.., is_due).map(|(_, order)| order).collect();
        for order in due {
            let plan = order.id.split('-').next().unwrap_or_default();
            let run = self.operator.run(plan);
            let back = run.is_some_and(|run| matches!(run.phase, Phase::Ordered { back: true, .. }));
            let about = run.map(|run| (run.plan.incident.clone(), run.verified_at()));
            let receipt = self.answer(&order);
            self.operator.receipt(&receipt, self.policy, &self.world, now_us);
            if let (Assume::Helps, false, Some((incident, place))) = (self.assume, back, about) {
                self.help(&incident, &place);
            }
        }
    }

    fn answer(&self, order: &Order) -> Receipt {
        let place = Place::new(&order.host, &order.component);
        let replicas = self.world.component(&place).and_then(|view| view.replicas);
        let before = match (&order.action, replicas) {
            (Action::Scale { .. }, Some(replicas)) => {
                BTreeMap::from([("replicas".to_owned(), replicas.to_string())])
            }
            _ => BTreeMap::new(),
        };
        Receipt {
            id: order.id.clone(),
            host: order.host.clone(),
            component: order.component.clone(),
            action: order.action.clone(),
            local: false,
            outcome: Outcome::Succeeded,
            begun_us: order.issued_us,
            ended_us: self.now_us,
            output: String::new(),
            before,
            because: order.plan.clone(),
        }
    }

    /// The action is taken to have ended the alert it was for.
    fn help(&mut self, incident: &str, place: &Place) {
        if let Some(firing) = self.firing.get_mut(incident) {
            firing.mended = true;
            firing.said_us = i64::MIN / 2;
            let own = firing.opened.place();
            self.guess(&own, self.now_us);
        }
        if let Some(view) =
            self.world.hosts.get_mut(&place.host).and_then(|host| host.components.get_mut(&place.component))
        {
            if view.up == Some(false) {
                view.up = Some(true);
                self.helped.insert(place.clone());
            }
        }
    }

    fn say_again(&mut self) {
        for firing in self.firing.values_mut() {
            if self.now_us - firing.said_us < AGAIN_US {
                continue;
            }
            firing.said_us = self.now_us;
            let standing = if firing.mended { Standing::Resolved } else { Standing::Firing };
            let finding = firing.opened.finding(standing, firing.since_us, self.now_us);
            self.operator.alert(&finding, self.policy, self.now_us);
        }
    }

    /// A sample of each component whose mend is being verified, if its host was heard of.
    fn show_samples(&mut self) {
        let verifying = |run: &&Run| matches!(run.phase, Phase::Verifying { .. });
        let places: BTreeSet<Place> =
            self.operator.state().runs.values().filter(verifying).map(Run::verified_at).collect();
        for place in places.iter().filter(|place| !self.silent.contains(&place.host)) {
            let Some(host) = self.world.hosts.get(&place.host) else { continue };
            let view = host.components.get(&place.component);
            let up_of =
                |(name, view): (&String, &crate::world::ComponentView)| Some((name.clone(), view.up?));
            let facts = VerifyFacts {
                up: view.and_then(|view| view.up),
                others_up: host.components.iter().filter_map(up_of).collect(),
                dependencies_up: Some(self.world.deepest_broken(place).is_none()),
                replicas: view.and_then(|view| view.replicas),
                replica_bounds: view.and_then(|view| view.replica_bounds),
                values: BTreeMap::new(),
            };
            self.operator.observe(&place.host, &place.component, &facts, self.now_us);
        }
    }
}

fn receipt_of(done: &Done) -> Receipt {
    Receipt {
        id: done.id.clone(),
        host: done.place.host.clone(),
        component: done.place.component.clone(),
        action: done.action.clone(),
        local: true,
        outcome: Outcome::Succeeded,
        begun_us: done.at_us,
        ended_us: done.at_us,
        output: String::new(),
        before: BTreeMap::new(),
        because: String::new(),
    }
}
