//! Clocks that go back: for a moment, by a little, and for good after a day ahead.

use super::super::config::{MINUTE, SECOND};
use super::super::*;
use super::{finding, NOON};
use crate::handoff::{Finding, Labels, NotificationKind, Severity, Standing};

const DAY: i64 = 24 * 60 * MINUTE;

/// Time stands still for the data: their clock was right all along.
fn word(host: &str, at_us: i64, standing: Standing) -> Finding {
    Finding { standing, ..finding("disk_full", &[("host", host)], Severity::High, at_us) }
}

fn config() -> Config {
    let text = "cooldown: 5m\nroute:\n  channels: [ops]\n  group_by: [rule, host]\n  group_wait: 0s\n  group_interval: 1s\n  \
                repeat_interval: 4h\nchannels:\n  ops:\n    kind: webhook\n    url: http://127.0.0.1:1/\n";
    Config::from_yaml(text).unwrap()
}

fn told(manager: &mut Manager, now_us: i64) -> Vec<NotificationKind> {
    manager.tick(now_us).notifications.into_iter().map(|one| one.kind).collect()
}

/// Ticks each second, with the alert said again each few seconds; gives all that was told.
fn live(
    manager: &mut Manager,
    from_us: i64,
    seconds: i64,
    standing: Option<Standing>,
) -> Vec<NotificationKind> {
    let mut all = Vec::new();
    for second in 0..seconds {
        let now_us = from_us + second * SECOND;
        if let Some(standing) = standing.filter(|_| second % 5 == 0) {
            manager.findings(&[word("web-1", now_us, standing)], now_us);
        }
        all.extend(told(manager, now_us));
    }
    all
}

#[test]
fn a_clock_that_was_a_day_ahead_is_followed_back_and_nothing_is_told_twice() {
    let mut manager = Manager::new(config());
    let ahead = NOON + DAY;
    assert_eq!(live(&mut manager, ahead, 60, Some(Standing::Firing)), [NotificationKind::Firing]);
    // Set right: for a minute the manager waits, then it follows.
    let right = NOON + MINUTE;
    assert!(live(&mut manager, right, 60, Some(Standing::Firing)).is_empty());
    assert_eq!((manager.state().set_back, manager.state().ticked_us), (0, ahead + 59 * SECOND));
    assert!(live(&mut manager, right + MINUTE, 60, Some(Standing::Firing)).is_empty());
    assert_eq!((manager.state().set_back, manager.state().ticked_us), (1, right + 119 * SECOND));

    // The end is told once, the cooldown lasts as long as it is to, and then what begins is told.
    let end = right + 2 * MINUTE;
    assert_eq!(live(&mut manager, end, 10, Some(Standing::Resolved)), [NotificationKind::Resolved]);
    assert!(live(&mut manager, end + 10 * SECOND, 280, Some(Standing::Firing)).is_empty(), "cooldown");
    let later = live(&mut manager, end + 290 * SECOND, 30, Some(Standing::Firing));
    assert_eq!(later, [NotificationKind::Firing], "and not a day later");
}

#[test]
fn a_cooldown_that_began_ahead_goes_on_where_it_was() {
    let mut manager = Manager::new(config());
    let ahead = NOON + DAY;
    live(&mut manager, ahead, 10, Some(Standing::Firing));
    let over = live(&mut manager, ahead + 10 * SECOND, 120, Some(Standing::Resolved));
    assert_eq!(over, [NotificationKind::Resolved]);
    // Two minutes of five are over; the minute in which the clock was doubted does not count.
    let right = NOON + 3 * MINUTE;
    assert!(live(&mut manager, right, 61, Some(Standing::Firing)).is_empty());
    let mut seconds = 0;
    while live(&mut manager, right + 61 * SECOND + seconds * SECOND, 1, Some(Standing::Firing)).is_empty() {
        seconds += 1;
        assert!(seconds < 600, "it waits for the day that was");
    }
    assert!((175..=185).contains(&seconds), "{seconds}");
    let reasons: Vec<Reason> =
        manager.state().alerts.values().flat_map(|alert| &alert.why).map(|why| why.reason).collect();
    assert!(reasons.contains(&Reason::Cooldown));
}

#[test]
fn a_step_of_seconds_and_one_that_does_not_last_are_waited_for() {
    let mut manager = Manager::new(config());
    live(&mut manager, NOON, 10, Some(Standing::Firing));
    assert!(live(&mut manager, NOON - 30 * SECOND, 120, Some(Standing::Firing)).is_empty());
    assert_eq!(manager.state().set_back, 0);
    let now = manager.state().ticked_us;
    // Wrong for 50 seconds, twice, and right between.
    for at in [now, now + MINUTE] {
        live(&mut manager, at - DAY, 50, None);
        live(&mut manager, at + 50 * SECOND, 1, None);
    }
    assert_eq!((manager.state().set_back, manager.state().ticked_us), (0, now + 110 * SECOND));
    // Each step further back is a clock of its own: the minute begins anew.
    live(&mut manager, now - DAY, 50, None);
    live(&mut manager, now - 2 * DAY, 50, None);
    assert_eq!(manager.state().set_back, 0);
    live(&mut manager, now - 2 * DAY + 50 * SECOND, 20, None);
    assert_eq!(manager.state().set_back, 1);
}

#[test]
fn what_a_saved_state_brings_from_the_future_is_moved_too() {
    let mut manager = Manager::new(config());
    let ahead = NOON + DAY;
    let silence = |host: &str, begins_us, expires_us| Request::Silence {
        matchers: Matchers([("host".to_owned(), host.to_owned())].into()),
        author: "ann".into(),
        reason: "work".into(),
        begins_us,
        expires_us,
    };
    manager.tick(NOON);
    manager.ask(&silence("planned", Some(NOON + 2 * DAY), NOON + 2 * DAY + MINUTE), NOON).unwrap();
    manager.tick(ahead);
    manager.ask(&silence("ahead", None, ahead + 60 * MINUTE), ahead).unwrap();
    let saved = serde_json::to_vec(manager.state()).unwrap();
    let state: State = serde_json::from_slice(&saved).unwrap();
    let mut manager = Manager::restore(config(), state);
    let output: Vec<Output> = (0..=61).map(|second| manager.tick(NOON + second * SECOND)).collect();
    let rows: Vec<&Transition> = output.iter().flat_map(|one| &one.transitions).collect();
    let said: Vec<&str> =
        rows.iter().filter(|row| row.reason == "clock_set_back").map(|row| row.text.as_str()).collect();
    assert_eq!(said, ["alerts were 86340 s ahead of the clock"]);
    let ends: Vec<i64> = manager.state().silences.values().map(|silence| silence.expires_us).collect();
    assert!(ends.contains(&(NOON + 2 * DAY + MINUTE)), "where people put it: {ends:?}");
    assert!(ends.contains(&(NOON + 61 * MINUTE)), "an hour from now: {ends:?}");
    let labels = Labels::from([("host".to_owned(), "ahead".to_owned())]);
    let now_us = NOON + 62 * SECOND;
    manager.findings(&[Finding { labels, ..word("", now_us, Standing::Firing) }], now_us);
    assert!(told(&mut manager, now_us).is_empty(), "silenced");
}
