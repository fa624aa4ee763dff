//! From seconds and signals to findings, over restarts, reloads and silences.

use fettle_alert::handoff::{Severity, Standing};
use fettle_alert::rules::{AnomalySignal, Evaluator, Saved, SeriesName, Settings};

use super::support::{evaluator, rules, second, short, us, Entity, START};

const PROCESS: &str =
    "  - {name: big, kind: threshold, metric: process.rss_bytes, above: 1GiB, severity: high, for: 2s,
    select: {comm: [\"java*\", web]}}\n";

fn processes(at: u32, sizes: &[(&str, &str, f64)]) -> fettle_analysis::second::HostSecond {
    let keys: Vec<[&str; 3]> = sizes.iter().map(|(pid, comm, _)| [*pid, "7", *comm]).collect();
    let values: Vec<[(&str, f64); 1]> = sizes.iter().map(|(.., size)| [("rss_bytes", *size)]).collect();
    let entities: Vec<Entity<'_>> =
        keys.iter().zip(&values).map(|(key, values)| (&key[..], &values[..])).collect();
    second("h", at, "process", &entities)
}

#[test]
fn an_entity_fires_is_said_again_and_ends_when_it_is_gone() {
    let mut rules = evaluator(PROCESS);
    let big = 2e9;
    let mut said = Vec::new();
    for at in 0..12 {
        said.extend(rules.tick(us(at)).into_iter().map(|finding| (at, finding)));
        let all = [("5", "java", big), ("6", "other", big), ("7", "web", 1e6)];
        said.extend(rules.second(&processes(at, &all)).into_iter().map(|finding| (at, finding)));
    }
    let times: Vec<(u32, Standing)> = said.iter().map(|(at, finding)| (*at, finding.standing)).collect();
    let (pending, firing) = (Standing::Pending, Standing::Firing);
    assert_eq!(times, [(0, pending), (2, firing), (7, firing)]);
    let labels = &said[1].1.labels;
    assert_eq!(
        (labels["comm"].as_str(), labels["pid"].as_str(), labels["host"].as_str()),
        ("java", "5", "h")
    );
    assert_eq!(said[1].1.since_us, us(0));
    let gone: Vec<_> = (12..20).flat_map(|at| rules.second(&processes(at, &[("7", "web", 1e6)]))).collect();
    assert_eq!(short(&gone), [(Standing::Resolved, Severity::High)]);
    assert!(gone[0].description.contains("(vanished)"), "{}", gone[0].description);
    assert_eq!(rules.figures()[0].tracked, 0);
}

#[test]
fn what_is_saved_goes_on_and_what_was_changed_ends() {
    let windowed = "  - {name: mean, kind: threshold, metric: process.rss_bytes, reduce: mean, window: 10s,
        above: 1GiB, severity: low}\n";
    let text = format!("{PROCESS}{windowed}");
    let (mut one, mut other) = (evaluator(&text), evaluator(&text));
    let size = |at: u32| if at.is_multiple_of(7) { 9e9 } else { 2e8 };
    for at in 0..60 {
        let second = processes(at, &[("5", "java", size(at))]);
        // What is said again waits for fresh data after a restart; what is new is said by both.
        one.tick(us(at));
        other.tick(us(at));
        assert_eq!(one.second(&second), other.second(&second), "second {at}");
        if at.is_multiple_of(5) {
            let saved = serde_json::to_string(&other.save()).unwrap();
            let saved: Saved = serde_json::from_str(&saved).unwrap();
            let (restored, ended) = Evaluator::restore(&rules(&text), Settings::default(), saved);
            assert!(ended.is_empty());
            other = restored;
        }
    }
    assert!(one.figures().iter().any(|figures| figures.firing > 0));
    let saved: Saved = serde_json::from_str(&serde_json::to_string(&one.save()).unwrap()).unwrap();
    let (_, ended) = Evaluator::restore(&rules(PROCESS), Settings::default(), saved);
    assert!(ended[0].description.contains("(rule_removed)"));
    // Reloading the same text keeps everything; another limit begins anew.
    assert!(one.reload(&rules(&text)).is_empty());
    let ended = one.reload(&rules(&text.replace("1GiB, severity: low", "2GiB, severity: low")));
    assert_eq!(short(&ended), [(Standing::Resolved, Severity::Low)]);
    assert!(ended[0].description.contains("(rule_changed)"));
}

#[test]
fn late_seconds_are_left_out_and_a_clock_set_back_is_followed() {
    let mut rules =
        evaluator("  - {name: load, kind: threshold, metric: load.load_1m, above: 5, severity: low}\n");
    let load = |at: u32, value: f64| second("h", at, "load", &[(&[], &[("load_1m", value)])]);
    assert_eq!(rules.second(&load(10_000, 9.0)).len(), 1);
    assert!(rules.second(&load(9_990, 1.0)).is_empty());
    assert_eq!(rules.late_seconds(), 1);
    let findings: Vec<_> = (0..10).flat_map(|at| rules.second(&load(at, 1.0))).collect();
    assert_eq!(short(&findings), [(Standing::Resolved, Severity::Low)]);
}

#[test]
fn the_number_of_things_followed_is_bounded_and_counted() {
    let settings = Settings { most_tracked: 150, most_tracked_a_host: 100, ..Settings::default() };
    let mut evaluator = Evaluator::new(&rules(&PROCESS.replace("for: 2s,", "")), settings);
    let pids: Vec<String> = (1000..1300).map(|pid| pid.to_string()).collect();
    let sizes: Vec<(&str, &str, f64)> = pids.iter().map(|pid| (pid.as_str(), "web", 2e9)).collect();
    assert_eq!(evaluator.second(&processes(0, &sizes)).len(), 100);
    let mut other = processes(0, &sizes);
    other.host = "g".into();
    assert_eq!(evaluator.second(&other).len(), 50);
    let figures = &evaluator.figures()[0];
    assert_eq!((figures.tracked, figures.firing, figures.left_out), (150, 150, 450));
    assert_eq!(evaluator.forget("h").len(), 100);
    assert_eq!(evaluator.figures()[0].tracked, 50);
}

#[test]
fn groups_take_entities_together() {
    let text = "  - {name: sum, kind: threshold, metric: process.rss_bytes, above: 3GB, severity: low,
        group: {take: sum, by: [comm]}}
  - {name: many, kind: threshold, metric: process.rss_bytes, at_least: 3, severity: low, group: count}\n";
    let mut rules = evaluator(text);
    let found = rules.second(&processes(0, &[("1", "a", 2e9), ("2", "a", 2e9), ("3", "b", 2e9)]));
    let who: Vec<(&str, Option<&str>)> =
        found.iter().map(|f| (f.rule.as_str(), f.labels.get("comm").map(String::as_str))).collect();
    assert_eq!(who, [("sum", Some("a")), ("many", None)]);
    assert_eq!(found[0].value, 4e9);
    assert!(!found[0].labels.contains_key("pid"));
}

