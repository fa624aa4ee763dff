//! Mends that samples speak well of and that do not help, or do not last: twelve hours of them come to an end, and to a
//! person, with the built-in policy.

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::memory::Ended;
use fettle_decide::operator::{Effect, PageKind};
use fettle_decide::policy::Policy;
use fettle_decide::world::Place;
use fettle_shared::command::Outcome;

use crate::bench::Bench;

const SECOND: i64 = 1_000_000;
const HOURS_12: i64 = 12 * 3600;

/// Goes through so many seconds; `fires` says whether the alert does, given the time since the last restart, µs. The
/// component is up from two seconds after a restart on while `up` says so.
fn live(bench: &mut Bench, rule: &str, seconds: i64, fires: impl Fn(i64) -> bool, up: impl Fn(i64) -> bool) {
    let at = Place::new("h", "app");
    let mut restarted_us = 0;
    for _ in 0..seconds {
        bench.now_us += SECOND;
        let since_us = bench.now_us - restarted_us;
        bench.set_up(&at, up(since_us));
        let standing = if fires(since_us) { Standing::Firing } else { Standing::Resolved };
        bench.alert(&at, rule, Severity::High, standing);
        bench.observe(&at);
        for one in bench.tick() {
            if let Effect::Send(order) = one.effect {
                restarted_us = bench.now_us;
                bench.receipt(&order.id, Outcome::Succeeded, "", &[]);
            }
        }
        bench.operator.confirm(bench.operator.state().number);
    }
}

fn paged(bench: &Bench) -> Vec<PageKind> {
    let page = |effect: &Effect| match effect {
        Effect::Page(page) => Some(page.kind),
        _ => None,
    };
    bench.effects.iter().filter_map(|one| page(&one.effect)).collect()
}

#[test]
fn restarts_that_bring_it_up_and_do_not_end_the_alert_stop_after_their_attempts() {
    let mut bench = Bench::new(Policy::built_in());
    live(&mut bench, "component_memory_high", HOURS_12, |_| true, |_| true);
    assert_eq!(bench.orders.len(), 2, "memory_leak has two attempts");
    assert_eq!(paged(&bench), [PageKind::GaveUp]);
    let attempts = &bench.operator.state().memory.attempts;
    assert!(attempts.iter().all(|one| one.ended == Ended::NotHealed), "{attempts:?}");
}

#[test]
fn an_alert_that_ends_late_but_before_it_could_be_tried_again_was_mended() {
    let mut bench = Bench::new(Policy::built_in());
    // Fires on for four of the five minutes of cooldown after a restart, then not for the rest.
    live(
        &mut bench,
        "component_memory_high",
        3600,
        |since_us| !(240 * SECOND..=HOURS_12 * SECOND).contains(&since_us),
        |_| true,
    );
    assert_eq!((bench.orders.len(), bench.pages()), (1, 0));
    assert_eq!(bench.operator.state().memory.attempts[0].ended, Ended::Healed);
}

#[test]
fn a_service_that_crashes_two_and_a_half_minutes_after_each_restart_is_left_to_a_person() {
    let mut bench = Bench::new(Policy::built_in());
    let up = |since_us: i64| (2 * SECOND..150 * SECOND).contains(&since_us);
    live(&mut bench, "component_down", HOURS_12, |since_us| !up(since_us), up);
    assert_eq!(bench.orders.len(), Policy::built_in().repeat_long.max as usize);
    assert_eq!(paged(&bench), [PageKind::GaveUp]);
}

#[test]
fn a_memory_leak_that_comes_back_slowly_is_left_to_a_person_in_the_end() {
    let mut bench = Bench::new(Policy::built_in());
    // Twenty minutes of peace after each restart: within no window of minutes is that too often.
    live(&mut bench, "component_memory_high", HOURS_12, |since_us| since_us > 1200 * SECOND, |_| true);
    assert_eq!(bench.orders.len(), 12);
    assert_eq!(paged(&bench), [PageKind::GaveUp]);
}

#[test]
fn a_limit_of_repeats_that_cooldowns_never_let_it_reach_is_a_fault_where_it_is_written() {
    let text = |own: &str| {
        format!(
            "entries:\n  leak:\n    match: {{rules: leak}}\n{own}    strategies:\n      - action: restart\n        \
             cooldown: 5m\n"
        )
    };
    let faults = Policy::read(&text("    repeat: {max: 5, per: 10m}\n")).unwrap_err().to_string();
    assert!(faults.contains("never reached"), "{faults}");
    assert!(Policy::read(&text("    repeat: {max: 2, per: 10m}\n")).is_ok());
    // What is taken over from the whole policy counts over as much time as the cooldowns need.
    let policy = Policy::read(&text("")).unwrap();
    assert!(policy.entries[0].repeat.per_us >= 5 * 300 * SECOND);
    for entry in Policy::built_in().entries {
        let longest_us = entry.strategies.iter().map(|one| one.cooldown_us).max().unwrap();
        assert!(i64::from(entry.repeat.max) * longest_us <= entry.repeat.per_us, "{}", entry.name);
    }
}

#[test]
fn a_person_lets_it_be_tried_again_with_all_its_attempts() {
    let mut bench = Bench::new(Policy::built_in());
    let up = |since_us: i64| (2 * SECOND..150 * SECOND).contains(&since_us);
    live(&mut bench, "component_down", 3600, |since_us| !up(since_us), up);
    assert_eq!(bench.orders.len(), 12);
    let incident = bench.operator.state().incidents.keys().next().unwrap().clone();
    bench.operator.retry(&incident, "ann", bench.now_us).unwrap();
    live(&mut bench, "component_down", 3600, |since_us| !up(since_us), up);
    assert_eq!(bench.orders.len(), 24);
}
