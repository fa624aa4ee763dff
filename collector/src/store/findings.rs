//! Anomalies and health scores: written as they are found, read for the HTTP interface.

use std::fmt::Write as _;

use fettle_analysis::health::Part;
use fettle_analysis::live::{AnomalyRow, HealthRow};
use serde::Deserialize;
use serde_json::{json, Value};

use super::ddl::{identifier, literal};
use super::{Store, StoreError};
use crate::handoff::{Answer, FindingsQuery, ReadFindings};

/// Columns that may hold the time of a row, the first that a table has counts.
const TIMES: [&str; 4] = ["ts", "made_at", "made", "at"];
/// Hosts whose newest health is looked for this far back.
const HEALTH_BACK_S: u32 = 600;

#[derive(Deserialize)]
struct ColumnRow {
    name: String,
}

/// `seconds.micros`, which ClickHouse reads as a DateTime64.
fn time(us: i64) -> String {
    format!("{}.{:06}", us.div_euclid(1_000_000), us.rem_euclid(1_000_000))
}

fn anomaly(row: &AnomalyRow, found_us: i64) -> Value {
    json!({
        "host": row.host,
        "ts": time(row.at_us),
        "kind": row.kind.name(),
        "series": row.series(),
        "family": row.family,
        "metric": row.metric,
        "entity": row.entity,
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "score": row.score,
        "tail": row.tail,
        "severity": row.severity.to_string(),
        "reason": row.reason,
        "attribution": serde_json::to_string(&row.names).unwrap_or_default(),
        "incident": row.incident,
        "found": time(found_us),
    })
}

fn health(row: &HealthRow, found_us: i64) -> Value {
    let health = &row.health;
    let mut value = json!({
        "host": row.host,
        "ts": time(row.at_us),
        "score": health.score,
        "grade": health.grade.name(),
        "deductions": serde_json::to_string(&health.deductions).unwrap_or_default(),
        "missing": health.missing,
        "words": health.words(),
        "found": time(found_us),
    });
    for part in Part::ALL {
        let score = health.parts.iter().find(|one| one.part == part).and_then(|one| one.score);
        value[part.name()] = json!(score);
    }
    value
}

fn lines(rows: impl Iterator<Item = Value>) -> String {
    let mut body = String::new();
    for row in rows {
        let _ = writeln!(body, "{row}");
    }
    body
}

impl Store {
    /// Writes anomalies. Written again, they replace themselves.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn insert_anomalies(&self, rows: &[AnomalyRow], found_us: i64) -> Result<(), StoreError> {
        let body = lines(rows.iter().map(|row| anomaly(row, found_us)));
        self.connection.insert_json(&self.place().asked("anomalies"), body, None).await
    }

    /// Writes health scores. Written again, they replace themselves.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn insert_health(&self, rows: &[HealthRow], found_us: i64) -> Result<(), StoreError> {
        let body = lines(rows.iter().map(|row| health(row, found_us)));
        self.connection.insert_json(&self.place().asked("health"), body, None).await
    }

    /// Anomalies, newest first.
    async fn anomalies(&self, query: &FindingsQuery) -> Result<Vec<Value>, StoreError> {
        let mut rules = rules(query, "host", Some("ts"));
        if let Some(severity) = query.severity {
            rules.push(format!("severity >= {}", literal(severity)));
        }
        let sql = format!(
            "SELECT * FROM {} FINAL{} ORDER BY ts DESC, kind, series LIMIT {}",
            self.place().asked("anomalies"),
            clause(&rules),
            query.limit
        );
        Ok(opened(self.select(&sql).await?, "attribution"))
    }

    /// The newest health score of each host of the last minutes, or of one host whenever it was made.
    async fn newest_health(&self, host: Option<&str>) -> Result<Vec<Value>, StoreError> {
        let rule = match host {
            Some(host) => format!("host = {}", literal(host)),
            None => format!("ts > now() - toIntervalSecond({HEALTH_BACK_S})"),
        };
        let sql = format!(
            "SELECT * FROM {} WHERE {rule} ORDER BY ts DESC, found DESC LIMIT 1 BY host",
            self.place().asked("health")
        );
        Ok(opened(self.select(&sql).await?, "deductions"))
    }

    /// Rows of a table that another part of the program lays out: whatever columns it has, newest first.
    async fn rows_of(&self, table: &str, query: &FindingsQuery) -> Result<Vec<Value>, StoreError> {
        let place = self.place();
        let columns = format!(
            "SELECT name FROM system.columns WHERE database = {} AND table = {}",
            literal(place.database),
            literal(table)
        );
        let columns: Vec<ColumnRow> = self.select(&columns).await?;
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let has = |name: &str| columns.iter().any(|column| column.name == name);
        let time = TIMES.into_iter().find(|name| has(name));
        let rules = rules(query, if has("host") { "host" } else { "" }, time);
        let order = time.map_or(String::new(), |time| format!(" ORDER BY {} DESC", identifier(time)));
        let sql = format!(
            "SELECT * FROM {}{}{order} LIMIT {} SETTINGS final = 1",
            place.asked(table),
            clause(&rules),
            query.limit
        );
        self.select(&sql).await
    }
}

/// Conditions on host and time; columns that the table lacks are not asked about.
fn rules(query: &FindingsQuery, host: &str, time: Option<&str>) -> Vec<String> {
    let mut rules = Vec::new();
    if let (Some(name), false) = (&query.host, host.is_empty()) {
        rules.push(format!("{} = {}", identifier(host), literal(name)));
    }
    if let Some(time) = time {
        let time = identifier(time);
        let bounds = [(">=", query.from_us), ("<", query.to_us)];
        for (sign, bound) in bounds.into_iter().filter_map(|(sign, bound)| Some((sign, bound?))) {
            rules.push(format!("{time} {sign} fromUnixTimestamp64Micro({bound})"));
        }
    }
    rules
}

fn clause(rules: &[String]) -> String {
    if rules.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", rules.join(" AND "))
    }
}

/// Opens a column of JSON text.
fn opened(mut rows: Vec<Value>, column: &str) -> Vec<Value> {
    for row in &mut rows {
        if let Some(value) =
            row.get(column).and_then(Value::as_str).and_then(|t| serde_json::from_str(t).ok())
        {
            row[column] = value;
        }
    }
    rows
}

impl ReadFindings for Store {
    fn anomalies(&self, query: FindingsQuery) -> Answer {
        let store = self.clone();
        Box::pin(async move { Self::anomalies(&store, &query).await.map_err(|error| error.to_string()) })
    }

    fn health(&self, host: Option<String>) -> Answer {
        let store = self.clone();
        Box::pin(async move { store.newest_health(host.as_deref()).await.map_err(|error| error.to_string()) })
    }

    fn rows(&self, table: &'static str, query: FindingsQuery) -> Answer {
        let store = self.clone();
        Box::pin(async move { store.rows_of(table, &query).await.map_err(|error| error.to_string()) })
    }
}