#[test]
fn host_wide_values_of_other_seconds_are_used_while_they_are_fresh() {
    let mut rules = evaluator(
        "  - {name: share, kind: threshold, expr: process.rss_bytes / memory.total_bytes, above: 50%, severity: low}\n",
    );
    let total = second("h", 0, "memory", &[(&[], &[("total_bytes", 4e9)])]);
    assert!(rules.second(&total).is_empty());
    assert_eq!(rules.second(&processes(30, &[("1", "a", 3e9)])).len(), 1);
    // After a minute nobody knows any more how large the memory is; the process is then without a value.
    let ended: Vec<_> = (95..100).flat_map(|at| rules.second(&processes(at, &[("1", "a", 3e9)]))).collect();
    assert_eq!(short(&ended), [(Standing::Resolved, Severity::Low)]);
    assert!(ended[0].description.contains("(vanished)"));
}

#[test]
fn series_anomalies_are_chosen_by_metric_and_entity_and_end_in_quiet() {
    let mut rules = evaluator(
        "  - {name: odd, kind: anomaly, of: series, at_least: high, metrics: \"disk.*\", select: {device: \"sd*\"}, clear_for: 30s}\n",
    );
    let signal = |metric: &str, device: &str, severity| AnomalySignal {
        host: "h".into(),
        at_us: us(0),
        severity,
        score: 0.9,
        series: Some(SeriesName {
            family: metric.split('.').next().unwrap().into(),
            metric: metric.split('.').nth(1).unwrap().into(),
            entity: [("device".to_owned(), device.to_owned())].into(),
        }),
        words: "spike".into(),
    };
    rules.tick(us(0));
    assert!(rules.anomaly(&signal("disk.reads", "nvme0", Severity::High)).is_empty());
    assert!(rules.anomaly(&signal("network.rx_bytes", "sda", Severity::High)).is_empty());
    assert!(rules.anomaly(&signal("disk.reads", "sda", Severity::Low)).is_empty());
    let found = rules.anomaly(&signal("disk.reads", "sda", Severity::Critical));
    assert_eq!(short(&found), [(Standing::Firing, Severity::Critical)]);
    // A milder one renews it and takes nothing back.
    rules.tick(us(20));
    assert!(rules.anomaly(&signal("disk.reads", "sda", Severity::High)).is_empty());
    let ended: Vec<_> =
        (21..60).flat_map(|at| rules.tick(us(at))).filter(|f| f.standing == Standing::Resolved).collect();
    // And once more, in case that word is lost.
    assert_eq!((ended.len(), ended[0].at_us), (2, us(50)));
    assert!(ended[0].description.contains("(expired)"));
}

