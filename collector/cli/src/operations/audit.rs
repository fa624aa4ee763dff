//! `fettle audit verify`: reads the chain from ClickHouse and checks every hash, and that it reaches as far as
//! the collector remembers.

use std::time::Duration;

use fettle_decide::audit::{AuditRecord, Head, Verifier};
use serde_json::Value;

use super::arguments::Collector;
use super::client::{Operations, OperationsError};
use crate::arguments::Server;
use crate::output;
use crate::sql::Client;

/// Records read at once.
const AT_ONCE: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(60);

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
