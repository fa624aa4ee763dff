//! The settings file: what it may say, and where it is wrong.

use crate::handoff::Severity;

use super::super::config::{Outside, Route, MINUTE, SECOND};
use super::super::Config;

#[test]
fn an_empty_file_sends_everything_to_the_log() {
    let config = Config::from_yaml("# nothing yet\n\n").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.routes[0].channels, ["log"]);
}

#[test]
fn routes_inherit_what_they_do_not_say() {
    let text = "
channels: { chat: { kind: slack } }
hours:
  night: [{ zone: UTC, days: [mon], from: '22:00', to: '06:00' }]
route:
  channels: [chat]
  group_by: [host, component]
  group_wait: 3s
  after_mending: 90s
  mended: [chat]
  routes:
    - match: { severity: critical }
      repeat_interval: 30m
      continue: true
    - { match: { rule: 'disk_*' }, hours: night }
storm: { similar: 7, suppress: { high: 20m } }
flapping: { changes: 8, window: 5m }
cooldown: 2m
";
    let config = Config::from_yaml(text).unwrap();
    let [root, first, second] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((root.children.as_slice(), root.group_wait_us), (&[1, 2][..], Some(3 * SECOND)));
    assert_eq!((&first.group_by, &first.channels), (&root.group_by, &root.channels));
    assert_eq!((first.repeat_us, first.carry_on, first.name.as_str()), (30 * MINUTE, true, "root.0"));
    assert_eq!((first.after_mending_us, &first.mended), (Some(90 * SECOND), &vec!["chat".to_owned()]));
    assert_eq!((second.outside, second.carry_on), (Outside::Skip, false));
    assert_eq!((config.storm.similar, config.storm.suppress_us[2]), (7, 20 * MINUTE));
    assert_eq!((config.flapping.changes, config.cooldown_us), (8, 2 * MINUTE));
}

#[test]
fn what_is_more_severe_waits_less() {
    let (root, told) = (Route::root(), Config::from_yaml("route: { group_wait: 3s }").unwrap());
    let waits = |route: &Route| {
        [Severity::Low, Severity::Medium, Severity::High, Severity::Critical].map(|of| route.wait_us(of))
    };
    assert_eq!(waits(&root), [SECOND, SECOND, SECOND / 4, 0]);
    assert_eq!(waits(&told.routes[0]), [3 * SECOND; 4]);
}

#[test]
fn errors_name_line_and_column() {
    for (text, line, column, words) in [
        ("route:\n  chanels: [log]\n", 2, 3, "chanels"),
        ("route:\n  channels: [log, pager]\n", 2, 19, "no channel named pager"),
        ("route:\n  after_mending: soon\n", 2, 18, "a whole number"),
        ("route:\n  mended: [chat]\n", 2, 12, "no channel named chat"),
        ("route:\n  hours: night\n", 2, 10, "no hours named night"),
        ("route:\n  escalation: x\n", 2, 15, "no escalation named x"),
        ("cooldown: soon\n", 1, 11, "a whole number with ms, s, m, h or d"),
        ("hours:\n  a: [{ zone: Mars/City, days: [mon], from: '1:00', to: '2:00' }]\n", 2, 15, "time zone"),
        ("hours:\n  a: [{ zone: UTC, days: [monday], from: '1:00', to: '2:00' }]\n", 2, 27, "a day is"),
        ("hours:\n  a: [{ zone: UTC, days: [mon], from: '25:00', to: '2:00' }]\n", 2, 39, "HH:MM"),
        ("storm: { suppress: { low: 3h } }\n", 1, 27, "5m to 60m"),
        ("escalations:\n  e:\n    - { after: 5m, channels: [log] }\n    - { after: 5m, channels: [log] }\n", 4, 16, "order"),
        ("route:\n  routes: [{ name: a }, { name: a }]\n", 2, 33, "used once"),
        ("route: [1\n", 1, 8, "unclosed bracket"),
    ] {
        let error = Config::from_yaml(text).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.problem.contains(words), "{text}: {error}");
    }
}
