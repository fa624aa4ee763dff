//! The tables of operations against the real engine: rows as JSON objects, each stored once.
#![allow(clippy::unwrap_used)]

mod store_support;

use fettle_decide::audit::{Entry, Head};
use fettle_shared::catalogue::catalogue;
use serde_json::{json, Value};
use store_support::Engine;

#[tokio::test]
async fn rows_of_operations_are_stored_once() {
    let store = Engine::shared().store("operations", catalogue()).await;
    let at = "2026-11-22 07:00:01.000002";
    let rows = [
        ("alerts", json!({"ts": at, "id": "00ff", "rule": "disk", "labels": {"host": "a", "odd": "'\"\n"}})),
        ("notifications", json!({"ts": at, "id": "n1", "group": "host=a", "alerts": 3, "decided": at})),
        ("actions", json!({"ts": at, "id": "o1", "host": "a", "begun": at, "local": 1})),
        ("audit", json!({"ts": at, "seq": 1, "detail": "{\"a\":1}", "at_us": 1_795_330_801_000_002i64})),
    ];
    for (table, row) in &rows {
        for _ in 0..2 {
            store.insert_rows(table, std::slice::from_ref(row), "once").await.unwrap();
        }
        let found: Vec<Value> = store.select(&format!("SELECT * FROM operations.{table}")).await.unwrap();
        assert_eq!(found.len(), 1, "{table}");
        for (name, value) in row.as_object().unwrap() {
            assert_eq!(&found[0][name], value, "{table}.{name}");
        }
    }
}

#[tokio::test]
async fn the_end_of_the_audit_and_the_freeze_in_force_are_found() {
    let store = Engine::shared().store("audit_end", catalogue()).await;
    assert_eq!(store.audit_end().await.unwrap(), None);
    let mut head = Head::default();
    let said = |kind: &'static str, what: &str| Entry {
        kind,
        who: "ann".to_owned(),
        what: what.to_owned(),
        ..Entry::default()
    };
    let mut write = async |kind, at_us: i64| {
        let record = head.append(at_us, said(kind, "it's so"));
        let row = json!({
            "seq": record.seq, "ts": "2026-11-22 07:00:01", "kind": record.kind, "who": record.who,
            "what": record.what, "at_us": record.at_us, "prev_hash": record.prev_hash, "hash": record.hash,
        });
        store.insert_rows("audit", &[row], &format!("audit:{}", record.seq)).await.unwrap();
        head.clone()
    };
    write("frozen", 1).await;
    write("thawed", 2).await;
    let newest = write("gave_up", 3).await;
    assert_eq!(store.audit_end().await.unwrap(), Some((newest, None)));
    let newest = write("frozen", 4).await;
    let (end, freeze) = store.audit_end().await.unwrap().unwrap();
    assert_eq!(end, newest);
    assert_eq!(freeze.map(|one| (one.who, one.at_us)), Some(("ann".to_owned(), 4)));
}
