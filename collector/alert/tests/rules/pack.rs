//! The default pack keeps what it promises.

use std::collections::{BTreeMap, BTreeSet};

use fettle_alert::rules::{trial, RuleSet};

const TESTS: &str = include_str!("../../rules/default.tests.yaml");
const RUNBOOKS: &str = include_str!("../../../../docs/runbooks.md");

fn pack() -> RuleSet {
    RuleSet::default_pack().unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

#[test]
fn every_rule_fires_when_it_should_and_is_silent_when_not() {
    let pack = pack();
    let file = trial::read("default.tests.yaml", TESTS).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let mut fires: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut failures = Vec::new();
    for trial in &file.trials {
        let outcome = trial::run(&pack, trial);
        let rule = trial.rule.clone().unwrap();
        fires.entry(rule).or_default()[usize::from(outcome.fired.is_empty())] += 1;
        failures.extend(outcome.failures.iter().map(|said| format!("{}: {said}", trial.name)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for rule in &pack.rules {
        let [fired, silent] = fires.get(&rule.name).copied().unwrap_or_default();
        assert!(fired > 0, "{} has no test in which it fires", rule.name);
        assert!(silent > 0, "{} has no test in which it stays silent", rule.name);
    }
    assert!(pack.rules.len() >= 30);
}

#[test]
fn every_rule_has_a_runbook() {
    let headings: BTreeSet<&str> = RUNBOOKS.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for rule in &pack().rules {
        let runbook = rule.runbook.as_deref().unwrap_or_default();
        let anchor = runbook.strip_prefix("docs/runbooks.md#").unwrap_or_default();
        assert!(headings.contains(anchor), "{}: docs/runbooks.md has no part {anchor:?}", rule.name);
    }
}

/// An hour of a host in good order, with everything that such a host does at times.
#[test]
fn a_host_in_good_order_is_left_in_peace() {
    let text = r#"
tests:
  - name: an ordinary hour
    series:
      - {metric: pressure.some_avg60, entity: {resource: cpu}, values: "3x20m 70x8m 5"}
      - {metric: pressure.full_avg60, entity: {resource: io}, values: "1x20m 60x8m 2"}
      - {metric: pressure.full_avg60, entity: {resource: memory}, values: "0"}
      - {metric: memory.available_bytes, values: 3GiB}
      - {metric: memory.total_bytes, values: 16GiB}
      - {metric: memory.swap_total_bytes, values: "0"}
      - {metric: memory.swap_free_bytes, values: "0"}
      - {metric: load.load_5m, values: "2x20m 12x8m 2"}
      - {metric: load.uptime_seconds, values: "864000"}
      - {metric: load.tasks, values: "900"}
      - {metric: cpu.idle_ticks, entity: {cpu: all}, values: "300"}
      - {metric: cpu.idle_ticks, entity: {cpu: "0"}, values: "150"}
      - {metric: cpu.idle_ticks, entity: {cpu: "1"}, values: "150"}
      - {metric: scheduler.context_switches, values: "20000"}
      - {metric: scheduler.forks, values: "5x20m 900x5m 5"}
      - {metric: filesystem.available_bytes, entity: {mount: /, fstype: ext4}, values: 30GiB}
      - {metric: filesystem.used_bytes, entity: {mount: /, fstype: ext4}, values: 70GiB}
      - {metric: filesystem.available_bytes, entity: {mount: /snap/core, fstype: squashfs}, values: "0"}
      - {metric: filesystem.used_bytes, entity: {mount: /snap/core, fstype: squashfs}, values: 60MiB}
      - {metric: process.state, entity: {pid: 1, comm: init}, values: "83"}
      - {metric: process.state, entity: {pid: 70, comm: cc}, values: "82x20m 90x2 _x10m"}
      - {metric: network.operstate, entity: {interface: eth0}, values: "6"}
      - {metric: network.operstate, entity: {interface: eth1}, values: "2"}
      - {metric: network.rx_packets, entity: {interface: eth0}, values: "200"}
      - {metric: network.tx_packets, entity: {interface: eth0}, values: "200"}
      - {metric: network.rx_dropped, entity: {interface: eth0}, values: "1"}
      - {metric: network.tx_dropped, entity: {interface: eth0}, values: "0"}
      - {metric: network.rx_errors, entity: {interface: eth0}, values: "0"}
      - {metric: network.tx_errors, entity: {interface: eth0}, values: "0"}
      - {metric: self.mode, entity: {component: agent}, values: "0x10m 1x60 0"}
      - {metric: self.spool_bytes, entity: {component: agent}, values: 5MiB}
      - {metric: self.spool_quota_bytes, entity: {component: agent}, values: 1GiB}
      - {metric: self.lag_us_p99, entity: {component: collector}, values: "2s"}
      - {metric: component.up, entity: {component: web, kind: systemd}, values: "1"}
      - {metric: component.critical, entity: {component: web, kind: systemd}, values: "1"}
      - {metric: component.stopped, entity: {component: web, kind: systemd}, values: "0"}
    anomalies:
      - {at: 20m, severity: medium}
      - {at: 25m, severity: high}
    expect:
      - {at: 10m, alerts: []}
      - {at: 27m, alerts: []}
      - {at: 60m, alerts: []}
"#;
    let file = trial::read("peace.yaml", text).unwrap();
    let outcome = trial::run(&pack(), &file.trials[0]);
    assert!(outcome.passed() && outcome.fired.is_empty(), "{outcome:#?}");
    assert_eq!(outcome.seconds, 3601);
}

#[test]
fn the_pack_is_changed_rule_by_rule_or_left_out() {
    let text = "change:\n  - name: disk_space_low\n    below: {low: 50%}\n    clear: {low: 55%}\n    for: 1m\n  - name: zombies\n    enabled: false\n";
    let set = RuleSet::load(&[("mine.yaml".into(), text.into())]).unwrap();
    assert_eq!(set.rules.len(), pack().rules.len());
    assert_eq!(set.get("disk_space_low").unwrap().severities().len(), 1);
    assert!(!set.get("zombies").unwrap().enabled);
    let text = "default_pack: false\nrules: []\n";
    assert!(RuleSet::load(&[("mine.yaml".into(), text.into())]).unwrap().rules.is_empty());
}
