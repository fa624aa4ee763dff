//! 10,000 alerts of 500 hosts in 10 s: few notifications, every critical named, state within its bounds.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::config::SECOND;
use super::super::*;
use super::{finding, NOON};
use crate::handoff::{Finding, Severity};

const RULES: usize = 20;
const HOSTS: usize = 500;

/// What a fleet says when everything breaks at once: a quarter critical, each rule of its own severity.
fn findings(now_us: i64) -> Vec<Finding> {
    let mut all = Vec::new();
    for host in 0..HOSTS {
        for rule in 0..RULES {
            let severity = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low][rule % 4];
            let (rule, host) = (format!("rule_{rule}"), format!("host-{host}"));
            all.push(finding(&rule, &[("host", &host), ("component", "app")], severity, now_us));
        }
    }
    all
}

/// Names an alert as notifications do: whole, or in a line such as `rule_3 (low): host-7/app, host-8/app`.
fn named(notification: &Notification, into: &mut BTreeSet<(String, String)>) {
    for view in &notification.alerts {
        into.insert((view.rule.clone(), view.labels["host"].clone()));
    }
    for line in &notification.held_back_list {
        let Some((rule, hosts)) = line.split_once(": ") else { continue };
        let rule = rule.split(' ').next().unwrap_or_default();
        for host in hosts.split(", ") {
            into.insert((rule.to_owned(), host.split('/').next().unwrap_or_default().to_owned()));
        }
    }
}

#[test]
fn ten_thousand_alerts_in_ten_seconds_are_a_handful_of_messages() {
    let mut manager = Manager::new(Config::default());
    let all = findings(NOON);
    let mut told = BTreeSet::new();
    let mut notifications = 0;
    let mut longest_us = 0;
    let mut largest = 0;
    let mut now_us = NOON;
    for second in 0..120 {
        let part = all.len() / 10;
        let begun = Instant::now();
        if second < 10 {
            manager.findings(&all[second * part..(second + 1) * part], now_us);
        } else if second % 5 == 0 {
            manager.findings(&all, now_us);
        }
        let output = manager.tick(now_us);
        for notification in &output.notifications {
            notifications += 1;
            assert!(notification.alerts.len() <= 50 && notification.held_back_list.len() <= 100);
            named(notification, &mut told);
            manager.sent(&notification.id, &Outcome::Sent { by: "log".to_owned() }, now_us);
        }
        longest_us = longest_us.max(begun.elapsed().as_micros());
        if second % 20 == 9 {
            let saved = serde_json::to_vec(manager.state()).unwrap();
            largest = largest.max(zstd::bulk::compress(&saved, 1).unwrap().len());
        }
        now_us += SECOND;
    }
    let counts = manager.counts();
    eprintln!(
        "{notifications} notifications; longest second {longest_us} µs; saved {largest} bytes; {counts:?}"
    );
    assert_eq!(counts.firing, all.len());
    assert!(notifications <= 20, "{notifications} notifications");
    assert!(largest < 4 << 20, "the saved state takes {largest} bytes");
    let missing = all
        .iter()
        .filter(|finding| finding.severity == Severity::Critical)
        .filter(|finding| !told.contains(&(finding.rule.clone(), finding.labels["host"].clone())))
        .count();
    assert_eq!(missing, 0, "criticals that nobody was told of");
}

#[test]
fn criticals_of_many_rules_in_one_batch_are_all_named() {
    let mut manager = Manager::new(Config::default());
    let all: Vec<Finding> = (0..6_000)
        .map(|number| {
            let (rule, host) = (format!("rule_{}", number % 150), format!("host-{number}"));
            finding(&rule, &[("host", &host)], Severity::Critical, NOON)
        })
        .collect();
    let mut told = BTreeSet::new();
    let mut notifications = 0;
    for second in 0..30 {
        manager.findings(&all, NOON + second * SECOND);
        for notification in manager.tick(NOON + second * SECOND).notifications {
            notifications += 1;
            named(&notification, &mut told);
        }
    }
    assert_eq!(told.len(), all.len());
    assert!(notifications <= 60, "{notifications}");
}

#[test]
fn what_has_no_room_is_counted_and_told_and_criticals_push_milder_ones_out() {
    let config = Config { alerts_max: 100, ..Config::default() };
    let mut manager = Manager::new(config);
    let of = |number: usize, severity| finding("r", &[("host", &format!("h{number}"))], severity, NOON);
    let mild: Vec<Finding> = (0..150).map(|number| of(number, Severity::Low)).collect();
    manager.findings(&mild, NOON);
    let output = manager.tick(NOON);
    let digest = output.notifications.iter().find(|one| one.group == "overflow").unwrap();
    assert_eq!(
        (digest.held_back, digest.held_back_list.as_slice()),
        (50, &["r: 50 without room".to_owned()][..])
    );
    let critical: Vec<Finding> = (200..300).map(|number| of(number, Severity::Critical)).collect();
    manager.findings(&critical, NOON + SECOND);
    assert_eq!(manager.state().alerts.len(), 100);
    assert!(manager.state().alerts.values().all(|alert| alert.severity == Severity::Critical));
    assert_eq!(manager.counts().overflow, 150);
    let late = manager.tick(NOON + 400 * SECOND);
    assert!(late.notifications.iter().any(|one| one.group == "overflow" && one.held_back == 100));
}
