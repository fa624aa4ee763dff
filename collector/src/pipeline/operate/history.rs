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
/// The same in bytes of their JSON: the state they stand in is saved whole ten times a second.
const MOST_BYTES: usize = 32 << 20;
/// From so many bytes on nothing more is taken in that can wait elsewhere.
const HEAVY_BYTES: usize = 8 << 20;
/// Rows written by one insert, and bytes of them (a single row may be larger).
const AT_ONCE: usize = 2_000;
const AT_ONCE_BYTES: usize = 4 << 20;

/// A row and where it belongs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    number: u64,
    table: String,
    row: Value,
    /// Bytes of its JSON; 0 where an older version saved it.
    #[serde(default)]
    bytes: usize,
}

/// Rows that ClickHouse does not have yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    rows: VecDeque<Row>,
    number: u64,
    dropped: u64,
    /// Bytes of all rows.
    #[serde(default)]
    bytes: usize,
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
        let bytes = row.to_string().len();
        self.bytes += bytes;
        self.rows.push_back(Row { number: self.number, table: table.to_owned(), row, bytes });
        while self.rows.len() > MOST_ROWS || self.bytes > MOST_BYTES {
            // The audit is a chain: of it nothing may be missing.
            let Some(at) = self.rows.iter().position(|row| row.table != "audit") else { break };
            let bytes = self.rows.remove(at).map_or(0, |row| row.bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
            self.dropped += 1;
        }
    }

    /// Whether so much waits that what can wait elsewhere should.
    pub(super) fn is_heavy(&self) -> bool {
        self.bytes > HEAVY_BYTES
    }

    /// How much waits, and how much was given up; nothing where there is nothing to say.
    pub(super) fn waiting(&self) -> Option<Value> {
        let Self { rows, bytes, dropped, .. } = self;
        let says = self.is_heavy() || *dropped > 0;
        says.then(|| json!({ "rows": rows.len(), "bytes": bytes, "given_up": dropped }))
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
        let mut bytes = 0;
        let fits = |row: &&Row| {
            let is_first = bytes == 0;
            bytes += row.bytes.max(1);
            is_first || bytes <= AT_ONCE_BYTES
        };
        self.rows.iter().take(AT_ONCE).take_while(fits).cloned().collect()
    }

    /// ClickHouse has everything up to this row.
    pub(super) fn written(&mut self, upto: u64) {
        while let Some(row) = self.rows.pop_front_if(|row| row.number <= upto) {
            self.bytes = self.bytes.saturating_sub(row.bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_by_bytes_and_the_audit_keeps_every_record() {
        let mut history = History::default();
        let row = |number: usize| json!({ "number": number, "output": "x".repeat(10 << 10) });
        for number in 0..6_000 {
            history.push(if number % 60 == 0 { "audit" } else { "actions" }, row(number));
        }
        let bytes: usize = history.rows.iter().map(|row| row.row.to_string().len()).sum();
        assert_eq!(bytes, history.bytes);
        assert!((MOST_BYTES - (11 << 10)..=MOST_BYTES).contains(&bytes), "{bytes}");
        assert_eq!(history.dropped as usize, 6_000 - history.rows.len());
        assert_eq!(history.rows.iter().filter(|row| row.table == "audit").count(), 100);
        assert_eq!(history.rows.back().map(|row| &row.row["number"]), Some(&json!(5_999)), "the newest stay");

        let again: History = serde_json::from_value(word(&history)).unwrap();
        assert_eq!(again, history, "what is saved is counted");
        let mut written = 0;
        while let Some(last) = history.oldest().last().map(|row| row.number) {
            let some: usize = history.oldest().iter().map(|row| row.bytes).sum();
            assert!(some <= AT_ONCE_BYTES);
            written += history.oldest().len();
            history.written(last);
        }
        assert_eq!((history.bytes, written), (0, again.rows.len()));
        history.push("actions", json!("x".repeat(AT_ONCE_BYTES)));
        assert_eq!(history.oldest().len(), 1, "a large one goes alone");
    }
}
