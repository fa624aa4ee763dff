//! Where the engine's CPU goes: by the names of its threads, and by ClickHouse's own counters. Not an
//! aim, but what to look at when an aim is missed.

use std::collections::BTreeMap;

use crate::ingest::Path;
use crate::report::{number, Table};
use crate::usage::threads;

/// Counters of `system.events` worth reading, with what they are called in the table.
const EVENTS: [(&str, &str); 12] = [
    ("InsertQuery", "inserts"),
    ("InsertQueryTimeMicroseconds", "time in inserts, µs"),
    ("InsertedRows", "rows inserted"),
    ("SelectQuery", "selects"),
    ("SelectQueryTimeMicroseconds", "time in selects, µs"),
    ("OtherQueryTimeMicroseconds", "time in other statements, µs"),
    ("Merge", "merges"),
    ("MergeExecuteMilliseconds", "time in merges, ms"),
    ("MergeSourceParts", "parts merged"),
    ("MergedRows", "rows merged"),
    ("MergedUncompressedBytes", "bytes merged, uncompressed"),
    ("FileSyncElapsedMicroseconds", "time in fsync, µs"),
];

/// What the engine had done by some moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Insight {
    threads: BTreeMap<String, f64>,
    events: BTreeMap<String, f64>,
}

impl Insight {
    /// Looks now.
    pub(crate) async fn of(path: &Path) -> anyhow::Result<Self> {
        let mut events = BTreeMap::new();
        for row in path.sql.rows("SELECT event, value FROM system.events").await? {
            if let [event, value] = row.as_slice() {
                events.insert(event.clone(), value.parse().unwrap_or(0.0));
            }
        }
        Ok(Self { threads: threads(path.clickhouse.child.pid()), events })
    }

    /// What was done since `before`.
    pub(crate) fn table(&self, before: &Self) -> Table {
        let mut table = Table::new("Where the engine's CPU goes", &["what", "how much"]);
        let since = |now: &BTreeMap<String, f64>, then: &BTreeMap<String, f64>, name: &str| {
            now.get(name).unwrap_or(&0.0) - then.get(name).unwrap_or(&0.0)
        };
        let mut threads: Vec<(f64, &String)> =
            self.threads.keys().map(|name| (since(&self.threads, &before.threads, name), name)).collect();
        threads.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (cpu_s, name) in threads.iter().filter(|(cpu_s, _)| *cpu_s > 0.0).take(8) {
            table.row(&[&format!("threads `{name}`, CPU s"), &number(*cpu_s)]);
        }
        for (event, name) in EVENTS {
            table.row(&[name, &number(since(&self.events, &before.events, event))]);
        }
        table
    }
}
