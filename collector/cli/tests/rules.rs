//! `fettle rules`, run as people run it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use std::fs;
use std::path::Path;

use support::{err, fettle, out};

const RULE: &str = "rules:
  - name: rss
    kind: threshold
    metric: process.rss_bytes
    above: 1GiB
    severity: high
    for: 3s
";

const TESTS: &str = "rules: [mine.yaml]
tests:
  - name: a large process
    rule: rss
    series:
      - {metric: process.rss_bytes, entity: {pid: 5, comm: java}, values: 100MiBx5 2GiBx5}
    expect:
      - {at: 4s, alerts: []}
      - {at: 8s, alerts: [{severity: high, labels: {comm: java}}]}
";

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = fettle(arguments).current_dir(folder).output().unwrap();
    (output.status.code(), out(&output), err(&output))
}

#[test]
fn the_default_pack_is_sound_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said, _) = run(folder.path(), &["rules", "check"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("rules are sound"), "{said}");
    let (code, said, _) = run(folder.path(), &["rules", "list", "--json"]);
    let rules: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    assert!(code == Some(0) && rules.len() >= 30, "{}", rules.len());
    let (_, said, _) = run(folder.path(), &["rules", "show", "oom_kill"]);
    assert!(
        said.contains("metric: vm.oom_kill") && said.contains("what to do") && !said.contains("cgroup"),
        "{said}"
    );
    let (code, _, said) = run(folder.path(), &["rules", "show", "oom_kil"]);
    assert!(code == Some(1) && said.contains("did you mean oom_kill?"), "{said}");
}

#[test]
fn faults_are_shown_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), RULE.replace("1GiB", "90%")).unwrap();
    fs::write(folder.path().join("b.yml"), "rules: 5\n").unwrap();
    let (code, _, said) = run(folder.path(), &["rules", "check", "."]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("a.yaml:5:12: ") && said.contains("b.yml:1:8: ") && said.contains("2 faults"),
        "{said}"
    );
    let (code, said, _) = run(folder.path(), &["rules", "check", ".", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let lines: Vec<u64> =
        json["problems"].as_array().unwrap().iter().filter_map(|one| one["line"].as_u64()).collect();
    assert!(code == Some(1) && lines.contains(&5), "{said}");
    let (code, _, said) = run(folder.path(), &["rules", "check", "nowhere"]);
    assert!(code == Some(1) && said.contains("nowhere") && said.lines().count() == 1, "{said}");
}

#[test]
fn tests_pass_fail_and_are_refused_by_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.yaml"), RULE).unwrap();
    fs::write(folder.path().join("mine.tests.yaml"), TESTS).unwrap();
    let (code, said, complaint) = run(folder.path(), &["rules", "test", "mine.tests.yaml"]);
    assert!(code == Some(0) && said.contains("1 test passed, 0 failed"), "{said}{complaint}");
    // A folder of rules may hold their tests; they are no rules.
    assert_eq!(run(folder.path(), &["rules", "check", "."]).0, Some(0));
    fs::write(folder.path().join("mine.tests.yaml"), TESTS.replace("at: 8s", "at: 7s")).unwrap();
    let (code, said, _) = run(folder.path(), &["rules", "test", "mine.tests.yaml"]);
    assert!(code == Some(1) && said.contains("FAILED a large process"), "{said}");
    let (_, said, _) = run(folder.path(), &["rules", "test", "--json", "mine.tests.yaml"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["failed"], 1);
    fs::write(folder.path().join("mine.tests.yaml"), TESTS.replace("rule: rss", "rul: rss")).unwrap();
    let (code, _, said) = run(folder.path(), &["rules", "test", "mine.tests.yaml"]);
    assert!(code == Some(2) && said.contains("mine.tests.yaml:4:5: "), "{said}");
}
