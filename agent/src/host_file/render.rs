//! Writes a settled host's file: as JSON for programs, and as the TOML that would say all of it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{json, Map, Value};

use super::{
    Allowed, Check, Command, Component, FailOver, HostFile, LocalRule, ProcessMatch, RollBack, Runs,
};
use crate::config::{show_bytes, show_duration};
use crate::signal_name::signal_name;

impl HostFile {
    /// All of it, every value settled, with the file's own keys.
    pub fn to_json(&self) -> Value {
        let keys = self
            .trusted_keys
            .iter()
            .map(|key| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let limits = &self.limits;
        let components: Map<String, Value> = self
            .components
            .iter()
            .map(|(name, component)| (name.clone(), component_json(component)))
            .collect();
        whole(json!({
            "trusted_keys": keys.collect::<Vec<_>>(),
            "freeze_file": self.freeze_file.as_deref().map(text),
            "limits": {
                "concurrent": limits.concurrent,
                "per_hour": limits.per_hour,
                "cooldown": show_duration(limits.cooldown),
                "timeout": show_duration(limits.timeout),
                "local_per_hour": limits.local_per_hour,
            },
            "host": allowed_json(&self.host_actions),
            "components": components,
        }))
    }

    /// The file that would say all of it.
    pub fn render(&self) -> String {
        let mut out = String::new();
        if let Value::Object(map) = self.to_json() {
            table(&mut out, "", &map);
        }
        out
    }
}

impl Allowed {
    /// What is allowed, in a few words for people.
    pub fn summary(&self) -> String {
        let Value::Object(map) = whole(allowed_json(self)) else { return String::new() };
        let words: Vec<String> = map
            .iter()
            .map(|(key, value)| match value {
                Value::Object(entries) => {
                    format!("{key}({})", entries.keys().cloned().collect::<Vec<_>>().join(" "))
                }
                Value::Array(values) => {
                    let values: Vec<String> = values
                        .iter()
                        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                        .collect();
                    format!("{key}({})", values.join(" "))
                }
                _ => key.clone(),
            })
            .collect();
        words.join(", ")
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn span(duration: Duration) -> String {
    show_duration(duration)
}

/// Without what is null, false or empty: such keys need not be written.
fn whole(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, whole(value)))
                .filter(|(_, value)| match value {
                    Value::Null | Value::Bool(false) => false,
                    Value::Array(values) => !values.is_empty(),
                    Value::Object(map) => !map.is_empty(),
                    _ => true,
                })
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(whole).collect()),
        other => other,
    }
}

fn component_json(component: &Component) -> Value {
    json!({
        "runs": runs_json(&component.runs),
        "check": check_json(&component.check),
        "interval": span(component.interval),
        "timeout": span(component.timeout),
        "failures": component.failures,
        "depends_on": component.depends_on,
        "critical": component.critical,
        "allow": allowed_json(&component.allowed),
        "local": component.local.iter().map(local_json).collect::<Vec<_>>(),
    })
}

fn runs_json(runs: &Runs) -> Value {
    match runs {
        Runs::Supervised(run) => json!({
            "command": run.command,
            "directory": run.directory.as_deref().map(text),
            "environment": run.environment,
            "user": run.user,
            "replicas": run.replicas,
            "replicas_min": run.replicas_min,
            "replicas_max": run.replicas_max,
            "stop_signal": signal_name(run.stop_signal),
            "stop_timeout": span(run.stop_timeout),
        }),
        Runs::Systemd { unit } => json!({ "unit": unit }),
        Runs::Docker { container, socket, replicas } => json!({
            "container": container,
            "socket": text(socket),
            "replicas_min": replicas.map(|(least, _)| least),
            "replicas_max": replicas.map(|(_, most)| most),
        }),
        Runs::Process(ProcessMatch::PidFile(path)) => json!({ "pid_file": text(path) }),
        Runs::Process(ProcessMatch::Executable(path)) => json!({ "executable": text(path) }),
        Runs::Process(ProcessMatch::Name(name)) => json!({ "name": name }),
        Runs::Nothing => Value::Null,
    }
}

