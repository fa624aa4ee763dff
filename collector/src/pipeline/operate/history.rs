//! Rows of history on their way to ClickHouse: they are saved with the state of operations first, so that
//! they survive a crash, and leave it once ClickHouse has them. ClickHouse being away holds up nothing.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use fettle_alert::handoff::Notification;
use fettle_alert::manage::Transition;
use fettle_decide::audit::AuditRecord;
use fettle_shared::command::{Outcome, Receipt};

use crate::store::{Store, StoreError};

/// Rows kept while ClickHouse is away; then the oldest that are not of the audit go, counted.
const MOST_ROWS: usize = 100_000;
/// Rows written by one insert.
const AT_ONCE: usize = 2_000;

/// A row and where it belongs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    number: u64,
    table: String,
    row: Value,
}

/// Rows that ClickHouse does not have yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    rows: VecDeque<Row>,
    number: u64,
    dropped: u64,
}

/// A time as ClickHouse reads it.
pub(super) fn time(us: i64) -> String {
    let at = Timestamp::from_microsecond(us).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

fn word<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl History {
    fn push(&mut self, table: &str, row: Value) {
        self.number += 1;
        self.rows.push_back(Row { number: self.number, table: table.to_owned(), row });
        if self.rows.len() > MOST_ROWS {
            if let Some(at) = self.rows.iter().position(|row| row.table != "audit") {
                self.rows.remove(at);
                self.dropped += 1;
            }
        }
    }

    /// Whether there is something to write.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A change of an alert.
    pub(super) fn alert(&mut self, change: &Transition) {
        let host = change.labels.get("host").cloned().unwrap_or_default();
        let row = json!({
            "ts": time(change.at_us), "id": change.alert, "rule": change.rule, "host": host,
            "labels": change.labels, "severity": change.severity, "value": change.value, "from": change.from, "to": change.to,
            "reason": change.reason, "incident": change.incident, "text": change.text,
        });
        self.push("alerts", row);
    }

    /// What became of sending a notification.
    pub(super) fn notification(&mut self, sent: &Notification, outcome: &str, error: &str, now_us: i64) {
        let row = json!({
            "ts": time(now_us), "id": sent.id, "group": sent.group, "kind": word(&sent.kind),
            "channel": sent.channel, "severity": word(&sent.severity), "alerts": sent.alerts_total,
            "held_back": sent.held_back, "outcome": outcome, "error": error, "reason": sent.reason,
            "decided": time(sent.at_us),
            "data": time(sent.alerts.iter().map(|alert| alert.since_us).max().unwrap_or_default()),
        });
        self.push("notifications", row);
    }

    /// An agent's word on an action.
    pub(super) fn action(&mut self, receipt: &Receipt, now_us: i64) {
        let outcome = word(&receipt.outcome);
        let detail = match &receipt.outcome {
            Outcome::Refused { .. } => outcome["reason"].clone(),
            Outcome::Failed { error } => json!(error),
            _ => json!(""),
        };
        let row = json!({
            "ts": time(now_us), "id": receipt.id, "host": receipt.host, "component": receipt.component,
            "action": receipt.action.name(), "parameters": word(&receipt.action).to_string(),
            "outcome": outcome["outcome"], "detail": detail, "begun": time(receipt.begun_us),
            "ended": time(receipt.ended_us), "output": receipt.output,
            "before": word(&receipt.before).to_string(), "local": u8::from(receipt.local),
            "because": receipt.because,
        });
        self.push("actions", row);
    }

    /// A record of the audit.
    pub(super) fn audit(&mut self, record: &AuditRecord) {
        let row = json!({
            "seq": record.seq, "ts": time(record.at_us), "kind": record.kind, "who": record.who,
            "what": record.what, "plan": record.plan, "order_id": record.order, "detail": record.detail,
            "at_us": record.at_us, "prev_hash": record.prev_hash, "hash": record.hash,
        });
        self.push("audit", row);
    }

    /// The oldest rows, to be written while operations go on.
    pub(super) fn oldest(&self) -> Vec<Row> {
        self.rows.iter().take(AT_ONCE).cloned().collect()
    }

    /// ClickHouse has everything up to this row.
    pub(super) fn written(&mut self, upto: u64) {
        while self.rows.front().is_some_and(|row| row.number <= upto) {
            self.rows.pop_front();
        }
    }
}

/// Writes rows, each table's by one insert; gives the number of the last. Again with the same rows changes
/// nothing: the token names them, and a chain's record that stands twice is the same record.
pub(super) async fn write(store: &Store, rows: &[Row]) -> Result<u64, StoreError> {
    let mut tables: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        tables.entry(&row.table).or_default().push(&row.row);
    }
    let (first, last) = (rows.first().map_or(0, |r| r.number), rows.last().map_or(0, |r| r.number));
    for (table, rows) in tables {
        let stamp = rows.first().map_or(String::new(), |row| row["ts"].to_string());
        store.insert_rows(table, &rows, &format!("{table}:{first}:{last}:{stamp}")).await?;
    }
    Ok(last)
}
