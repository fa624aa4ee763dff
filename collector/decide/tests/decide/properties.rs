//! Properties that hold whatever happens in whatever order: nothing leaves outside policy and budget, what
//! leaves stands in the audit before, and a crash at any point changes nothing.

use std::collections::BTreeSet;

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::audit;
use fettle_decide::operator::run::Phase;
use fettle_decide::operator::{Effect, Numbered};
use fettle_decide::policy::Policy;
use fettle_decide::world::Place;
use fettle_shared::command::{Action, Order, Outcome, Refusal};
use proptest::prelude::*;

use crate::bench::Bench;

const POLICY: &str = "
storm: {alerts: 8, per: 10s, freeze: 20s}
breaker: {failures: 3, open: 1m}
budgets:
  host: {actions: 4, per: 2m, in_flight: 1}
  group: {label: component, actions: 6, per: 2m, in_flight: 2, max_unhealthy_percent: 67}
  fleet: {actions: 9, per: 2m, in_flight: 3}
entries:
  down:
    match: {rules: component_down}
    strategies:
      - action: restart
        requires: [dependencies.up == 1]
        cooldown: 2s
        verify: component.up == 1 for 3s within 8s
      - action: {run: never}
        approval: never
      - action: {fail_over: link}
        max_attempts: 1
        approval: ask
        requires: [previous.failed == 1]
  overload:
    match: {rules: overload}
    strategies:
      - action: {scale: {by: 1}}
        cooldown: 2s
        verify: alert.firing == 0 within 8s
";

#[derive(Debug, Clone)]
enum Op {
    Set(u8, bool),
    Alert(u8, bool, bool),
    Pass(u8),
    Receipt(u8, u8),
    Word(u8, u8),
    Freeze(bool),
    Silence(u8, bool),
    Confirm,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0u8..8, any::<bool>()).prop_map(|(at, up)| Op::Set(at, up)),
        4 => (0u8..8, any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(at, down, firing)| Op::Alert(at, down, firing)),
        6 => (1u8..6).prop_map(Op::Pass),
        5 => (any::<u8>(), 0u8..9).prop_map(|(which, outcome)| Op::Receipt(which, outcome)),
        2 => (any::<u8>(), 0u8..4).prop_map(|(which, word)| Op::Word(which, word)),
        1 => prop::bool::weighted(0.3).prop_map(Op::Freeze),
        1 => (0u8..4, any::<bool>()).prop_map(|(host, silent)| Op::Silence(host, silent)),
        2 => Just(Op::Confirm),
    ]
}

fn at(number: u8) -> Place {
    Place::new(format!("h{}", number / 2), if number.is_multiple_of(2) { "app" } else { "db" })
}

fn bench() -> Bench {
    let mut bench = Bench::new(Policy::read(POLICY).unwrap());
    for number in 0..8 {
        let component = bench.component(&at(number));
        component.replicas = Some(2);
        component.replica_bounds = Some((1, 4));
        if number.is_multiple_of(2) {
            component.depends_on = vec!["db".to_owned()];
        }
    }
    bench
}

/// Does one thing; `check` sees the effects of each tick.
fn apply(bench: &mut Bench, op: &Op, check: &mut dyn FnMut(&Bench, &[Numbered])) {
    match *op {
        Op::Set(number, up) => bench.set_up(&at(number), up),
        Op::Alert(number, down, firing) => {
            let rule = if down { "component_down" } else { "overload" };
            let standing = if firing { Standing::Firing } else { Standing::Resolved };
            bench.alert(&at(number), rule, Severity::High, standing);
        }
        Op::Pass(seconds) => {
            for _ in 0..seconds {
                bench.now_us += 1_000_000;
                for number in 0..8 {
                    bench.observe(&at(number));
                }
                let new = bench.tick();
                check(bench, &new);
            }
        }
        Op::Receipt(which, outcome) => {
            let ids: Vec<String> = bench.orders.keys().cloned().collect();
            if ids.is_empty() {
                return;
            }
            let outcome = match outcome {
                0 => Outcome::Accepted,
                1..=3 => Outcome::Succeeded,
                4 => Outcome::Failed { error: "Permission denied".to_owned() },
                5 => Outcome::TimedOut,
                6 => Outcome::NeverCompleted,
                7 => Outcome::Refused { reason: Refusal::Busy },
                _ => Outcome::Refused { reason: Refusal::NotAllowed },
            };
            bench.receipt(
                &ids[which as usize % ids.len()],
                outcome,
                "",
                &[("replicas", "2"), ("candidate", "a")],
            );
        }
        Op::Word(which, word) => {
            let ids: Vec<String> = bench.operator.state().runs.keys().cloned().collect();
            if ids.is_empty() {
                return;
            }
            let (plan, now_us) = (&ids[which as usize % ids.len()], bench.now_us);
            // A word that comes too late is an error, and changes nothing.
            let _late = match word {
                0 => bench.operator.approve(plan, "ann", now_us),
                1 => bench.operator.deny(plan, "ann", now_us),
                2 => bench.operator.cancel(plan, "ann", now_us),
                _ => bench.operator.roll_back(plan, "ann", now_us),
            };
        }
        Op::Freeze(true) => bench.operator.freeze("ann", "test", bench.now_us).unwrap(),
        Op::Freeze(false) => bench.operator.thaw("ann", bench.now_us).unwrap(),
        Op::Silence(host, silent) => {
            let host = format!("h{host}");
            bench.silent_hosts.retain(|one| *one != host);
            if silent {
                bench.silent_hosts.push(host);
            }
        }
        Op::Confirm => bench.operator.confirm(bench.operator.state().number),
    }
}