#[test]
fn questions_are_due_and_their_rows_become_findings() {
    let mut rules = evaluator(
        "  - {name: slow, kind: sql, query: \"SELECT host, 1 AS value FROM self\", interval: 30s, severity: low, clear_for: 30s}\n",
    );
    assert_eq!(rules.sql_due(us(0)).len(), 1);
    assert_eq!(rules.sql_due(us(29)).len(), 0);
    assert_eq!(rules.sql_due(us(30))[0].name, "slow");
    let row = |host: &str| serde_json::from_value(serde_json::json!({"host": host, "value": "17"})).unwrap();
    let found = rules.sql_rows("slow", &[row("a"), row("b")], us(30));
    assert_eq!((found.len(), found[0].value), (2, 17.0));
    assert!(rules.sql_rows("slow", &[row("a")], us(60)).is_empty());
    let ended = rules.sql_rows("slow", &[row("a")], us(90));
    assert_eq!((ended.len(), ended[0].labels["host"].as_str()), (1, "b"));
    assert!(rules.sql_rows("nobody", &[row("a")], us(90)).is_empty());
}

#[test]
fn entities_and_hosts_that_are_silent_are_missed() {
    let mut rules = evaluator(
        "  - {name: gone, kind: absence, of: process, by: [comm], select: {comm: web}, silent: 10s, severity: high, forget_after: 60s}\n",
    );
    let mut times = Vec::new();
    for at in 0..100 {
        let is_there = at < 5 || (30..35).contains(&at);
        let one = [("9", "web", 1.0), ("10", "other", 1.0)];
        let two = [("10", "other", 1.0)];
        let found = rules.second(&processes(at, if is_there { &one } else { &two }));
        times.extend(found.iter().map(|finding| (at, finding.standing)));
    }
    let (firing, resolved) = (Standing::Firing, Standing::Resolved);
    assert_eq!(times, [(14, firing), (30, resolved), (44, firing), (95, resolved)]);
    assert_eq!(i64::from(START) * 1_000_000, us(0));
}

fn restarted(evaluator: &Evaluator, text: &str) -> Evaluator {
    let saved: Saved = serde_json::from_str(&serde_json::to_string(&evaluator.save()).unwrap()).unwrap();
    Evaluator::restore(&rules(text), Settings::default(), saved).0
}

#[test]
fn a_silent_host_is_silent_over_a_restart_and_only_while_it_is_listened_for() {
    let text = "  - {name: silent, kind: absence, of: host, silent: 15s, severity: high}\n";
    let mut rules = evaluator(text);
    rules.second(&processes(0, &[]));
    // Half an hour in which nobody could have heard it: a store that is behind, a collector that is away.
    assert!((1..1800).step_by(10).all(|at| rules.tick(us(at)).is_empty()));
    let mut said = Vec::new();
    for at in 1800..1830 {
        // The partition that it is not in is listened to as well.
        rules.listened(1_000_000, |host| host != "h", &["other".to_owned()]);
        rules.listened(1_000_000, |host| host == "h", &[]);
        said.extend(rules.tick(us(at)).into_iter().map(|finding| (at, finding)));
    }
    assert_eq!((said[0].0, said[0].1.standing), (1814, Standing::Firing));
    assert!(said.iter().all(|(_, finding)| finding.labels["host"] == "h"), "{said:?}");
    let mut other = restarted(&rules, text);
    let again: Vec<_> = (2000..2030).flat_map(|at| other.tick(us(at))).collect();
    assert!(
        !again.is_empty() && again.iter().all(|finding| finding.standing == Standing::Firing),
        "{again:?}"
    );
    // Something of it came, too old to be judged: it is not silent any more.
    other.listened(1_000_000, |_| true, &["h".to_owned()]);
    assert_eq!(short(&other.tick(us(2030))), [(Standing::Resolved, Severity::High)]);
}

