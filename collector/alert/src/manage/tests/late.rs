//! Words that come late: a collector that was killed goes on from rules that it saved up to ten seconds before,
//! and says first what was so then.

use super::super::config::{MINUTE, SECOND};
use super::super::*;
use super::{finding, NOON};
use crate::handoff::{Finding, NotificationKind, Severity, Standing};

fn word(at_us: i64, standing: Standing) -> Finding {
    Finding {
        standing,
        ..finding("component_down_critical", &[("host", "web-1")], Severity::Critical, at_us)
    }
}

fn told(manager: &mut Manager, now_us: i64) -> Vec<NotificationKind> {
    manager.tick(now_us).notifications.into_iter().map(|one| one.kind).collect()
}

#[test]
fn what_is_over_is_not_told_again_because_of_a_word_from_before() {
    let mut manager = Manager::new(Config::default());
    manager.findings(&[word(NOON, Standing::Firing)], NOON);
    assert_eq!(told(&mut manager, NOON), [NotificationKind::Firing]);
    manager.findings(&[word(NOON + 5 * SECOND, Standing::Resolved)], NOON + 5 * SECOND);
    assert_eq!(told(&mut manager, NOON + 5 * SECOND), [NotificationKind::Resolved]);
    manager.findings(&[word(NOON + SECOND, Standing::Firing)], NOON + 8 * SECOND);
    assert!(told(&mut manager, NOON + 8 * SECOND).is_empty());
    manager.findings(&[word(NOON + 9 * SECOND, Standing::Firing)], NOON + 9 * SECOND);
    assert_eq!(told(&mut manager, NOON + 9 * SECOND), [NotificationKind::Firing]);
}

#[test]
fn a_clock_that_was_set_back_is_believed_and_a_late_word_keeps_an_alert_alive() {
    let mut manager = Manager::new(Config::default());
    manager.findings(&[word(NOON, Standing::Firing)], NOON);
    told(&mut manager, NOON);
    for second in (5..=120).step_by(5) {
        let now_us = NOON + second * SECOND;
        manager.findings(&[word(NOON - SECOND, Standing::Firing)], now_us);
        assert!(told(&mut manager, now_us).is_empty(), "it neither goes stale nor is it news");
    }
    let hour_us = 60 * MINUTE;
    let now_us = NOON + 130 * SECOND;
    manager.findings(&[word(NOON - hour_us, Standing::Resolved)], now_us);
    assert_eq!(told(&mut manager, now_us), [NotificationKind::Resolved]);
    manager.findings(&[word(NOON - hour_us + SECOND, Standing::Firing)], now_us + SECOND);
    assert_eq!(told(&mut manager, now_us + SECOND), [NotificationKind::Firing]);
}

#[test]
fn an_end_from_before_does_not_end_what_began_since() {
    let mut manager = Manager::new(Config::default());
    manager.findings(&[word(NOON + 20 * SECOND, Standing::Firing)], NOON + 20 * SECOND);
    assert_eq!(told(&mut manager, NOON + 20 * SECOND), [NotificationKind::Firing]);
    manager.findings(&[word(NOON + 5 * SECOND, Standing::Resolved)], NOON + 22 * SECOND);
    assert!(told(&mut manager, NOON + 22 * SECOND).is_empty());
}

#[test]
fn rules_that_wait_anew_end_nothing() {
    let mut manager = Manager::new(Config::default());
    manager.findings(&[word(NOON, Standing::Firing)], NOON);
    told(&mut manager, NOON);
    for second in 1..120 {
        let now_us = NOON + second * SECOND;
        manager.heard("web-1", now_us, now_us);
        manager.findings(&[word(now_us, Standing::Pending)], now_us);
        assert!(told(&mut manager, now_us).is_empty(), "after {second} s");
    }
    let now_us = NOON + 121 * SECOND;
    manager.findings(&[word(now_us, Standing::Resolved)], now_us);
    assert_eq!(told(&mut manager, now_us), [NotificationKind::Resolved]);
}

#[test]
fn silence_counts_only_while_fresh_data_of_the_host_is_heard() {
    let mut manager = Manager::new(Config::default());
    manager.findings(&[word(NOON, Standing::Firing)], NOON);
    told(&mut manager, NOON);
    // An hour without a word of the host, and a minute of it that is caught up in a moment.
    for second in 0..60 {
        manager.heard("web-1", NOON + second * SECOND, NOON + 3_600 * SECOND + second * 1000);
    }
    let mut now_us = NOON + 3_601 * SECOND;
    assert!(told(&mut manager, now_us).is_empty());
    // Lives of four seconds, of which three are heard: what was heard before a kill counts on, if it was saved.
    let mut lives = 0;
    loop {
        lives += 1;
        let mut kinds = Vec::new();
        for second in 0..4 {
            now_us += SECOND;
            manager.heard("web-1", now_us, now_us);
            kinds.extend(told(&mut manager, now_us + second));
        }
        if !kinds.is_empty() {
            assert_eq!(kinds, [NotificationKind::Resolved]);
            break;
        }
        let saved = serde_json::to_vec(manager.state()).unwrap();
        let state: State = serde_json::from_slice(&saved).unwrap();
        manager = Manager::restore(Config::default(), state);
    }
    assert!((18..=22).contains(&lives), "{lives}");
}