fn check_json(check: &Check) -> Value {
    match check {
        Check::Process => json!({ "process": true }),
        Check::Active => json!({ "active": true }),
        Check::Tcp(address) => json!({ "tcp": address.to_string() }),
        Check::Http { url, status, contains } => {
            json!({ "http": url, "status": status, "contains": contains })
        }
        Check::Exec { command, user: None } => json!({ "exec": command }),
        Check::Exec { command, user } => json!({ "exec": command, "user": user }),
        Check::FileAge { path, oldest } => json!({ "file": text(path), "oldest": span(*oldest) }),
    }
}

fn allowed_json(allowed: &Allowed) -> Value {
    let clean_up: Map<String, Value> = allowed
        .clean_up
        .iter()
        .map(|(name, policy)| {
            let value = json!({
                "root": text(&policy.root),
                "pattern": policy.pattern,
                "older_than": span(policy.older_than),
                "keep": show_bytes(policy.keep_bytes),
                "most": show_bytes(policy.most_bytes),
                "most_files": policy.most_files,
            });
            (name.clone(), value)
        })
        .collect();
    let fix: Map<String, Value> = allowed
        .fix_permissions
        .iter()
        .map(|(name, fix)| {
            let mode = format!("{:04o}", fix.mode);
            let value =
                json!({ "path": text(&fix.path), "mode": mode, "user": fix.user, "group": fix.group });
            (name.clone(), value)
        })
        .collect();
    let roll_back: Map<String, Value> = allowed
        .roll_back
        .iter()
        .map(|(name, entry)| {
            let value = match entry {
                RollBack::Link { link, releases } => {
                    json!({ "link": text(link), "releases": text(releases) })
                }
                RollBack::File { path, versions } => json!({ "file": text(path), "versions": versions }),
            };
            (name.clone(), value)
        })
        .collect();
    let fail_over: Map<String, Value> =
        allowed.fail_over.iter().map(|(name, entry)| (name.clone(), fail_over_json(entry))).collect();
    let run: Map<String, Value> =
        allowed.run.iter().map(|(name, command)| (name.clone(), command_json(command))).collect();
    json!({
        "restart": allowed.restart,
        "start": allowed.start,
        "stop": allowed.stop,
        "signals": allowed.signals,
        "nice": allowed.nice,
        "limits": allowed.limits,
        "cgroup": allowed.cgroup.as_deref().map(text),
        "clean_up": clean_up,
        "drop_caches": allowed.drop_caches,
        "fix_permissions": fix,
        "roll_back": roll_back,
        "fail_over": fail_over,
        "scale": allowed.scale,
        "run": run,
    })
}

fn fail_over_json(entry: &FailOver) -> Value {
    let candidates =
        entry.candidates.iter().map(|(name, target)| json!({ "name": name, "target": text(target) }));
    json!({
        "link": entry.link.as_deref().map(text),
        "candidates": candidates.collect::<Vec<_>>(),
        "hook": entry.hook.as_ref().map(command_json),
    })
}

fn command_json(command: &Command) -> Value {
    json!({
        "command": command.command,
        "user": command.user,
        "directory": command.directory.as_deref().map(text),
    })
}

fn local_json(rule: &LocalRule) -> Value {
    let mut value = json!(rule.action);
    value["after"] = json!(span(rule.after));
    value["alone_for"] = json!(span(rule.alone_for));
    value
}

fn table(out: &mut String, name: &str, map: &Map<String, Value>) {
    if !name.is_empty() && map.values().any(|value| !value.is_object()) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n[{name}]");
    }
    for (key, value) in map.iter().filter(|(_, value)| !value.is_object()) {
        let _ = writeln!(out, "{} = {}", key_text(key), inline(value));
    }
    for (key, value) in map {
        if let Value::Object(inner) = value {
            let key = key_text(key);
            let full = if name.is_empty() { key } else { format!("{name}.{key}") };
            table(out, &full, inner);
        }
    }
}

/// JSON's strings are TOML's basic strings, and any key may be written so.
fn key_text(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{} = {}", key_text(key), inline(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
