//! What is wrong with a file is said at its place, in one sentence, all at once.

use fettle_alert::rules::{Problem, RuleSet};

fn problems(text: &str) -> Vec<Problem> {
    RuleSet::load(&[("mine.yaml".into(), text.into())]).unwrap_err()
}

/// One rule with these lines; the error must stand at this place and hold this word.
fn refused(lines: &str, place: (u32, u32), word: &str) {
    let text = format!("rules:\n  - name: mine\n{lines}");
    let found = problems(&text);
    let hit = found
        .iter()
        .any(|p| (p.line, p.column) == place && p.message.contains(word) && p.file == "mine.yaml");
    assert!(hit, "{place:?} {word:?}\n{text}\n{found:#?}");
    for problem in &found {
        assert_eq!(problem.message.lines().count(), 1, "{problem}");
        assert!(problem.message.contains(';') || problem.message.contains('?'), "no remedy: {problem}");
    }
}

#[test]
fn faults_of_a_threshold() {
    let good = "    kind: threshold\n    metric: memory.free_bytes\n    below: 1GiB\n    severity: high\n";
    let with = |line: &str| format!("{good}{line}");
    refused("    kind: treshold\n", (3, 11), "write one of threshold");
    refused("    severity: high\n", (2, 5), "has no kind");
    refused(&with("    fro: 5m\n"), (7, 5), "did you mean for?");
    refused(&with("    banana: 5m\n"), (7, 5), "there are above");
    refused(&with("    for: 5\n"), (7, 10), "has no unit");
    refused(&with("    for: soon\n"), (7, 10), "no duration");
    refused(&with("    clear: 512MiB\n"), (7, 12), "would end at once");
    refused(&with("    window: 5m\n"), (7, 13), "needs reduce");
    refused(&with("    reduce: mean\n"), (2, 5), "has no window");
    refused(&with("    reduce: mean\n    window: 2h\n"), (8, 13), "1s to 1h");
    refused(&with("    reduce: median\n    window: 5m\n"), (7, 13), "write one of last");
    refused(&with("    select: {cpu: all}\n"), (7, 14), "no key columns");
    refused(&with("    above: 5\n"), (5, 12), "exclude each other");
    refused(&with("    summary: \"{{ labels.mount }}\"\n"), (7, 14), "no label");
    refused(&with("    summary: \"{{ value|bites }}\"\n"), (7, 14), "bites");
    refused(&with("    labels: {host: x}\n"), (7, 13), "choose another name");
    refused(&with("    enabled: maybe\n"), (7, 14), "true or false");
    refused(&with("    hosts: {only: x}\n"), (7, 13), "any and not");
    refused(&with("    name: other\n"), (7, 5), "");
}

#[test]
fn faults_of_metrics_units_and_levels() {
    let rule = |rest: &str| format!("    kind: threshold\n{rest}");
    refused(
        &rule("    metric: memory.fre_bytes\n    below: 1\n    severity: low\n"),
        (4, 13),
        "memory.free_bytes?",
    );
    refused(&rule("    metric: memory.free_bytes\n    below: 10%\n    severity: low\n"), (5, 12), "GiB");
    refused(&rule("    metric: disk.read_bytes\n    above: 1MiB\n    severity: low\n"), (5, 12), "add /s");
    refused(
        &rule("    expr: memory.free_bytes + load.load_1m\n    above: 1\n    severity: low\n"),
        (4, 11),
        "one unit",
    );
    refused(
        &rule("    expr: disk.reads + network.rx_packets\n    above: 1\n    severity: low\n"),
        (2, 5),
        "different entities",
    );
    refused(
        &rule("    expr: disk.reads * network.rx_packets\n    above: 1\n    severity: low\n"),
        (2, 5),
        "different entities",
    );
    refused(&rule("    expr: host.cpus\n    above: 1\n    severity: low\n"), (2, 5), "besides host.cpus");
    refused(&rule("    metric: load.load_1m\n    above: {high: 5, critical: 3}\n"), (5, 32), "go beyond");
    refused(&rule("    metric: load.load_1m\n    above: {worst: 5}\n"), (5, 13), "the levels are");
    refused(&rule("    metric: load.load_1m\n    above: {}\n"), (5, 12), "no level");
    refused(&rule("    metric: load.load_1m\n    above: 5\n"), (2, 5), "no severity");
    refused(&rule("    metric: load.load_1m\n    severity: low\n"), (2, 5), "no limit");
    refused(
        &rule("    metric: load.load_1m\n    above: {low: 1}\n    for: {high: 5m}\n"),
        (6, 11),
        "no level of this rule",
    );
}

#[test]
fn faults_of_the_other_kinds() {
    refused("    kind: anomaly\n    at_least: high\n", (2, 5), "has no of");
    refused(
        "    kind: anomaly\n    of: host\n    at_least: high\n    metrics: cpu.*\n",
        (2, 5),
        "about series",
    );
    refused(
        "    kind: forecast\n    resource: disks\n    within: 4h\n    severity: high\n",
        (4, 15),
        "no resource",
    );
    refused("    kind: forecast\n    resource: disk\n    severity: high\n", (2, 5), "has no within");
    refused(
        "    kind: forecast\n    resource: disk\n    within: 4\n    severity: high\n",
        (5, 13),
        "has no unit",
    );
    refused("    kind: prediction\n    probability: 120%\n    severity: high\n", (4, 18), "no probability");
    refused(
        "    kind: absence\n    of: componant\n    silent: 5s\n    severity: high\n",
        (4, 9),
        "component?",
    );
    refused("    kind: absence\n    of: load\n    silent: 5s\n    severity: high\n", (4, 9), "of: host");
    refused("    kind: sql\n    query: DROP TABLE process\n    severity: high\n", (4, 12), "only read");
    refused(
        "    kind: sql\n    query: SELECT 1; DROP TABLE process\n    severity: high\n",
        (4, 12),
        "one statement",
    );
    refused(
        "    kind: sql\n    query: SELECT 1\n    interval: 1s\n    severity: high\n",
        (5, 15),
        "5s to 24h",
    );
}

#[test]
fn all_faults_are_told_at_once_and_names_are_unique() {
    let text = "rules:\n  - {name: a, kind: prediction, probability: 2, severity: low}\n  - {name: b, kind: nothing}\n  - 5\n  - {name: zombies, kind: prediction, probability: 1, severity: low}\nextra: 1\n";
    let places: Vec<u32> = problems(text).iter().map(|problem| problem.line).collect();
    assert_eq!(places.len(), 5, "{:#?}", problems(text));
    for line in 2..=6 {
        assert!(places.contains(&line), "nothing is said about line {line}");
    }
    let change = problems("change:\n  - {name: zombis, for: 5m}\n  - {for: 5m}\n");
    assert!(change[0].message.contains("did you mean zombies?") && change[1].message.contains("no name"));
}

#[test]
fn two_files_with_one_name_are_refused_by_the_second() {
    let rule = "rules: [{name: a, kind: prediction, probability: 0.5, severity: low}]";
    let files = [("one.yaml".to_owned(), rule.to_owned()), ("two.yaml".to_owned(), rule.to_owned())];
    let found = RuleSet::load(&files).unwrap_err();
    assert_eq!((found.len(), found[0].file.as_str()), (1, "two.yaml"));
    assert!(found[0].message.contains("one.yaml line 1"));
}
