//! How much of a group is acted on at once, when part of it is silent, never seen, or gone.

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::policy::Policy;
use fettle_decide::world::{ComponentView, Place};

use crate::bench::Bench;

const POLICY: &str =
    "entries:\n  leak:\n    match: {rules: leak}\n    strategies:\n      - action: restart\n        \
    verify: component.up == 1 for 3s within 15s\n";

fn at(number: usize) -> Place {
    Place::new(format!("h{number}"), "app")
}

/// How many orders are under way at most, when an alert that asks for a restart fires on these, which are all up.
fn at_once(bench: &mut Bench, members: std::ops::Range<usize>) -> usize {
    for member in members {
        bench.alert(&at(member), "leak", Severity::High, Standing::Firing);
    }
    let mut most = 0;
    for _ in 0..30 {
        bench.now_us += 1_000_000;
        bench.tick();
        most = most.max(bench.operator.state().runs.values().filter(|run| run.in_flight()).count());
    }
    most
}

fn bench(up: usize) -> Bench {
    let mut bench = Bench::new(Policy::read(POLICY).unwrap());
    for member in 0..up {
        bench.set_up(&at(member), true);
    }
    bench
}

#[test]
fn what_is_silent_counts_as_unhealthy() {
    let mut whole = bench(10);
    assert_eq!(at_once(&mut whole, 0..3), 3, "34 % of ten");
    let mut torn = bench(10);
    torn.silent_hosts = (3..10).map(|member| at(member).host).collect();
    torn.now_us += 600_000_000;
    assert_eq!(
        at_once(&mut torn, 0..3),
        0,
        "seven of ten are silent, so none of the other three is taken down"
    );
    torn.silent_hosts.truncate(1);
    torn.now_us += 1_000_000;
    assert_eq!(at_once(&mut torn, 0..3), 2, "one is silent, so two more may be down");
}

#[test]
fn what_was_never_seen_counts_as_unhealthy_and_what_is_gone_not_at_all() {
    let mut bench = bench(3);
    let heard_us = bench.now_us;
    for member in 3..11 {
        let host = bench.world.hosts.entry(at(member).host).or_default();
        host.seen_us = heard_us;
        host.components.insert("app".to_owned(), ComponentView::default());
        bench.silent_hosts.push(at(member).host);
    }
    assert_eq!(at_once(&mut bench, 0..3), 0);
    bench.now_us = heard_us + bench.policy.host_gone_us;
    assert_eq!(at_once(&mut bench, 0..3), 1, "a group of three, of which one always may be");
}

#[test]
fn the_policy_says_when_a_silent_host_has_left() {
    let policy = Policy::read(&format!("host_gone_after: 1h\n{POLICY}")).unwrap();
    assert_eq!(
        (policy.host_gone_us, Policy::read(POLICY).unwrap().host_gone_us),
        (3_600_000_000, 604_800_000_000)
    );
    let mut bench = Bench::new(policy);
    for member in 0..10 {
        bench.set_up(&at(member), true);
    }
    bench.silent_hosts = (3..10).map(|member| at(member).host).collect();
    bench.now_us += 3_000_000_000;
    assert_eq!(at_once(&mut bench, 0..3), 0, "seven of ten are silent, and may come back");
    bench.now_us += 600_000_000;
    assert_eq!(at_once(&mut bench, 0..3), 1, "a group of three, of which one always may be");
    let faults = Policy::read("host_gone_after: 1m\n").unwrap_err().to_string();
    assert!(faults.contains("at least 5m"), "{faults}");
}
