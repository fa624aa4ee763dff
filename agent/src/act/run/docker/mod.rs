//! Docker: a container is restarted, started, stopped, signalled, limited, and scaled. Where copies of it may be made
//! (`crate::replicas`), what is done to it is done to them as well, one after the other, as a service of several
//! processes is.

mod copy;
mod engine;
mod scale;

use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::{json, Value};

use super::{Report, LIMIT_BEFORE};
use crate::act::admission::Verb;
use crate::replicas::{family, listing, Family, LISTING_MAX};

use engine::{ask, inspect, path, Refused};

pub(super) use scale::scale;

/// Seconds that Docker gives a container to stop before it kills it.
const STOP_SECONDS: u32 = 10;
/// Billionths of a core that are a percent.
const NANOS_OF_PERCENT: u64 = 10_000_000;

/// A container that the host's file declares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'a> {
    pub(super) socket: &'a Path,
    /// Name or id.
    pub(super) container: &'a str,
    /// Whether there may be copies of it.
    pub(super) is_scaled: bool,
}

impl Declared<'_> {
    /// What Docker knows of it, its own name, and the copies that there are.
    async fn family(&self) -> Result<(Value, String, Family), Refused> {
        let known = inspect(self.socket, self.container).await?;
        let name = known.get("Name").and_then(Value::as_str).unwrap_or_default().trim_start_matches('/');
        let name = if name.is_empty() { self.container } else { name }.to_owned();
        // Also a check of the name, which will stand in paths.
        path(&name, "/json")?;
        let listed = engine::list(self.socket, &listing(&name), LISTING_MAX).await?;
        let family = family(&name, &listed).map_err(|said| Refused { status: None, said })?;
        Ok((known, name, family))
    }

    /// Itself and its copies: what each is called, and what it is asked for by.
    async fn members(&self) -> Result<Vec<(String, String)>, Refused> {
        let own = (self.container.to_owned(), self.container.to_owned());
        if !self.is_scaled {
            return Ok(vec![own]);
        }
        let (_, _, family) = self.family().await?;
        let copies = family.replicas.into_values().map(|replica| (replica.name, replica.id));
        Ok(std::iter::once(own).chain(copies).collect())
    }
}

/// Restart, start, stop, or signal a container and its copies.
pub(super) async fn run(declared: Declared<'_>, verb: &Verb) -> Result<String, String> {
    let mut done: Vec<String> = Vec::new();
    for (name, id) in declared.members().await? {
        let said = run_one(declared.socket, &name, &id, verb).await;
        done.push(said.map_err(|refused| match done.is_empty() {
            true => refused.said,
            false => format!("{name}: {}; before that: {}", refused.said, done.join(", ")),
        })?);
    }
    Ok(done.join(", "))
}

async fn run_one(socket: &Path, name: &str, id: &str, verb: &Verb) -> Result<String, Refused> {
    let (query, done) = match verb {
        Verb::Restart => (format!("/restart?t={STOP_SECONDS}"), "restarted".to_owned()),
        // Docker starts no container that is frozen: it is running.
        Verb::Start if is_paused(socket, id).await? => ("/unpause".to_owned(), "unpaused".to_owned()),
        Verb::Start => ("/start".to_owned(), "started".to_owned()),
        Verb::Stop => (format!("/stop?t={STOP_SECONDS}"), "stopped".to_owned()),
        Verb::Signal { name, .. } => (format!("/kill?signal=SIG{name}"), format!("sent {name} to")),
    };
    let (status, _) = ask(socket, Method::POST, &path(id, &query)?, None).await?;
    if status == StatusCode::NOT_MODIFIED {
        return Ok(format!("{name} was as it should be already"));
    }
    Ok(format!("{done} {name}"))
}

async fn is_paused(socket: &Path, container: &str) -> Result<bool, Refused> {
    let known = inspect(socket, container).await?;
    Ok(known.pointer("/State/Paused").and_then(Value::as_bool).unwrap_or(false))
}

/// The processes of a container and of its copies that run, as this host numbers them.
pub(super) async fn main_processes(declared: Declared<'_>) -> Result<Vec<i32>, String> {
    let mut found = Vec::new();
    for (name, id) in declared.members().await? {
        let known = inspect(declared.socket, &id).await?;
        let pid = known.pointer("/State/Pid").and_then(Value::as_i64).filter(|pid| *pid > 0);
        match pid.and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) => found.push(pid),
            None if !declared.is_scaled => return Err(format!("{name} does not run; start it first")),
            None => {}
        }
    }
    Ok(found)
}

/// Sets a limit of a container and of each of its copies.
pub(super) async fn limit(declared: Declared<'_>, resource: &str, value: u64) -> Result<Report, String> {
    let (key, scale, body) = match resource {
        "cpu_percent" => {
            let nanos = value.saturating_mul(NANOS_OF_PERCENT);
            ("NanoCpus", NANOS_OF_PERCENT, json!({ "NanoCpus": nanos }))
        }
        // Without more swap than memory: a limit of memory alone would be refused where swap is limited lower.
        "memory_bytes" => ("Memory", 1, json!({ "Memory": value, "MemorySwap": value })),
        _ => ("PidsLimit", 1, json!({ "PidsLimit": value })),
    };
    let now = inspect(declared.socket, declared.container).await?;
    let mut names = Vec::new();
    for (name, id) in declared.members().await? {
        ask(declared.socket, Method::POST, &path(&id, "/update")?, Some(body.clone())).await?;
        names.push(name);
    }
    let report = Report::says(format!("set {key} of {} for {resource} {value}", names.join(", ")));
    // 0, less, or nothing at all stand for no limit.
    let before =
        now.pointer(&format!("/HostConfig/{key}")).and_then(Value::as_u64).filter(|limit| *limit > 0);
    Ok(match before {
        Some(before) => report.with(LIMIT_BEFORE, (before / scale).to_string()),
        None => report,
    })
}