/// What must hold of the effects of each tick.
#[derive(Default)]
struct Bounds {
    intents: BTreeSet<String>,
    given: Vec<Order>,
    records: Vec<audit::AuditRecord>,
}

impl Bounds {
    fn check(&mut self, bench: &Bench, effects: &[Numbered]) {
        for one in effects {
            match &one.effect {
                Effect::Audit(record) => {
                    if record.kind == "intent" {
                        self.intents.insert(record.order.clone());
                    }
                    self.records.push(record.clone());
                }
                Effect::Send(order) => self.sent(bench, order),
                _ => {}
            }
        }
        let runs: Vec<_> = bench.operator.state().runs.values().filter(|run| run.in_flight()).collect();
        assert!(runs.len() <= 3, "{} under way in the fleet", runs.len());
        for host in 0..4 {
            let host = format!("h{host}");
            let own = runs.iter().filter(|run| run.current().is_some_and(|step| step.place.host == host));
            assert!(own.count() <= 1, "more than one under way on {host}");
        }
        for group in ["app", "db"] {
            let own = runs.iter().filter(|run| run.current().is_some_and(|step| step.group == group));
            assert!(own.count() <= 2, "more than two under way in {group}");
        }
    }

    fn sent(&mut self, bench: &Bench, order: &Order) {
        assert!(self.intents.contains(&order.id), "an order left before its intent");
        let run = bench.operator.run(order.id.split('-').next().unwrap()).unwrap();
        let Phase::Ordered { accepted_us, back, .. } = run.phase else {
            panic!("no order of it is under way")
        };
        if accepted_us == 0 {
            assert!(
                bench.operator.state().freeze.is_none(),
                "an order that nobody accepted left in the freeze"
            );
            assert!(
                back || run.cancelled_by.is_none(),
                "an order that nobody accepted left after its plan was cancelled"
            );
            assert!(bench.operator.may_leave(order, &bench.policy));
        }
        if self.given.iter().any(|one| one.id == order.id) {
            return;
        }
        let now_us = bench.now_us;
        assert!(bench.operator.state().freeze.is_none(), "an order left in the freeze");
        assert!(self.given.last().is_none_or(|last| last.generation < order.generation));
        self.given.push(order.clone());
        let window = |which: &dyn Fn(&Order) -> bool| {
            self.given.iter().filter(|one| one.issued_us > now_us - 120_000_000 && which(one)).count()
        };
        assert!(window(&|_| true) <= 9);
        assert!(window(&|one| one.host == order.host) <= 4);
        assert!(window(&|one| one.component == order.component) <= 6);
        let run = bench.operator.run(order.id.split('-').next().unwrap()).unwrap();
        match &order.action {
            Action::Restart => {
                let at = Place::new(&order.host, &order.component);
                assert_eq!(bench.world.deepest_broken(&at), None, "restarted while what it needs is down");
            }
            Action::Scale { replicas } => assert!((1..=4).contains(replicas)),
            Action::FailOver { .. } => assert!(run.approved_by.is_some(), "nobody approved it"),
            other => panic!("the policy does not know {}", other.name()),
        }
    }
}

/// Effects without their numbers, without orders sent again, and without what only tells of a change.
fn essence(bench: &Bench) -> Vec<Effect> {
    let mut sent = BTreeSet::new();
    bench
        .effects
        .iter()
        .map(|one| one.effect.clone())
        .filter(|effect| match effect {
            Effect::Send(order) => sent.insert(order.id.clone()),
            _ => true,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_order_leaves_outside_policy_and_budget(ops in prop::collection::vec(op(), 1..120)) {
        let (mut bench, mut bounds) = (bench(), Bounds::default());
        for op in &ops {
            apply(&mut bench, op, &mut |bench, new| bounds.check(bench, new));
        }
        bench.now_us += 1;
        let last = bench.tick();
        bounds.check(&bench, &last);
        prop_assert_eq!(
            audit::verify(&bounds.records, Some(&bench.operator.state().head)).map(|summary| summary.records),
            Ok(bounds.records.len() as u64)
        );
    }

    #[test]
    fn a_crash_at_any_point_changes_nothing(
        ops in prop::collection::vec((op(), prop::bool::weighted(0.3)), 1..80)
    ) {
        let (mut whole, mut torn) = (bench(), bench());
        for (op, crash) in &ops {
            apply(&mut whole, op, &mut |_, _| {});
            if *crash {
                torn.restart();
            }
            apply(&mut torn, op, &mut |_, _| {});
        }
        torn.restart();
        for one in [&mut whole, &mut torn] {
            one.now_us += 1_000_000;
            one.tick();
        }
        prop_assert_eq!(essence(&whole), essence(&torn));
    }
}