#[test]
fn seconds_that_nobody_evaluated_make_nothing_vanish() {
    let mut rules = evaluator(&PROCESS.replace("for: 2s,", ""));
    assert_eq!(rules.second(&processes(0, &[("5", "java", 2e9)])).len(), 1);
    // A minute later the first second does not have it yet: its sampling took a moment.
    assert!(rules.second(&processes(60, &[("7", "web", 1e6)])).is_empty());
    assert!(rules.second(&processes(61, &[("5", "java", 2e9)])).is_empty());
    assert_eq!(rules.figures()[0].firing, 1);
}

#[test]
fn what_was_restored_is_said_when_data_has_spoken_and_ends_are_said_again() {
    let text = PROCESS.replace("for: 2s,", "");
    let mut rules = evaluator(&text);
    rules.tick(us(0));
    rules.second(&processes(0, &[("5", "java", 2e9), ("6", "java", 2e9)]));
    assert_eq!(rules.changes(), 2);
    let mut other = restarted(&rules, &text);
    assert!((10..40).all(|at| other.tick(us(at)).is_empty()));
    let ended = other.second(&processes(40, &[("5", "java", 1e6), ("6", "java", 2e9)]));
    assert_eq!(short(&ended), [(Standing::Resolved, Severity::High)]);
    // Its word was lost with the collector; the next one says it again, on fresh data.
    let mut third = restarted(&other, &text);
    assert!((50..60).all(|at| third.tick(us(at)).is_empty()));
    assert!(third.second(&processes(60, &[("5", "java", 1e6), ("6", "java", 2e9)])).is_empty());
    let said: Vec<_> = (60..90).flat_map(|at| third.tick(us(at))).collect();
    let ends: Vec<_> = said.iter().filter(|finding| finding.standing == Standing::Resolved).collect();
    assert_eq!((ends.len(), ends[0].at_us), (3, us(60)));
    assert!(ends.iter().all(|finding| finding.labels["pid"] == "5"));
    assert!(said.iter().any(|finding| finding.labels["pid"] == "6"));
}

#[test]
fn quiet_in_which_nobody_could_speak_ends_nothing() {
    let text = "  - {name: odd, kind: anomaly, of: host, at_least: high, clear_for: 30s}\n";
    let mut rules = evaluator(text);
    let signal = AnomalySignal {
        host: "h".into(),
        at_us: us(0),
        severity: Severity::High,
        score: 0.9,
        series: None,
        words: "odd".into(),
    };
    rules.tick(us(0));
    rules.second(&processes(0, &[]));
    assert_eq!(rules.anomaly(&signal).len(), 1);
    let mut other = restarted(&rules, text);
    let said: Vec<_> = (100..140).flat_map(|at| other.tick(us(at))).collect();
    assert!(said.iter().all(|finding| finding.standing != Standing::Resolved), "{said:?}");
    let mut ended = Vec::new();
    for at in 140..180 {
        other.second(&processes(at, &[]));
        ended.extend(other.tick(us(at)).iter().map(|finding| (at, finding.standing)));
    }
    let first = ended.iter().find(|(_, standing)| *standing == Standing::Resolved);
    assert_eq!(first, Some(&(169, Standing::Resolved)), "{ended:?}");
}

#[test]
fn a_host_that_is_anothers_now_ends_nothing() {
    let mut rules = evaluator(&PROCESS.replace("for: 2s,", ""));
    rules.tick(us(0));
    rules.second(&processes(0, &[("5", "java", 2e9)]));
    rules.let_go("h");
    assert!((1..60).all(|at| rules.tick(us(at)).is_empty()));
    assert_eq!((rules.hosts(), rules.figures()[0].tracked), (0, 0));
}
