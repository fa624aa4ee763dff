//! The tables of operations: what became of alerts, what was sent to whom, what agents did, and the audit.
//! Their rows are few and are written as JSON objects; the truth that decisions are made from is in the
//! saved state of operations, and these tables are its history for people and SQL.

use super::ddl::{Table, TableColumn, TtlRule};
use super::ledger_schema::table;
use super::Ttl;

const TEXT: &str = "LowCardinality(String)";
const MICROS: &str = "DateTime64(6, 'UTC')";
const LABELS: &str = "Map(LowCardinality(String), String)";

/// All tables of this file.
pub(super) fn tables(ttl: &Ttl) -> Vec<Table> {
    vec![alerts(ttl), notifications(ttl), actions(ttl), audit()]
}

fn column(name: &str, kind: &str, comment: &str) -> TableColumn {
    let codec = if kind == MICROS { "Delta, ZSTD(1)" } else { "ZSTD(1)" };
    TableColumn::new(name, kind, comment).codec(Some(codec))
}

fn text(name: &str, comment: &str) -> TableColumn {
    TableColumn::new(name, TEXT, comment)
}

fn history(name: &str, comment: &str, ttl: &Ttl, order: &[&str], columns: Vec<TableColumn>) -> Table {
    Table {
        order: order.iter().map(|one| (*one).to_owned()).collect(),
        partition: "toYYYYMM(ts)".into(),
        ttl: Some(TtlRule { time: "toDateTime(ts)", keep: ttl.hour }),
        ..table(name, comment, columns)
    }
}

fn alerts(ttl: &Ttl) -> Table {
    let columns = vec![
        column("ts", MICROS, "When it changed."),
        column("id", "String", "The alert: hash of the rule and the labels, 16 hexadecimal digits."),
        text("rule", "Rule."),
        text("host", "Host, or empty."),
        column("labels", LABELS, "What it is about."),
        text("severity", "low, medium, high or critical."),
        text("from", "State before."),
        text("to", "State since."),
        text("reason", "Named reason of the change."),
        column("value", "Float64", "The value that decided."),
        column("incident", "String", "Incident it belongs to, or empty."),
        column("text", "String", "One sentence for people."),
    ];
    history("alerts", "Every change of every alert.", ttl, &["ts", "id"], columns)
}

fn notifications(ttl: &Ttl) -> Table {
    let columns = vec![
        column("ts", MICROS, "When this became of it."),
        column("id", "String", "Names the notification; the same id is the same notification."),
        column("group", "String", "Group of alerts it is about."),
        text("kind", "firing, resolved, escalation, reminder or digest."),
        text("channel", "Channel."),
        text("severity", "The worst of its alerts."),
        column("alerts", "UInt32", "Alerts in it."),
        column("held_back", "UInt32", "Of a digest: notifications held back."),
        text("outcome", "sent, failed, or gave_up."),
        column("error", "String", "Why it was not sent."),
        text("reason", "Named reason it was decided for."),
        column("decided", MICROS, "When it was decided."),
        column("data", MICROS, "Time of the newest data it was decided on."),
    ];
    history("notifications", "What was sent to whom, and what was not.", ttl, &["ts", "id"], columns)
}

fn actions(ttl: &Ttl) -> Table {
    let columns = vec![
        column("ts", MICROS, "When the collector learnt of it."),
        column("id", "String", "Id of the order, or of the agent's own action."),
        text("host", "Host."),
        text("component", "Component, or empty for the host itself."),
        text("action", "Name of the action."),
        column("parameters", "String", "The whole action as JSON."),
        text("outcome", "accepted, refused, succeeded, failed, timed_out, never_completed or would_do."),
        column("detail", "String", "Reason of a refusal, or the error."),
        column("begun", MICROS, "When it was begun, by the host's clock; 1970: never."),
        column("ended", MICROS, "When it ended, by the host's clock; 1970: not yet."),
        column("output", "String", "The end of what it printed."),
        column("before", "String", "What it found and left, as JSON."),
        column("local", "UInt8", "1 when the agent did it by its own rules."),
        column("because", "String", "Plan or local rule that wanted it."),
    ];
    history("actions", "What agents said of orders and of actions of their own.", ttl, &["ts", "id"], columns)
}

/// Kept for ever: the chain can only be proven whole.
fn audit() -> Table {
    let columns = vec![
        column("seq", "UInt64", "Number in the chain, from 1."),
        column("ts", MICROS, "When."),
        text("kind", "What kind of record."),
        text("who", "Who wanted it: a person, or the part that decided."),
        column("what", "String", "One sentence."),
        column("plan", "String", "Plan, or empty."),
        column("order_id", "String", "Order, or empty."),
        column("detail", "String", "JSON, byte for byte what was hashed."),
        column("at_us", "Int64", "The time as it was hashed, microseconds since 1970."),
        column("prev_hash", "String", "Hash of the record before."),
        column("hash", "String", "SHA-256 over this record and the hash before, hexadecimal."),
    ];
    Table {
        order: vec!["seq".into()],
        partition: "toYYYYMM(ts)".into(),
        ..table(
            "audit",
            "Intents before, outcomes after, chained by hashes; check with fettle audit verify.",
            columns,
        )
    }
}
