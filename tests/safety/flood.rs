//! Somebody with one agent's login hands in receipts as fast as the network takes them, while ClickHouse is away. It
//! costs operations neither their lease nor their state's room: most is not taken, a person is called once, and once
//! ClickHouse is back everything that was taken is there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fettle_shared::command::{Action, Outcome, Receipt};
use fettle_tests::mended::{Mended, HOST};
use fettle_tests::wait::{until, when};
use tokio::task::JoinHandle;

use crate::SOON;

/// Receipts handed in each hundredth of a second.
const AT_ONCE: u64 = 7;
/// What a state that is not flooded stays below: what may wait for ClickHouse, and the rest.
const MOST_BYTES: u64 = 12 << 20;

/// A component that is well.
pub fn components(files: &Path) -> String {
    format!(
        "[components.calm]\ncheck = {{ file = \"{}\", oldest = \"26h\" }}\n",
        files.join("agent.toml").display()
    )
}

fn receipt(number: u64) -> Receipt {
    Receipt {
        id: format!("flood-{number}"),
        host: HOST.into(),
        component: "calm".into(),
        action: Action::Restart,
        local: true,
        outcome: Outcome::Succeeded,
        begun_us: 0,
        ended_us: 0,
        // No two the same, so that they cannot be packed into little.
        output: (0..400)
            .map(|at| format!("{:020}", (number * 400 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect(),
        before: BTreeMap::new(),
        because: String::new(),
    }
}

/// Floods until it is aborted.
async fn flood(url: String) {
    let client = async_nats::connect(url).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for round in 0.. {
        tick.tick().await;
        for at in 0..AT_ONCE {
            let payload = serde_json::to_vec(&receipt(round * AT_ONCE + at)).unwrap();
            client.publish(format!("fettle.receipts.{HOST}"), payload.into()).await.unwrap();
        }
    }
}

async fn refused(mended: &Mended) -> u64 {
    let metrics = mended.stack.metrics().await.unwrap_or_default();
    let line = metrics.lines().find_map(|text| text.strip_prefix("fettle_collector_receipts_refused_total "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// See the module.
pub async fn costs_nothing_while_clickhouse_is_away(mended: &mut Mended) {
    mended.sees("calm", true, SOON).await;
    mended.stack.engine.kill();
    let flooding: JoinHandle<()> = tokio::spawn(flood(mended.stack.nats_url()));
    mended.is_told("mending_receipts_too_many", "firing", SOON).await;
    let status = until("as much waits for ClickHouse as may, and the rest is refused", SOON, || async {
        let (status, refused) = (mended.ask("operations").await, refused(mended).await);
        let is_full = status["waiting_for_clickhouse"]["bytes"].is_u64();
        when((is_full, refused, status), |(is_full, refused, _)| *is_full && *refused > 10_000)
    })
    .await
    .2;
    let waiting = &status["waiting_for_clickhouse"];
    assert!(waiting["bytes"].as_u64().unwrap() < MOST_BYTES, "{waiting}");
    assert!(status["receipts_refused"][HOST].as_u64().is_some_and(|count| count > 1_000), "{status}");
    let log = mended.stack.collector.last_words(usize::MAX);
    assert!(!log.contains("operations begin again"), "the lease was lost:\n{log}");

    flooding.abort();
    mended.stack.engine.start();
    mended.stack.healthy(SOON).await;
    let sql = mended.stack.sql();
    let stored = "SELECT uniqExact(id) FROM fettle.actions WHERE id LIKE 'flood-%'";
    let stored = until("what was taken is stored", SOON, || async {
        let waits = !mended.ask("operations").await["waiting_for_clickhouse"].is_null();
        when((waits, sql.number(stored).await.unwrap_or(0)), |(waits, stored)| !waits && *stored > 500)
    })
    .await
    .1;
    assert!(stored < 2_000, "{stored} receipts of 8 KiB were taken");
    until("the audit is whole", SOON, || async { mended.verify_audit() }).await;
    assert_eq!(mended.told("mending_receipts_too_many", "firing").len(), 1, "a person is called once");
}
