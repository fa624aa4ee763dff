//! Findings against the real engine: written, written again, asked for.
#![allow(clippy::unwrap_used)]

mod store_support;

use fettle_analysis::detect::series::Severity;
use fettle_analysis::health::{score, HostFacts};
use fettle_analysis::live::{AnomalyKind, AnomalyRow, HealthRow, Named};
use fettle_collector::handoff::{FindingsQuery, ReadFindings};
use fettle_collector::store::Store;
use fettle_shared::catalogue::catalogue;
use std::time::{SystemTime, UNIX_EPOCH};
use store_support::Engine;

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn row(host: &str, at_us: i64, severity: Severity) -> AnomalyRow {
    AnomalyRow {
        at_us,
        host: host.into(),
        kind: AnomalyKind::Series,
        family: "disk".into(),
        metric: "write_bytes".into(),
        entity: [("device".to_owned(), "it's \"sda\"".to_owned())].into(),
        value: Some(12.5),
        low: Some(1.0),
        high: None,
        score: 0.75,
        tail: 1e-5,
        severity,
        reason: "spike to 12.5,\n4 σ above".into(),
        names: vec![Named { name: "disk.writes".into(), share: 1.0, seen: 12.5, expected: 2.0 }],
        incident: format!("{host}-1"),
    }
}

fn all() -> FindingsQuery {
    FindingsQuery { host: None, from_us: None, to_us: None, severity: None, limit: 100 }
}

async fn asked(store: &Store, query: FindingsQuery) -> Vec<serde_json::Value> {
    ReadFindings::anomalies(store, query).await.unwrap()
}

#[tokio::test]
async fn anomalies_are_found_again_and_a_repeat_replaces() {
    let store = Engine::shared().store("findings", catalogue()).await;
    let now = now_us();
    let rows = [
        row("a", now, Severity::High),
        row("b", now - 5, Severity::Low),
        row("a", now - 9, Severity::Medium),
    ];
    store.insert_anomalies(&rows, now).await.unwrap();
    store.insert_anomalies(&rows[..1], now + 1).await.unwrap();
    let found = asked(&store, all()).await;
    assert_eq!(found.len(), 3, "{found:?}");
    let newest = &found[0];
    assert_eq!(newest["entity"]["device"], "it's \"sda\"");
    assert_eq!(newest["series"], "disk.write_bytes{device=it's \"sda\"}");
    assert_eq!((newest["value"].as_f64(), newest["low"].as_f64()), (Some(12.5), Some(1.0)));
    assert!(newest["high"].is_null());
    assert_eq!(newest["severity"], "high");
    assert_eq!(newest["reason"], "spike to 12.5,\n4 σ above");
    assert_eq!(newest["attribution"][0]["name"], "disk.writes");
    let host = Some("a".to_owned());
    assert_eq!(asked(&store, FindingsQuery { host: host.clone(), ..all() }).await.len(), 2);
    assert_eq!(asked(&store, FindingsQuery { severity: Some("high"), ..all() }).await.len(), 1);
    assert_eq!(asked(&store, FindingsQuery { from_us: Some(now - 5), ..all() }).await.len(), 2);
    assert_eq!(asked(&store, FindingsQuery { to_us: Some(now), ..all() }).await.len(), 2);
    assert_eq!(asked(&store, FindingsQuery { limit: 1, ..all() }).await.len(), 1);
    let other = FindingsQuery { host: Some("x' OR 1=1 --".into()), ..all() };
    assert_eq!(asked(&store, other).await.len(), 0);
}

#[tokio::test]
async fn the_newest_health_of_each_host_counts() {
    let store = Engine::shared().store("findings_health", catalogue()).await;
    let now = now_us();
    let facts = |busy| HostFacts {
        cpu_busy_share: Some(busy),
        run_queue_per_cpu: Some(0.5),
        memory_available_share: Some(0.9),
        psi_memory_some_share: Some(0.0),
        disk_fullest_share: Some(0.5),
        inode_fullest_share: Some(0.1),
        ..HostFacts::default()
    };
    let row = |host: &str, at_us, busy| HealthRow { at_us, host: host.into(), health: score(&facts(busy)) };
    let rows = [row("a", now - 20_000_000, 0.1), row("a", now, 1.0), row("b", now, 0.1)];
    store.insert_health(&rows, now).await.unwrap();
    let both = store.health(None).await.unwrap();
    assert_eq!(both.len(), 2, "{both:?}");
    let one = store.health(Some("a".into())).await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["score"].as_f64(), serde_json::json!(rows[1].health.score).as_f64(), "{one:?}");
    assert_eq!(one[0]["deductions"][0]["fact"], "cpu_busy_share", "{one:?}");
    assert_eq!(one[0]["words"], rows[1].health.words(), "{one:?}");
}

#[tokio::test]
async fn a_table_of_another_part_is_read_with_the_columns_it_has_and_may_be_missing() {
    let store = Engine::shared().store("findings_other", catalogue()).await;
    assert_eq!(store.rows("no_such_table", all()).await.unwrap().len(), 0);
    // Any table will do: the ledger has no host, health has.
    let host = Some("nobody".to_owned());
    assert_eq!(store.rows("ledger", FindingsQuery { host: host.clone(), ..all() }).await.unwrap().len(), 0);
    let rows = [HealthRow { at_us: now_us(), host: "a".into(), health: score(&HostFacts::default()) }];
    store.insert_health(&rows, now_us()).await.unwrap();
    assert_eq!(store.rows("health", FindingsQuery { host, ..all() }).await.unwrap().len(), 0);
    let found = store.rows("health", all()).await.unwrap();
    assert_eq!((found.len(), &found[0]["grade"]), (1, &"Unknown".into()));
}
