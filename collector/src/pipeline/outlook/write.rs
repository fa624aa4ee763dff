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

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_analysis::outlook::{offer, Lengths, Sight, Stretch};

    /// Stretches whose one sensor rises to the failure, and quiet ones.
    fn lesson() -> Lesson {
        let lengths = Lengths::new(200, 10);
        let stretches = (0..24u32).map(|at| {
            let (failed, from) = (u32::is_multiple_of(at, 2), at * 10_000);
            let until = from + 700 + 10 * at;
            let stretch = Stretch { host: "h".into(), component: "c".into(), from, until, failed };
            let sight = |second: u32| {
                let left = (until - second) as f32 / lengths.cap_s as f32;
                let wear = if failed { (1.0 - left).max(0.0) } else { 0.0 };
                let noise = (f64::from(second) * 0.7).sin() as f32 * 0.05;
                Sight { second, row: vec![wear + noise, f32::NAN], up: Some(true) }
            };
            (stretch, (from..until).step_by(10).map(sight).collect())
        });
        Lesson::new(stretches.collect())
    }

    /// Equal but for the last digit of numbers, which reading JSON may change.
    fn near(left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(l, r)| near(l, r))
            }
            (Value::Object(left), Value::Object(right)) => {
                left.len() == right.len()
                    && left.iter().all(|(name, l)| right.get(name).is_some_and(|r| near(l, r)))
            }
            (Value::Number(l), Value::Number(r)) => {
                let (l, r) = (l.as_f64().unwrap(), r.as_f64().unwrap());
                (l - r).abs() <= 1e-12 * l.abs().max(r.abs())
            }
            _ => left == right,
        }
    }

    #[test]
    fn models_come_back_from_their_rows_and_refused_ones_stay_out() {
        let (lesson, settings) = (lesson(), Lengths::new(200, 10).settings());
        let mut registry = Registry::default();
        let (first, verdict) = offer(&mut registry, &lesson, settings, 7).unwrap();
        let used = model(3, &registry, &first, verdict, &lesson, 7);
        assert_eq!((&used["number"], &used["active"], &used["partition"]), (&json!(1), &json!(1), &json!(3)));
        assert!(used["brier"].as_f64().unwrap() < used["base_brier"].as_f64().unwrap(), "{}", used["brier"]);

        let (again, verdict) = offer(&mut registry, &lesson, settings, 8).unwrap();
        let refused = model(3, &registry, &again, verdict, &lesson, 8);
        assert_eq!((&refused["number"], &refused["active"]), (&json!(0), &json!(0)), "as good is not better");
        assert!(refused["verdict"].as_str().unwrap().starts_with("refused"), "{refused}");

        let rows = [used["version"].as_str().unwrap().to_owned()];
        let restored = super::registry(&rows);
        assert_eq!(restored.active().map(|v| (v.number, v.trained_at)), Some((1, 7)));
        let kept = json!(restored.active().unwrap().model);
        assert!(near(&kept, &json!(registry.active().unwrap().model)));
        assert!(super::registry(&["damaged".to_owned()]).active().is_none());
    }
}
