//! What only looks: help, the catalogue, the doctor.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use serde_json::Value;
use support::{fettle, free_address, out};

#[test]
fn every_subcommand_teaches_by_example() {
    for words in [
        &["--help"][..],
        &["up", "--help"],
        &["login", "--help"],
        &["sql", "--help"],
        &["metrics", "list", "--help"],
        &["eval", "--help"],
        &["eval", "nab", "--help"],
        &["eval", "hosts", "--help"],
        &["eval", "failure", "--help"],
        &["eval", "forecast", "--help"],
        &["doctor", "--help"],
    ] {
        let output = fettle(words).output().unwrap();
        assert!(output.status.success());
        assert!(out(&output).contains("Examples:"), "{words:?} has no examples");
    }
}

#[test]
fn the_catalogue_is_listed_for_people_and_programs() {
    let output = fettle(&["metrics", "list", "--json"]).output().unwrap();
    let families: Value = serde_json::from_str(&out(&output)).unwrap();
    let families = families.as_array().unwrap();
    assert!(families.len() >= 15, "{} families", families.len());
    let mut names = Vec::new();
    for family in families {
        for metric in family["metrics"].as_array().unwrap() {
            assert!(!metric["help"].as_str().unwrap().is_empty(), "{} says nothing", metric["name"]);
            names.push(metric["name"].as_str().unwrap().to_owned());
        }
    }
    assert!(names.len() > 50);
    let text = out(&fettle(&["metrics", "list"]).output().unwrap());
    for name in names {
        assert!(text.contains(&name), "{name} is not in the list for people");
    }
    let one = out(&fettle(&["metrics", "list", "--family", "load"]).output().unwrap());
    assert!(one.contains("load.") && !one.contains("process."), "{one}");
}

#[test]
fn the_metric_reference_is_what_the_catalogue_says() {
    let page = out(&fettle(&["metrics", "list", "--markdown"]).output().unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let first = page.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(new, old)| new != old);
    assert!(
        page == written,
        "docs/metrics.md is not what the catalogue says (first at {first:?}); write it again with: \
         cargo run -p fettle-cli --bin fettle -- metrics list --markdown > docs/metrics.md"
    );
}

#[test]
fn the_doctor_says_the_same_to_people_and_programs() {
    let state = tempfile::tempdir().unwrap();
    let (http, nats, sql) = (free_address(), free_address(), format!("http://{}", free_address()));
    let directory = state.path().display().to_string();
    let arguments = ["doctor", "--state-dir", &directory, "--http", &http, "--nats", &nats, "--url", &sql];
    let json = fettle(&arguments).arg("--json").output().unwrap();
    let report: Value = serde_json::from_str(&out(&json)).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let status = |name: &str| {
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}"))
            ["status"]
            .clone()
    };
    for name in ["kernel", "processes", "disk", "memory", "nats-server", "libchdb", "port http", "port sql"] {
        assert_eq!(status(name), "ok", "{name}");
    }
    for name in ["nats", "clickhouse", "fettle"] {
        assert_eq!(status(name), "warn", "{name} is not running and that is no failure");
    }
    for check in checks.iter().filter(|check| check["status"] != "ok") {
        assert!(!check["fix"].as_str().unwrap().is_empty(), "{check} says not how to mend it");
    }
    let failures = report["failures"].as_u64().unwrap();
    assert_eq!(json.status.code(), Some(i32::from(failures > 0)));
    let text = out(&fettle(&arguments).output().unwrap());
    assert!(text.contains("nats-server") && text.contains("fix: "), "{text}");
}

#[test]
fn the_doctor_fails_when_something_is_missing() {
    let state = tempfile::tempdir().unwrap();
    let nowhere = state.path().join("nowhere");
    let mut command = fettle(&["doctor", "--json", "--state-dir", "/proc/fettle"]);
    command.env("FETTLE_NATS_SERVER", &nowhere).env("FETTLE_LIBCHDB", &nowhere);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    let failed: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail")
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    for name in ["disk", "nats-server", "libchdb"] {
        assert!(failed.contains(&name), "{name} is not in {failed:?}");
    }
}
