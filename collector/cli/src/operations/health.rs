//! `fettle health`: the newest scores of hosts, what cost them points, and what to do.

use serde_json::{json, Value};

use super::print::table;
use crate::output;

/// Causes of the fleet that are named.
const CAUSES: usize = 5;

/// One host: score, class, every deduction.
pub(super) fn host(answer: &Value) {
    let name = answer["host"].as_str().unwrap_or_default();
    match answer["score"].as_f64() {
        Some(score) => {
            let class = class(&answer["grade"]);
            output::line(&format!("{name}: {score:.0} of 100, {class}, as of {} UTC", seen(answer)));
        }
        None => output::line(&format!("{name}: too little is known for a score; is its agent running?")),
    }
    let parts: Vec<String> = ["cpu", "memory", "disk", "efficiency", "stability"]
        .iter()
        .filter_map(|part| Some(format!("{part} {:.0}", answer[*part].as_f64()?)))
        .collect();
    if !parts.is_empty() {
        output::line(&format!("parts: {}", parts.join(", ")));
    }
    let none = if answer["score"].is_null() { "" } else { "nothing costs it points" };
    table(&deductions(answer), &["points", "part", "what was seen", "what to do"], none);
    let missing = answer["missing"].as_array().map_or(0, Vec::len);
    if missing > 0 {
        output::line(&format!("{missing} facts that would be looked at are not known (--json names them)"));
    }
}

/// The deductions as rows, what cost most first.
fn deductions(answer: &Value) -> Value {
    let row = |one: &Value| {
        json!({
            "points": format!("-{:.1}", one["points"].as_f64().unwrap_or(0.0)), "part": one["part"],
            "what was seen": one["reason"], "what to do": one["recommendation"],
        })
    };
    answer["deductions"].as_array().map_or(&[][..], Vec::as_slice).iter().map(row).collect()
}

/// The fleet: one line a host, the worst first.
pub(super) fn fleet(answer: &Value) {
    match answer["score"].as_f64() {
        Some(score) => output::line(&format!("the fleet: {score:.0} of 100, {}", class(&answer["grade"]))),
        None => output::line("too little is known for a score"),
    }
    let causes = answer["causes"].as_array().map_or(&[][..], Vec::as_slice);
    for cause in causes.iter().take(CAUSES) {
        if let Some(words) = cause["reason"].as_str().or_else(|| cause["fact"].as_str()) {
            output::line(&format!("  {words}"));
        }
    }
    table(
        &hosts(answer),
        &["host", "score", "class", "seen", "what costs most", "what to do"],
        "no hosts yet",
    );
}

/// Hosts as rows, the worst first, those without a score last.
fn hosts(answer: &Value) -> Value {
    let mut all: Vec<&Value> = answer["hosts"].as_array().map_or(&[][..], Vec::as_slice).iter().collect();
    all.sort_by(|a, b| {
        let score = |row: &Value| row["score"].as_f64().unwrap_or(f64::INFINITY);
        score(a).total_cmp(&score(b)).then_with(|| a["host"].as_str().cmp(&b["host"].as_str()))
    });
    let row = |row: &Value| {
        let first = &row["deductions"][0];
        json!({
            "host": row["host"], "score": row["score"].as_f64().map(|score| format!("{score:.0}")),
            "class": class(&row["grade"]), "seen": seen(row), "what costs most": first["reason"],
            "what to do": first["recommendation"],
        })
    };
    all.into_iter().map(row).collect()
}

fn class(grade: &Value) -> String {
    grade.as_str().unwrap_or("unknown").to_lowercase()
}

/// When the score was made, to the second.
fn seen(row: &Value) -> &str {
    row["ts"].as_str().map_or("", |ts| ts.split('.').next().unwrap_or(ts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_host_comes_first_and_its_worst_loss_is_named() {
        let loss = json!({ "points": 12.34, "part": "disk", "reason": "the fullest is 96 % full",
            "recommendation": "make room" });
        let answer = json!({ "hosts": [
            { "host": "c", "score": null, "grade": "Unknown", "deductions": [] },
            { "host": "b", "score": 91.2, "grade": "Excellent", "ts": "2026-11-22 08:00:00.000000", "deductions": [] },
            { "host": "a", "score": 61.7, "grade": "Fair", "deductions": [loss] },
        ]});
        let rows = hosts(&answer);
        let names: Vec<&str> =
            rows.as_array().unwrap().iter().map(|row| row["host"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!((&rows[0]["score"], &rows[0]["class"]), (&json!("62"), &json!("fair")));
        assert_eq!(rows[0]["what to do"], "make room");
        assert_eq!(rows[1]["seen"], "2026-11-22 08:00:00");
        let lost = deductions(&answer["hosts"][2]);
        assert_eq!((&lost[0]["points"], &lost[0]["part"]), (&json!("-12.3"), &json!("disk")));
    }
}
