//! What detection found: anomalies, forecasts, predictions, and health scores of a host or of the fleet; and the
//! hot view of what it has in memory.
//!
//! Times are seconds since 1970 or RFC 3339 in UTC (`2026-01-31T12:00:00Z`). A parameter that cannot be
//! used is 400 with one sentence; ClickHouse away is 503.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fettle_analysis::health::{fleet, Deduction, Grade, Health, Part, PartScore};
use fettle_analysis::live::RecentRow;
use fettle_shared::subjects::is_agent_name;
use serde::Deserialize;
use serde_json::{json, Value};

use super::ApiState;
use crate::handoff::FindingsQuery;

const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];
/// Rows given when nothing is said, and at most.
const ROWS: u32 = 1000;
const MOST_ROWS: u32 = 10_000;
/// How long the hot view waits for the thread that judges.
const RECENT_PATIENCE: Duration = Duration::from_secs(5);
/// How far back is looked when nothing is said, in seconds.
const BACK_S: i64 = 86_400;

/// The routes of this file.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/v3/analytics/performance-score", get(performance_score))
        .route("/api/v3/monitoring/anomalies", get(anomalies))
        .route("/api/v3/monitoring/anomalies/recent", get(recent))
        .route("/api/v3/monitoring/forecasts", get(forecasts))
        .route("/api/v3/monitoring/predictions", get(predictions))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    host: Option<String>,
    from: Option<String>,
    to: Option<String>,
    severity: Option<String>,
    limit: Option<String>,
}

/// Why there is no answer.
enum Refusal {
    Asked(String),
    Unknown(String),
    Away(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, words) = match self {
            Self::Asked(words) => (StatusCode::BAD_REQUEST, words),
            Self::Unknown(words) => (StatusCode::NOT_FOUND, words),
            Self::Away(words) => (StatusCode::SERVICE_UNAVAILABLE, words),
        };
        (status, Json(json!({ "error": words }))).into_response()
    }
}

type Answered = Result<Json<Value>, Refusal>;
type Parameters = Result<Query<Asked>, QueryRejection>;

fn asked(parameters: Parameters) -> Result<Asked, Refusal> {
    let Query(asked) = parameters.map_err(|error| {
        let words = error.body_text();
        Refusal::Asked(format!("{words}; use host, from, to, severity and limit"))
    })?;
    match &asked.host {
        Some(host) => named(host).map(|()| asked),
        None => Ok(asked),
    }
}

fn named(host: &str) -> Result<(), Refusal> {
    if is_agent_name(host) {
        return Ok(());
    }
    Err(Refusal::Asked(format!("host={host:?} is no agent's name; use letters, digits, - and _")))
}

/// At most so many rows.
fn rows_of(limit: Option<&str>) -> Result<u32, Refusal> {
    let Some(text) = limit else { return Ok(ROWS) };
    match text.parse::<u32>() {
        Ok(limit) if (1..=MOST_ROWS).contains(&limit) => Ok(limit),
        _ => Err(Refusal::Asked(format!("limit={text:?} is not a number from 1 to {MOST_ROWS}"))),
    }
}

impl Asked {
    fn query(self) -> Result<FindingsQuery, Refusal> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        let to_us = self.to.as_deref().map(|text| time("to", text)).transpose()?;
        let from_us = self.from.as_deref().map(|text| time("from", text)).transpose()?;
        let from_us = from_us.unwrap_or_else(|| to_us.unwrap_or(now_us) - BACK_S * 1_000_000);
        if to_us.is_some_and(|to| to <= from_us) {
            return Err(Refusal::Asked("to is not after from; swap them".into()));
        }
        let severity = match &self.severity {
            None => None,
            Some(text) => match SEVERITIES.into_iter().find(|name| name == text) {
                Some(name) => Some(name),
                None => {
                    let words = format!("severity={text:?} is unknown; use {}", SEVERITIES.join(", "));
                    return Err(Refusal::Asked(words));
                }
            },
        };
        let limit = rows_of(self.limit.as_deref())?;
        Ok(FindingsQuery { host: self.host, from_us: Some(from_us), to_us, severity, limit })
    }
}

/// Seconds since 1970, or RFC 3339 in UTC, in microseconds.
fn time(key: &str, text: &str) -> Result<i64, Refusal> {
    const LAST_S: f64 = 4_294_967_295.0;
    let seconds = text.parse::<f64>().ok().or_else(|| rfc3339(text));
    match seconds {
        Some(seconds) if (0.0..=LAST_S).contains(&seconds) => Ok((seconds * 1e6) as i64),
        _ => {
            let words = "is no time; use seconds since 1970 or 2026-01-31T12:00:00Z";
            Err(Refusal::Asked(format!("{key}={text:?} {words}")))
        }
    }
}

