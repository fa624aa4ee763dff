//! Rows of `forecasts`, `predictions` and `models` as ClickHouse takes them.

use fettle_analysis::outlook::{Lesson, OutlookRow, ValueRow};
use fettle_analysis::predict::{Model, Registry, Score, Verdict, Version};
use serde_json::{json, Value};

use super::RiskRow;

/// A number, or NULL for what JSON cannot say.
fn number(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        Value::Null
    }
}

pub(super) fn outlook(row: &OutlookRow, ts: u32) -> Value {
    let end = row.exhaustion;
    json!({
        "ts": ts,
        "host": row.host,
        "kind": "exhaustion",
        "resource": serde_json::to_value(row.resource).unwrap_or_default(),
        "entity": row.entity,
        "metric": row.metric,
        "horizon_s": row.horizon_s,
        "probability": row.probability(),
        "eta_s": end.map(|end| end.eta_s),
        "low_s": end.map(|end| end.low_s),
        "high_s": end.map(|end| end.high_s),
        "used": row.used,
        "capacity": row.capacity,
        "words": row.words,
    })
}

pub(super) fn value(row: &ValueRow, ts: u32) -> Value {
    json!({
        "ts": ts,
        "host": row.host,
        "kind": "value",
        "resource": "",
        "entity": "",
        "metric": row.metric,
        "horizon_s": row.horizon_s,
        "mean": number(row.mean),
        "low": number(row.low),
        "high": number(row.high),
        "words": row.words,
    })
}

pub(super) fn risk(row: &RiskRow) -> Value {
    json!({
        "ts": row.at,
        "host": row.host,
        "component": row.component,
        "horizon_s": row.horizon_s,
        "probability": number(row.risk.probability),
        "model": row.model,
        "baseline": number(row.risk.baseline),
        "statistical": number(row.risk.statistical),
        "echo": number(row.risk.echo),
        "reasons": row.reasons.join("; "),
    })
}

/// A model that was offered, whatever became of it.
pub(super) fn model(
    partition: u16,
    registry: &Registry,
    model: &Model,
    verdict: Verdict,
    lesson: &Lesson,
    ts: u32,
) -> Value {
    let (number_of, score, words): (u64, Option<Score>, String) = match verdict {
        Verdict::Promoted(number, score) => (number, Some(score), "in use".into()),
        Verdict::Refused(new, old) => {
            let words = format!(
                "refused: Brier score {:.5}, error {:.2} steps, against {:.5} and {:.2} of the one in use",
                new.brier, new.rmse, old.brier, old.rmse
            );
            (0, Some(new), words)
        }
        Verdict::Unjudged => (0, None, "not judged: no failure was left to judge it by".into()),
    };
    let version = match registry.active().filter(|version| version.number == number_of) {
        Some(version) => serde_json::to_string(version),
        None => serde_json::to_string(model),
    };
    let (failures, judged) = lesson.failures();
    json!({
        "ts": ts,
        "partition": partition,
        "number": number_of,
        "active": u8::from(number_of > 0),
        "brier": score.map(|score| score.brier),
        "rmse": score.map(|score| score.rmse),
        "base_brier": number(model.validation.base_brier),
        "failures": failures,
        "judged_failures": judged,
        "trained_from": lesson.from,
        "trained_until": lesson.until,
        "verdict": words,
        "version": version.unwrap_or_default(),
    })
}

/// The registry that these rows of `models` tell of; what cannot be read is left out.
pub(super) fn registry(rows: &[String]) -> Registry {
    let kept: Vec<Version> = rows.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    if kept.len() < rows.len() {
        tracing::warn!(lost = rows.len() - kept.len(), "stored models cannot be read; they are trained anew");
    }
    Registry::of(kept, 0)
}
