//! Faults of a whole fleet, and a mend that never helps: what is done stays within its bounds.

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::operator::run::{End, Phase};
use fettle_decide::operator::{Effect, PageKind};
use fettle_decide::policy::Policy;
use fettle_decide::world::Place;
use fettle_shared::command::Outcome;

use crate::bench::Bench;

/// 500 hosts whose only service is down, and an alert for each.
fn broken_fleet(policy: Policy) -> Bench {
    let mut bench = Bench::new(policy);
    for number in 0..500 {
        let at = Place::new(format!("h{number:03}"), "app");
        bench.set_up(&at, false);
        bench.alert(&at, "component_down", Severity::Critical, Standing::Firing);
    }
    bench
}

#[test]
fn a_fault_of_500_hosts_is_a_storm_and_nothing_is_done_without_a_persons_word() {
    let mut bench = broken_fleet(Policy::built_in());
    for _ in 0..60 {
        bench.now_us += 1_000_000;
        bench.tick();
    }
    assert!(bench.orders.is_empty(), "a storm freezes");
    assert_eq!(bench.pages(), 1, "and says so once");
    // One person's word on one plan lets that one through.
    let plan = bench.operator.state().runs.keys().next().unwrap().clone();
    bench.operator.approve(&plan, "ann", bench.now_us).unwrap();
    bench.tick();
    assert_eq!(bench.orders.len(), 1);
}

#[test]
fn without_a_storm_limit_the_budgets_hold_and_in_the_end_all_is_mended() {
    let text = "storm: {alerts: 1000000}\nbudgets:\n  fleet: {in_flight: 20, actions: 100, per: 1m}\n  \
        group: {in_flight: 12, actions: 80, per: 1m, max_unhealthy_percent: 2}\nentries:\n  down:\n    \
        match: {rules: component_down}\n    strategies:\n      - action: restart\n        \
        verify: component.up == 1 for 3s within 15s\n";
    let mut bench = broken_fleet(Policy::read(text).unwrap());
    let mut given: Vec<i64> = Vec::new();
    let (mut most, mut running) = (0, Vec::<(i64, String)>::new());
    for second in 0..1200 {
        bench.now_us += 1_000_000;
        let known = bench.orders.len();
        bench.tick();
        let flights = bench.operator.state().runs.values().filter(|run| run.in_flight()).count();
        most = most.max(flights);
        assert!(flights <= 10, "2 % of 500 is 10, and {flights} are under way");
        given.extend(std::iter::repeat_n(bench.now_us, bench.orders.len() - known));
        let minute = given.iter().filter(|at_us| **at_us > bench.now_us - 60_000_000).count();
        assert!(minute <= 80, "{minute} orders in a minute");
        // The agents need a second, and it helps.
        for (_, order) in running.extract_if(.., |(due_us, _)| *due_us <= bench.now_us).collect::<Vec<_>>() {
            bench.receipt(&order, Outcome::Succeeded, "", &[]);
            let at = Place::new(bench.orders[&order].host.clone(), "app");
            bench.set_up(&at, true);
        }
        for order in bench.orders.keys() {
            let waits = bench.operator.run(order.split('-').next().unwrap()).is_some_and(
                |run| matches!(&run.phase, Phase::Ordered { order: own, .. } if own.id == *order),
            );
            if waits && !running.iter().any(|(_, one)| one == order) {
                running.push((bench.now_us + 1_000_000, order.clone()));
            }
        }
        let up: Vec<Place> = bench
            .world
            .hosts
            .iter()
            .filter(|(_, host)| host.components["app"].up == Some(true))
            .map(|(host, _)| Place::new(host, "app"))
            .collect();
        for at in &up {
            bench.observe(at);
        }
        if second % 10 == 0 {
            for number in 0..500 {
                let at = Place::new(format!("h{number:03}"), "app");
                let standing = if up.contains(&at) { Standing::Resolved } else { Standing::Firing };
                bench.alert(&at, "component_down", Severity::Critical, standing);
            }
        }
        bench.operator.confirm(bench.operator.state().number);
        if up.len() == 500 {
            break;
        }
    }
    assert_eq!(most, 10, "the budget is used");
    assert!(bench.world.hosts.values().all(|host| host.components["app"].up == Some(true)));
    assert_eq!(bench.orders.len(), 500, "each was ordered once");
    assert_eq!(bench.pages(), 0);
}

#[test]
fn a_mend_that_never_helps_stops_after_its_limit_and_pages_once() {
    let text = "entries:\n  down:\n    match: {rules: component_down}\n    strategies:\n      - action: restart\n        \
        max_attempts: 3\n        cooldown: 5s\n        verify: component.up == 1 for 3s within 15s\nbreaker: {failures: 50}\n";
    let mut bench = Bench::new(Policy::read(text).unwrap());
    let at = Place::new("h", "app");
    bench.set_up(&at, false);
    for second in 0..3000 {
        bench.now_us += 1_000_000;
        // Every two minutes it flaps: for a few seconds the alert is gone.
        let standing = if second % 120 > 115 { Standing::Resolved } else { Standing::Firing };
        bench.alert(&at, "component_down", Severity::High, standing);
        bench.observe(&at);
        for one in bench.tick() {
            if let Effect::Send(order) = one.effect {
                bench.receipt(&order.id, Outcome::Succeeded, "", &[]);
            }
        }
    }
    assert_eq!(bench.orders.len(), 3);
    let pages: Vec<PageKind> = bench
        .effects
        .iter()
        .filter_map(|one| match &one.effect {
            Effect::Page(page) => Some(page.kind),
            _ => None,
        })
        .collect();
    assert_eq!(pages, [PageKind::GaveUp]);
    let gave_up = bench
        .operator
        .state()
        .runs
        .values()
        .filter(|run| matches!(run.phase, Phase::Ended { end: End::GaveUp { .. }, .. }))
        .count();
    assert_eq!(gave_up, 1);
}

#[test]
fn a_mend_that_helps_and_does_not_last_stops_after_its_limit_and_pages_once() {
    let text = "repeat: {max: 4, per: 30m}\nentries:\n  down:\n    match: {rules: component_down}\n    strategies:\n      \
        - action: restart\n        cooldown: 5s\n        verify: component.up == 1 for 3s within 15s\n";
    let mut bench = Bench::new(Policy::read(text).unwrap());
    let at = Place::new("h", "app");
    let mut up_until_us = 0;
    for _ in 0..3000 {
        bench.now_us += 1_000_000;
        let up = bench.now_us < up_until_us;
        bench.set_up(&at, up);
        bench.alert(
            &at,
            "component_down",
            Severity::High,
            if up { Standing::Resolved } else { Standing::Firing },
        );
        bench.observe(&at);
        for one in bench.tick() {
            if let Effect::Send(order) = one.effect {
                bench.receipt(&order.id, Outcome::Succeeded, "", &[]);
                up_until_us = bench.now_us + 20_000_000;
            }
        }
    }
    assert_eq!(bench.orders.len(), 4);
    assert_eq!(bench.pages(), 1);
}
