//! What is ready and what is not, for `GET /api/v3/health` and for people. Every part has a state
//! and a sentence; all together are ready when each is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{json, Value};

/// The parts' states.
#[derive(Debug, Default)]
pub struct Health {
    parts: Mutex<BTreeMap<String, Part>>,
    supervisor: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Part {
    ready: bool,
    detail: String,
}

impl Health {
    /// No part yet. `supervisor` is the file in which `fettle up` writes the states of the processes
    /// it watches, if it does.
    pub fn new(supervisor: Option<PathBuf>) -> Self {
        Self { parts: Mutex::default(), supervisor }
    }

    /// Says how a part is.
    pub fn set(&self, part: &str, ready: bool, detail: &str) {
        let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        parts.insert(part.to_owned(), Part { ready, detail: detail.to_owned() });
    }

    /// Says how ClickHouse is.
    pub fn clickhouse(&self, ready: bool, detail: &str) {
        self.set("clickhouse", ready, detail);
    }

    /// Whether every part is ready, and all states as JSON.
    pub fn report(&self) -> (bool, Value) {
        let parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut ready = !parts.is_empty() && parts.values().all(|p| p.ready);
        let mut states: BTreeMap<String, Value> = parts
            .into_iter()
            .map(|(name, part)| {
                let state = if part.ready { "ready" } else { "not ready" };
                (name, json!({"state": state, "detail": part.detail}))
            })
            .collect();
        for process in self.processes() {
            let name = process["name"].as_str().unwrap_or("unknown").to_owned();
            // The supervisor learns from this very answer that the collector is ready.
            ready &= process["state"] == "ready" || name == "collector";
            states.insert(format!("process_{name}"), process);
        }
        let status = if ready { "ready" } else { "not ready" };
        (ready, json!({"status": status, "parts": states}))
    }

    fn processes(&self) -> Vec<Value> {
        let text = self.supervisor.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let parsed: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
        parsed.and_then(|value| value["parts"].as_array().cloned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_part_is() {
        let health = Health::new(None);
        assert!(!health.report().0, "nothing known is not ready");
        health.set("nats", true, "");
        assert!(health.report().0);
        health.clickhouse(false, "away");
        let (ready, report) = health.report();
        assert!(!ready);
        assert_eq!(report["parts"]["clickhouse"]["detail"], "away");
    }

    #[test]
    fn the_supervisors_processes_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"parts":[{"name":"agent","state":"starting"}]}"#).unwrap();
        let health = Health::new(Some(file.path().to_owned()));
        health.set("nats", true, "");
        assert!(!health.report().0);
        std::fs::write(file.path(), r#"{"parts":[{"name":"agent","state":"ready"}]}"#).unwrap();
        assert!(health.report().0);
    }
}
