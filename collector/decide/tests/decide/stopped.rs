//! What was decided before people stopped everything does not leave after it.

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::operator::Effect;
use fettle_decide::policy::Policy;
use fettle_decide::world::Place;
use fettle_shared::command::Order;

use crate::bench::Bench;

/// An order, valid for ten minutes, for an agent that does not answer.
fn ordered() -> (Bench, Order) {
    let text = "entries:\n  down:\n    match: {rules: component_down}\n    strategies:\n      - action: restart\n        \
        expires: 10m\n        verify: component.up == 1 for 3s within 15s\n";
    let mut bench = Bench::new(Policy::read(text).unwrap());
    let at = Place::new("h", "app");
    bench.set_up(&at, false);
    bench.alert(&at, "component_down", Severity::High, Standing::Firing);
    bench.tick();
    let order = bench.orders.values().next().unwrap().clone();
    (bench, order)
}

/// How often orders leave within so many seconds.
fn sent(bench: &mut Bench, seconds: u32) -> usize {
    let mut sent = 0;
    for _ in 0..seconds {
        bench.now_us += 1_000_000;
        bench.alert(&Place::new("h", "app"), "component_down", Severity::High, Standing::Firing);
        let new = bench.tick();
        sent += new.iter().filter(|one| matches!(one.effect, Effect::Send(_))).count();
        bench.operator.confirm(bench.operator.state().number);
        if sent == 0 {
            bench.restart();
        }
    }
    sent
}

#[test]
fn an_order_for_an_absent_agent_leaves_again_and_again_but_not_in_a_freeze() {
    let (mut bench, order) = ordered();
    assert!(bench.operator.may_leave(&order, &bench.policy));
    assert!(sent(&mut bench, 30) >= 5);
    bench.operator.freeze("ann", "test", bench.now_us).unwrap();
    // One that still waits to be saved does not leave either, even before the next tick.
    assert!(!bench.operator.may_leave(&order, &bench.policy));
    assert_eq!(sent(&mut bench, 300), 0);
    bench.operator.thaw("ann", bench.now_us).unwrap();
    assert!(!bench.operator.may_leave(&order, &bench.policy), "nor after the freeze");
    assert_eq!(sent(&mut bench, 260), 0);
}

#[test]
fn an_order_does_not_leave_when_the_policy_freezes_or_its_plan_is_cancelled() {
    let (mut bench, order) = ordered();
    bench.policy.frozen = true;
    assert!(!bench.operator.may_leave(&order, &bench.policy));
    assert_eq!(sent(&mut bench, 60), 0);
    let (mut bench, order) = ordered();
    let plan = order.id.split('-').next().unwrap();
    bench.operator.cancel(plan, "ann", bench.now_us).unwrap();
    assert!(!bench.operator.may_leave(&order, &bench.policy));
    assert_eq!(sent(&mut bench, 60), 0);
    assert!(!bench.operator.may_leave(&Order { id: "other-0-1".to_owned(), ..order }, &bench.policy));
}
