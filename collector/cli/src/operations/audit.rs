//! `fettle audit list`: records of the chain, as ClickHouse has them. `fettle audit verify`: reads the chain from ClickHouse and checks every hash, and that it reaches as far as
//! the collector remembers.

use std::time::Duration;

use fettle_decide::audit::{AuditRecord, Head, Verifier};
use jiff::Timestamp;
use serde_json::Value;

use super::arguments::{AuditListArguments, Collector};
use super::client::{Operations, OperationsError};
use super::print;
use crate::arguments::Server;
use crate::moment;
use crate::output;
use crate::sql::Client;

/// Records read at once.
const AT_ONCE: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints records, newest first.
pub(super) async fn list(arguments: &AuditListArguments) -> Result<(), OperationsError> {
    let now = Timestamp::now();
    let since = moment::parse(&arguments.since, now).map_err(|e| OperationsError::Argument(e.to_string()))?;
    let sql = question(arguments, since.as_microsecond());
    let text = Client::new(&arguments.server)?.ask_as("JSONEachRow", &sql, PATIENCE).await?;
    let rows: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).map(opened).collect();
    if arguments.json {
        output::line(&serde_json::to_string_pretty(&rows).unwrap_or_default());
    } else {
        print::audit(&rows.into());
    }
    Ok(())
}

/// The question that the flags come to.
fn question(arguments: &AuditListArguments, since_us: i64) -> String {
    let mut rules = vec![format!("at_us >= {since_us}")];
    if let Some(kind) = &arguments.kind {
        rules.push(format!("kind = {}", literal(kind)));
    }
    if let Some(plan) = &arguments.plan {
        rules.push(format!("startsWith(plan, {})", literal(plan)));
    }
    if let Some(host) = &arguments.host {
        let host = literal(host);
        let told = format!(
            "JSONExtractString(detail, 'host') = {host} OR JSONExtractString(detail, 'place', 'host') = {host}"
        );
        rules.push(format!(
            "(who = concat('agent:', {host}) OR {told} OR plan IN (SELECT plan FROM audit WHERE plan != '' AND ({told})))"
        ));
    }
    format!(
        "SELECT seq, at_us, kind, who, what, plan, order_id AS `order`, detail, hash FROM audit WHERE {} \
         ORDER BY seq DESC LIMIT 1 BY seq, hash LIMIT {} SETTINGS output_format_json_quote_64bit_integers = 0",
        rules.join(" AND "),
        arguments.limit
    )
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A record with its time in words, and its detail as what it is.
fn opened(mut row: Value) -> Value {
    row["at"] = row["at_us"].as_i64().map(moment::show).into();
    if let Some(detail) = row["detail"].as_str().and_then(|text| serde_json::from_str(text).ok()) {
        row["detail"] = detail;
    }
    row
}

/// Checks the chain.
pub(super) async fn verify(server: &Server, collector: &Collector) -> Result<(), OperationsError> {
    // Rows on their way to ClickHouse are not missing: what the collector remembers is asked first.
    let status = Operations::new(collector)?.get("operations").await;
    let remembered = status.as_ref().ok().and_then(|status| {
        Some(Head {
            seq: status["audit"]["seq"].as_u64()?,
            hash: status["audit"]["hash"].as_str()?.to_owned(),
        })
    });
    if let Err(error) = &status {
        output::complain(&format!("fettle: {error}; only the chain itself is checked"));
    }
    let client = Client::new(server)?;
    let mut verifier = Verifier::default();
    if let Some(head) = &remembered {
        verifier.expect(head);
    }
    let (mut seq, mut read) = (0, 0u64);
    loop {
        let records = page(&client, seq).await?;
        let Some(last) = records.last() else { break };
        seq = last.seq;
        read += records.len() as u64;
        for record in &records {
            verifier.take(record).map_err(|broken| OperationsError::Broken(broken.to_string()))?;
        }
    }
    let summary = verifier.finish(remembered.as_ref()).map_err(|broken| {
        OperationsError::Broken(format!(
            "{broken} (ClickHouse has {read} records; those of the last seconds may still be on their way: try again)"
        ))
    })?;
    if collector.json {
        let value = serde_json::json!({
            "records": summary.records, "seq": summary.head.seq, "hash": summary.head.hash,
            "open_orders": summary.open_orders, "head_remembered": remembered.is_some(),
        });
        output::line(&value.to_string());
    } else {
        let open = summary.open_orders.len();
        output::line(&format!(
            "the audit is whole: {} records, newest hash {}; {open} orders without an outcome yet",
            output::grouped(summary.records),
            summary.head.hash
        ));
    }
    Ok(())
}

/// The next records after this one.
async fn page(client: &Client, after: u64) -> Result<Vec<AuditRecord>, OperationsError> {
    // A record that was written twice is the same record; another one with its number is a forgery and is kept.
    let sql = format!(
        "SELECT seq, at_us, kind, who, what, plan, order_id AS `order`, detail, prev_hash, hash FROM audit \
         WHERE seq > {after} ORDER BY seq, hash LIMIT 1 BY seq, hash, at_us, kind, who, what, plan, order_id, \
         detail, prev_hash LIMIT {AT_ONCE} SETTINGS output_format_json_quote_64bit_integers = 0"
    );
    let text = client.ask_as("JSONEachRow", &sql, PATIENCE).await?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            serde_json::from_value(value)
                .map_err(|e| OperationsError::Broken(format!("a record cannot be read ({e}): {line}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};
    use crate::operations::arguments::AuditCommand;

    fn asked(words: &[&str]) -> String {
        let words = ["fettle", "audit", "list"].iter().chain(words);
        let Command::Audit(audit) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        let AuditCommand::List(list) = audit.command else { panic!() };
        question(&list, 17)
    }

    #[test]
    fn flags_become_conditions_and_texts_cannot_leave_their_quotes() {
        let sql = asked(&["--kind", "outcome", "--plan", "9c", "--limit", "5", "--since", "-2h"]);
        let rules = "WHERE at_us >= 17 AND kind = 'outcome' AND startsWith(plan, '9c') ORDER BY seq DESC";
        assert!(sql.contains(rules) && sql.contains("LIMIT 5 "), "{sql}");
        let sql = asked(&["--host", "a' OR '1\\"]);
        assert!(sql.contains("concat('agent:', 'a\\' OR \\'1\\\\')"), "{sql}");
    }

    #[test]
    fn a_records_detail_is_opened() {
        let row = serde_json::json!({ "at_us": 1_000_000, "detail": "{\"host\":\"web-1\"}" });
        let row = opened(row);
        assert_eq!((&row["at"], &row["detail"]["host"]), (&"1970-01-01 00:00:01".into(), &"web-1".into()));
    }
}
