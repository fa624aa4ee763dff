//! Rules over Cargo's files: what each crate may depend on, directly or through others, and that
//! every third-party crate comes with the reason it is here.
//!
//! Cargo's files are read line by line: `cargo fmt`-like tools and people write them one entry a
//! line, and an entry this cannot read is a complaint of its own, not a silence.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::Complaints;

/// A crate, and what must not come into its binary by any way.
const NEVER: [(&str, &[&str]); 7] = [
    ("fettle-shared", &["tokio", "async-nats", "clickhouse", "axum", "reqwest", "hyper"]),
    (
        "fettle-agent",
        &["clickhouse", "axum", "libloading", "reqwest", "polars-core", "fettle-collector", "fettle-engine"],
    ),
    ("fettle-engine", &["async-nats", "fettle-shared"]),
    ("fettle-collector", &["polars-core", "polars-io", "fettle-history"]),
    ("fettle-analysis", &["tokio", "async-nats", "clickhouse", "axum", "reqwest", "hyper"]),
    ("fettle-alert", &["tokio", "async-nats", "clickhouse", "axum", "reqwest", "hyper"]),
    ("fettle-decide", &["tokio", "async-nats", "clickhouse", "axum", "reqwest", "hyper"]),
];

/// Dependencies of each package in a `Cargo.lock`. A package in two versions counts as one.
pub fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut name, mut in_dependencies) = (String::new(), false);
    for line in lock.lines() {
        if let Some(quoted) = line.strip_prefix("name = ") {
            name = quoted.trim_matches('"').to_owned();
            packages.entry(name.clone()).or_default();
        } else if line == "dependencies = [" {
            in_dependencies = true;
        } else if line == "]" {
            in_dependencies = false;
        } else if in_dependencies {
            let entry = line.trim().trim_matches(|c| c == '"' || c == ',');
            let dependency = entry.split(' ').next().unwrap_or_default().to_owned();
            packages.entry(name.clone()).or_default().insert(dependency);
        }
    }
    packages
}

/// No crate reaches what it must not, tests' own dependencies counted too: the lock file has no other view.
pub fn reach(lock: &str) -> Complaints {
    let packages = locked(lock);
    let mut found = Vec::new();
    for (start, never) in NEVER {
        let (mut seen, mut waiting) = (BTreeMap::new(), vec![start.to_owned()]);
        while let Some(name) = waiting.pop() {
            for next in packages.get(&name).into_iter().flatten() {
                if !seen.contains_key(next) {
                    seen.insert(next.clone(), name.clone());
                    waiting.push(next.clone());
                }
            }
        }
        for banned in never {
            if let Some(by) = seen.get(*banned) {
                found.push(format!("{start} must never reach {banned} and does, through {by}"));
            }
        }
    }
    found
}

/// The crates named in the `[…dependencies]` tables of a manifest, with whether a version is written there.
fn dependencies(manifest: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']).ends_with("dependencies");
        } else if let (true, Some((name, value))) = (inside, line.split_once('=')) {
            if !line.starts_with('#') {
                let name = name.trim().trim_end_matches(".workspace").to_owned();
                let elsewhere = line.contains("workspace = true") || value.contains("path = ");
                found.push((name, !elsewhere));
            }
        }
    }
    found
}

/// A member crate takes its dependencies from the root, where their versions and reasons stand. A crate
/// that is a workspace of its own, such as a fuzzer's, has no root to take them from.
pub fn from_the_root(path: &str, manifest: &str) -> Complaints {
    if manifest.lines().any(|line| line == "[workspace]") {
        return Vec::new();
    }
    dependencies(manifest)
        .into_iter()
        .filter(|(_, own_version)| *own_version)
        .map(|(name, _)| {
            format!("{path} gives {name} a version of its own; name it in the root with its reason")
        })
        .collect()
}

/// Every third-party crate in the root manifest stands in a group that a comment opens.
pub fn reasons(manifest: &str) -> Complaints {
    let mut found = Vec::new();
    let (mut inside, mut explained) = (false, false);
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            (inside, explained) = (line == "[workspace.dependencies]", false);
        } else if line.trim().is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if inside && !explained && !line.contains("path = ") {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            found.push(format!("Cargo.toml:{} {name} stands under no comment that says why", number + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_reaches_too_far_is_found_through_others() {
        let package = |name: &str, dependencies: &[&str]| {
            let list: String = dependencies.iter().map(|one| format!(" \"{one}\",\n")).collect();
            format!("[[package]]\nname = \"{name}\"\nversion = \"1\"\ndependencies = [\n{list}]\n\n")
        };
        let lock = package("fettle-shared", &["middle 1.0.0"]) + &package("middle", &["tokio"]);
        assert_eq!(reach(&lock), ["fettle-shared must never reach tokio and does, through middle"]);
        assert!(reach(&package("fettle-shared", &["serde"])).is_empty());
    }

    #[test]
    fn versions_outside_the_root_are_found() {
        let manifest =
            "[package]\nversion = \"1\"\n[dependencies]\na = { workspace = true }\nb.workspace = true\n\
                        # c = \"1\"\nd = { path = \"../d\" }\n";
        assert!(from_the_root("x", manifest).is_empty());
        assert!(from_the_root("x", "[dependencies]\ne = \"1\"\n[workspace]\n").is_empty());
        assert_eq!(from_the_root("x", "[dev-dependencies]\ne = \"1\"\n[features]\nf = []\n").len(), 1);
    }

    #[test]
    fn dependencies_without_a_reason_are_found() {
        let manifest = "[workspace.dependencies]\nown = { path = \"own\" }\n\n# Why.\na = \"1\"\nb = \"1\"\n\nc = \"1\"\n\
                        [profile.dev]\nopt-level = 1\n";
        assert_eq!(reasons(manifest), ["Cargo.toml:8 c stands under no comment that says why"]);
    }
}