/// `2026-01-31T12:00:00Z`, with or without a fraction, in seconds since 1970. Days are counted as in Howard
/// Hinnant's `days_from_civil`.
fn rfc3339(text: &str) -> Option<f64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.split(':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let known = (1970..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let told = (0.0..24.0).contains(&hour) && (0.0..60.0).contains(&minute) && (0.0..61.0).contains(&second);
    if !known || !told || date.next().is_some() || clock.next().is_some() {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days as f64 * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

async fn anomalies(State(state): State<ApiState>, parameters: Parameters) -> Answered {
    let rows = state.findings.anomalies(asked(parameters)?.query()?).await.map_err(Refusal::Away)?;
    Ok(Json(json!({ "count": rows.len(), "anomalies": rows })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedRecent {
    host: String,
    series: Option<String>,
    limit: Option<String>,
}

/// The hot view: the last anomalies of a host's series, as its watch has them in memory.
async fn recent(
    State(state): State<ApiState>,
    parameters: Result<Query<AskedRecent>, QueryRejection>,
) -> Answered {
    let Query(AskedRecent { host, series, limit }) = parameters.map_err(|error| {
        Refusal::Asked(format!("{}; use host (needed), series and limit", error.body_text()))
    })?;
    named(&host)?;
    if let Some(series) = series.as_deref().filter(|series| !series.contains('.')) {
        let words = "names no series; write family.metric, or family.metric{column=value,...} for one entity";
        return Err(Refusal::Asked(format!("series={series:?} {words}")));
    }
    let limit = rows_of(limit.as_deref())? as usize;
    let asked = state.recent.ask(host.clone(), series, limit);
    let rows = match tokio::time::timeout(RECENT_PATIENCE, asked).await {
        Ok(Ok(Some(rows))) => rows,
        Ok(Ok(None)) => {
            let words =
                "is not watched by this collector; ask for /api/v3/monitoring/anomalies, or its owner";
            return Err(Refusal::Unknown(format!("{host} {words}")));
        }
        Ok(Err(words)) => return Err(Refusal::Away(words.to_owned())),
        Err(_) => return Err(Refusal::Away("detection is behind; ask again in some seconds".to_owned())),
    };
    let rows: Vec<Value> = rows.iter().map(recent_row).collect();
    Ok(Json(json!({ "host": host, "count": rows.len(), "anomalies": rows })))
}

/// A row with its time as rows of ClickHouse have it: UTC, to the microsecond.
fn recent_row(row: &RecentRow) -> Value {
    let time = jiff::Timestamp::from_microsecond(row.at_us).unwrap_or(jiff::Timestamp::MAX);
    json!({
        "ts": time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        "series": row.series,
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "score": row.score,
        "tail": row.tail,
        "severity": row.severity,
        "reason": row.reason,
    })
}

async fn forecasts(State(state): State<ApiState>, parameters: Parameters) -> Answered {
    let rows = state.findings.rows("forecasts", asked(parameters)?.query()?).await.map_err(Refusal::Away)?;
    Ok(Json(json!({ "count": rows.len(), "forecasts": rows })))
}

async fn predictions(State(state): State<ApiState>, parameters: Parameters) -> Answered {
    let rows =
        state.findings.rows("predictions", asked(parameters)?.query()?).await.map_err(Refusal::Away)?;
    Ok(Json(json!({ "count": rows.len(), "predictions": rows })))
}

/// The newest score of a host with its deductions, or of the fleet with what costs most.
async fn performance_score(State(state): State<ApiState>, parameters: Parameters) -> Answered {
    let asked = asked(parameters)?;
    if asked.from.is_some() || asked.to.is_some() || asked.severity.is_some() || asked.limit.is_some() {
        return Err(Refusal::Asked("only host can be asked for; leave the other parameters out".into()));
    }
    let rows = state.findings.health(asked.host.clone()).await.map_err(Refusal::Away)?;
    if asked.host.is_some() {
        let row = rows.into_iter().next().unwrap_or_else(
            || json!({ "host": asked.host, "score": null, "grade": Grade::Unknown.name(), "deductions": [] }),
        );
        return Ok(Json(row));
    }
    let known: Vec<(String, Health)> = rows.iter().filter_map(health_of).collect();
    let whole = fleet(known.iter().map(|(host, health)| (host.as_str(), health)));
    let grades: BTreeMap<&str, usize> =
        whole.grades.iter().map(|(grade, hosts)| (grade.name(), *hosts)).collect();
    let worst = whole.worst.map(|(host, score)| json!({ "host": host, "score": score }));
    Ok(Json(json!({
        "score": whole.score, "grade": whole.grade.name(), "hosts_by_grade": grades, "worst": worst,
        "causes": whole.causes, "hosts": rows,
    })))
}

/// A stored row as the score it was.
fn health_of(row: &Value) -> Option<(String, Health)> {
    let score = row["score"].as_f64();
    let parts = Part::ALL.iter().map(|part| {
        let score = row[part.name()].as_f64();
        PartScore { part: *part, score, known: if score.is_some() { 1.0 } else { 0.0 } }
    });
    let deductions: Vec<Deduction> = serde_json::from_value(row["deductions"].clone()).unwrap_or_default();
    let health = Health {
        score,
        grade: Grade::of(score),
        parts: parts.collect(),
        deductions,
        missing: serde_json::from_value(row["missing"].clone()).unwrap_or_default(),
    };
    Some((row["host"].as_str()?.to_owned(), health))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, seconds) in [
            ("0", 0),
            ("1700000000", 1_700_000_000),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-22T07:30:00Z", 1_795_332_600),
        ] {
            let Ok(us) = time("from", text) else { panic!("{text}") };
            assert_eq!(us, seconds * 1_000_000, "{text}");
        }
        for bad in ["", "-1", "yesterday", "1e20", "NaN", "2026-13-01T00:00:00Z", "2026-01-01"] {
            assert!(time("from", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_in_a_sentence() {
        let words = |asked: Asked| match asked.query() {
            Err(Refusal::Asked(words)) => words,
            _ => String::new(),
        };
        let text = |text: &str| Some(text.to_owned());
        assert!(words(Asked { severity: text("bad"), ..Asked::default() }).contains("severity"));
        assert!(words(Asked { limit: text("0"), ..Asked::default() }).contains("limit"));
        let (from, to) = (text("20"), text("10"));
        assert!(words(Asked { from, to, ..Asked::default() }).contains("from"));
        assert!(Asked { limit: text("10"), ..Asked::default() }.query().is_ok());
    }
}
