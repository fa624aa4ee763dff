//! Operations' answers as tables for eyes.

use serde_json::Value;

use super::fit;
use crate::output;
use crate::sql::{terminal_width, Rows};

/// Alerts.
pub(crate) fn alerts(answer: &Value) {
    table(answer, &["id", "state", "severity", "rule", "host", "since", "summary", "told"], "no alerts");
}

/// One alert with its decisions.
pub(crate) fn why(answer: &Value) {
    let alert = &answer["alert"];
    fields(
        alert,
        &["id", "rule", "state", "severity", "since", "summary", "description", "incident", "labels"],
    );
    output::line("");
    table(&answer["decisions"], &["at", "reason", "text"], "nothing was decided about it yet");
}

/// Silences.
pub(crate) fn silences(answer: &Value) {
    table(answer, &["id", "matchers", "author", "reason", "until"], "no silences");
}

/// Incidents.
pub(crate) fn incidents(answer: &Value) {
    table(answer, &["id", "state", "since", "alerts", "cause"], "no incidents");
}

/// Plans.
pub(crate) fn plans(answer: &Value) {
    table(answer, &["id", "state", "host", "component", "policy", "doing", "since", "text"], "no plans");
}

/// One plan.
pub(crate) fn plan(answer: &Value) {
    fields(answer, &["id", "state", "host", "component", "policy", "because", "since", "text"]);
    output::line("");
    table(&answer["steps"], &["step", "action", "risk", "approval", "state", "text"], "no steps");
    table(&answer["left_out"], &["strategy", "reason"], "nothing was left out");
}

/// What would be done now.
pub(crate) fn explanation(answer: &Value) {
    table(
        &answer["would"],
        &["host", "component", "policy", "action", "approval", "text"],
        "nothing would be done now",
    );
    table(&answer["would_not"], &["host", "component", "policy", "reason"], "nothing is held back");
}

/// Components.
pub(crate) fn components(answer: &Value) {
    table(
        answer,
        &["host", "component", "kind", "up", "critical", "seen", "complaint"],
        "no components are known",
    );
}

/// The state of operations.
pub(crate) fn status(answer: &Value) {
    fields(
        answer,
        &[
            "not_taken",
            "states_refused",
            "receipts_refused",
            "waiting_for_clickhouse",
            "frozen",
            "storm",
            "alerts",
            "plans",
            "in_flight",
            "public_key",
            "audit",
            "policies",
        ],
    );
    table(
        &answer["channels"],
        &["name", "kind", "breaker", "sent", "failed", "refused", "last_problem"],
        "no channels",
    );
    table(&answer["breakers"], &["target", "action", "state"], "no breaker is open");
}

/// Records of the audit.
pub(crate) fn audit(rows: &Value) {
    table(
        rows,
        &["seq", "at", "kind", "who", "what", "plan"],
        "no records; ask further back with --since -7d",
    );
}

/// The answer to a change.
pub(crate) fn done(answer: &Value) {
    output::line(answer["done"].as_str().unwrap_or("done"));
}

fn fields(value: &Value, names: &[&str]) {
    for name in names {
        let text = words(&value[*name]);
        let text = if WORDS.contains(name) { fit::plain(&text) } else { text };
        if !text.is_empty() {
            output::line(&format!("{:>12}  {text}", name.replace('_', " ")));
        }
    }
}

/// Columns whose values are words of the program.
const WORDS: [&str; 11] =
    ["state", "told", "reason", "approval", "risk", "breaker", "kind", "grade", "action", "doing", "outcome"];

/// A table of some of the rows' values; on a terminal it is as wide as that.
pub(super) fn table(value: &Value, names: &[&str], none: &str) {
    let rows = value.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        if !none.is_empty() {
            output::line(none);
        }
        return;
    }
    let columns: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
    let value = |row: &Value, name: &str| {
        let text = words(&row[name]);
        if WORDS.contains(&name) {
            fit::plain(&text)
        } else {
            text
        }
    };
    let mut rows: Vec<Vec<String>> =
        rows.iter().map(|row| names.iter().map(|name| value(row, name)).collect()).collect();
    if let Some(width) = terminal_width() {
        let ids: Vec<usize> = (0..names.len()).filter(|at| matches!(names[*at], "id" | "plan")).collect();
        for id in &ids {
            fit::shorten_ids(&mut rows, *id);
        }
        fit::fit(&columns, &mut rows, usize::from(width), &ids);
    }
    let mut table = Rows::new(&columns, &[], None);
    for row in &rows {
        table.push(row);
    }
    output::line(&table.render());
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(k, v)| format!("{k}={}", words(v))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
