//! The tables of operations against the real engine: rows as JSON objects, each stored once.
#![allow(clippy::unwrap_used)]

mod store_support;

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
