//! A bench to try an operator on: a small fleet that a test sets up in a line, a clock it turns, and effects
//! as lines of text.

use std::collections::BTreeMap;

use fettle_alert::handoff::{Finding, Labels, Severity, Standing};
use fettle_decide::operator::{Effect, Numbered, Operator, VerifyFacts};
use fettle_decide::policy::Policy;
use fettle_decide::world::{ComponentView, Place, World};
use fettle_shared::command::{Action, Order, Outcome, Receipt};

/// 2026-11-22 12:00 UTC, a Sunday.
pub const START_US: i64 = 1_795_348_800_000_000;

/// Everything around an operator.
pub struct Bench {
    pub policy: Policy,
    pub world: World,
    pub operator: Operator,
    pub now_us: i64,
    /// Orders by id, as last sent.
    pub orders: BTreeMap<String, Order>,
    /// Every effect, in order; repeats after a restart are left out by their number.
    pub effects: Vec<Numbered>,
    pub silent_hosts: Vec<String>,
}

pub fn place(text: &str) -> Place {
    match text.split_once('/') {
        Some((host, component)) => Place::new(host, component),
        None => Place::new(text, ""),
    }
}

impl Bench {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            world: World::default(),
            operator: Operator::new(),
            now_us: START_US,
            orders: BTreeMap::new(),
            effects: Vec::new(),
            silent_hosts: Vec::new(),
        }
    }

    pub fn component(&mut self, at: &Place) -> &mut ComponentView {
        let host = self.world.hosts.entry(at.host.clone()).or_default();
        host.seen_us = self.now_us;
        host.components.entry(at.component.clone()).or_insert_with(|| ComponentView {
            up: Some(true),
            kind: "supervised".to_owned(),
            ..ComponentView::default()
        })
    }

    pub fn set_up(&mut self, at: &Place, up: bool) {
        let now_us = self.now_us;
        let component = self.component(at);
        component.up = Some(up);
        component.down_since_us = if up { 0 } else { now_us };
    }

    pub fn finding(
        &self,
        at: &Place,
        rule: &str,
        severity: Severity,
        standing: Standing,
        value: f64,
    ) -> Finding {
        let mut labels = Labels::from([("host".to_owned(), at.host.clone())]);
        if !at.component.is_empty() {
            labels.insert("component".to_owned(), at.component.clone());
        }
        Finding {
            rule: rule.to_owned(),
            labels,
            severity,
            standing,
            value,
            at_us: self.now_us,
            since_us: self.now_us,
            summary: format!("{rule} on {at}"),
            description: String::new(),
            runbook: None,
            action: None,
        }
    }

    pub fn alert(&mut self, at: &Place, rule: &str, severity: Severity, standing: Standing) {
        let finding = self.finding(at, rule, severity, standing, 1.0);
        self.operator.alert(&finding, &self.policy, self.now_us);
    }

    pub fn observe(&mut self, at: &Place) {
        let component = self.world.component(at);
        let facts = VerifyFacts {
            up: component.and_then(|one| one.up),
            replicas: component.and_then(|one| one.replicas),
            values: self.world.hosts.get(&at.host).map(|host| host.values.clone()).unwrap_or_default(),
            ..VerifyFacts::default()
        };
        self.operator.observe(&at.host, &at.component, &facts, self.now_us);
    }

    /// One tick; gives the new effects.
    pub fn tick(&mut self) -> Vec<Numbered> {
        for (name, host) in &mut self.world.hosts {
            if !self.silent_hosts.contains(name) {
                host.seen_us = self.now_us;
            }
        }
        let new = self.operator.tick(&self.policy, &self.world, 1, self.now_us);
        for one in &new {
            if let Effect::Send(order) = &one.effect {
                let before = self.orders.insert(order.id.clone(), order.clone());
                assert!(before.is_none_or(|before| before == *order), "an order sent again has changed");
            }
            if self.effects.last().is_none_or(|last| last.number < one.number) {
                self.effects.push(one.clone());
            }
        }
        new
    }

    /// Saves and restores the state through its text, as a crash of the process would.
    pub fn restart(&mut self) {
        let saved = serde_json::to_string(self.operator.state()).unwrap();
        self.operator = Operator::restore(serde_json::from_str(&saved).unwrap());
    }

    pub fn receipt(&mut self, order: &str, outcome: Outcome, output: &str, before: &[(&str, &str)]) {
        let order = self.orders[order].clone();
        let over = !matches!(outcome, Outcome::Accepted | Outcome::Refused { .. });
        let receipt = Receipt {
            id: order.id,
            host: order.host,
            component: order.component,
            action: order.action,
            local: false,
            outcome,
            begun_us: self.now_us,
            ended_us: if over { self.now_us } else { 0 },
            output: output.to_owned(),
            before: before.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            because: order.plan,
        };
        self.operator.receipt(&receipt, &self.policy, &self.world, self.now_us);
    }

    /// An agent has restarted a component by its own rules, so many seconds ago.
    pub fn local(&mut self, at: &Place, id: &str, seconds_ago: i64) {
        let begun_us = self.now_us - seconds_ago * 1_000_000;
        let receipt = Receipt {
            id: id.to_owned(),
            host: at.host.clone(),
            component: at.component.clone(),
            action: Action::Restart,
            local: true,
            outcome: Outcome::Succeeded,
            begun_us,
            ended_us: begun_us,
            output: String::new(),
            before: BTreeMap::new(),
            because: "local".to_owned(),
        };
        self.operator.receipt(&receipt, &self.policy, &self.world, self.now_us);
    }

    pub fn pages(&self) -> usize {
        self.effects.iter().filter(|one| matches!(one.effect, Effect::Page(_))).count()
    }
}
