//! The store against the real engine: migrations, tokens, the books, roll-ups, the long view.
#![allow(clippy::unwrap_used)]

mod store_support;

use fettle_collector::store::{
    raw_columns, Agents, FrameEntry, Intent, LedgerRow, LedgerStatus, Level, NativeBlock, RollupEntry, Store,
    StoreError, Ttl,
};
use fettle_shared::catalogue::{catalogue, Catalogue};
use fettle_shared::subjects::partition_of;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store_support::Engine;

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn frame(agent: &str, boot: u64, seq: u64, first_us: i64) -> FrameEntry {
    FrameEntry { agent: agent.into(), boot, seq, rows: 2, samples: 68, first_us, last_us: first_us + 900_000 }
}

fn stored(frame: FrameEntry, batch: u64) -> LedgerRow {
    LedgerRow { frame, status: LedgerStatus::Stored, partition: 0, batch }
}

async fn ask(store: &Store, sql: &str) -> Vec<Value> {
    store.select(sql).await.unwrap()
}

const ONE: &str = r#"
id = 1
name = "disk"
help = "Disks."
source = "s"
pace = "fast"
priority = 1
[[entity]]
name = "device"
type = "text"
help = "h"
[[metric]]
id = 1
name = "read_bytes"
unit = "bytes"
kind = "counter"
type = "u64"
since = 1
help = "It's read."
"#;

const SECOND_METRIC: &str = r#"
[[metric]]
id = 2
name = "busy_ratio"
unit = "ratio"
kind = "gauge"
type = "f32"
scale = 0.01
optional = true
since = 2
help = "h"
"#;

fn made_up(text: &str) -> &'static Catalogue {
    Box::leak(Box::new(Catalogue::parse(&[("disk", text)]).unwrap()))
}

#[tokio::test]
async fn the_schema_is_made_once_and_grows() {
    let engine = Engine::shared();
    let first = engine.store("grows", made_up(ONE)).await;
    first.migrate().await.unwrap();
    let (again, at_once) = tokio::join!(first.migrate(), first.migrate());
    again.unwrap();
    at_once.unwrap();

    let two = format!("{ONE}{SECOND_METRIC}");
    let second = engine.store("grows", made_up(&two)).await;
    let types =
        "SELECT table, name, type FROM system.columns WHERE database = 'grows' AND name LIKE 'busy%' \
                 AND table IN ('disk', 'disk_1h') ORDER BY table, name";
    let types = ask(&second, types).await;
    let names: Vec<&str> = types.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "busy_ratio",
            "busy_ratio_count",
            "busy_ratio_last",
            "busy_ratio_max",
            "busy_ratio_min",
            "busy_ratio_sum"
        ]
    );
    assert_eq!(types[0]["type"], "Nullable(Float32)");

    let older = first.migrate().await.unwrap_err();
    assert!(matches!(older, StoreError::Newer { .. }), "{older}");
    assert!(older.to_string().contains("start a newer fettle"), "{older}");

    let changed = made_up(Box::leak(two.replace("\"u64\"", "\"i64\"").into_boxed_str()));
    let refused = Store::connect(engine.settings("grows"), changed).unwrap().migrate().await.unwrap_err();
    assert!(matches!(&refused, StoreError::Column { column, .. } if column == "read_bytes"), "{refused}");
}

#[tokio::test]
async fn ttl_follows_the_configuration() {
    let engine = Engine::shared();
    let family = made_up(ONE);
    engine.store("ttl", family).await;
    let mut settings = engine.settings("ttl");
    settings.ttl = Ttl { raw: Duration::from_secs(7200), ..Ttl::default() };
    let store = Store::connect(settings, family).unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let engine_of = "SELECT engine_full AS e FROM system.tables WHERE database = 'ttl' AND name = 'disk'";
    let text = ask(&store, engine_of).await[0]["e"].as_str().unwrap().to_owned();
    assert!(text.contains("TTL toDateTime(ts) + toIntervalSecond(7200)"), "{text}");
}

#[tokio::test]
async fn a_token_is_taken_once_even_over_partitions() {
    let catalogue = made_up(ONE);
    let store = Engine::shared().store("tokens", catalogue).await;
    let family = &catalogue.families[0];
    let mut block = NativeBlock::new(&raw_columns(family));
    let now = now_us();
    // Rows six hours apart lie in different partitions of the table.
    for ts in [now, now - 6 * 3_600_000_000] {
        block.column(0).fill_text("web-1", 1);
        block.column(1).fill(ts, 1);
        block.column(2).fill_text("sda", 1);
        block.column(3).fill(-1, 1);
    }
    let body = block.finish();
    for token in ["disk:0:1", "disk:0:1", "disk:0:2", "disk:0:1"] {
        store.insert_block("disk", &body, token).await.unwrap();
    }
    let rows = ask(&store, "SELECT count() AS n, max(read_bytes) AS top FROM tokens.disk").await;
    assert_eq!((rows[0]["n"].as_u64(), rows[0]["top"].as_u64()), (Some(4), Some(u64::MAX)));
    let unknown = store.insert_block("nothing", &body, "t").await.unwrap_err();
    assert!(matches!(unknown, StoreError::Refused { code: 60, .. }), "{unknown}");
}

#[tokio::test]
async fn intents_and_watermarks_survive_in_the_books() {
    let store = Engine::shared().store("books", made_up(ONE)).await;
    let now = now_us();
    assert_eq!(store.last_intent(3).await.unwrap(), None);
    let frames: Vec<FrameEntry> = (1..=300).map(|seq| frame("web-1", 7, seq, now)).collect();
    let mut intent = Intent {
        partition: 3,
        number: 9,
        fence: 2,
        created_us: now,
        cut_rows: 9,
        attempt: 0,
        frames,
        lost: Vec::new(),
    };
    store.write_intent(&Intent { number: 8, frames: Vec::new(), ..intent.clone() }).await.unwrap();
    store.write_intent(&intent).await.unwrap();
    store.write_intent(&intent).await.unwrap();
    assert_eq!(store.last_intent(3).await.unwrap().as_ref(), Some(&intent));
    let rows = ask(&store, "SELECT count() AS n FROM books.batches").await;
    assert_eq!(rows[0]["n"], 2, "an intent written again is one intent");

    assert!(!store.ledger_batch_complete(&intent).await.unwrap());
    let row = |f: &FrameEntry| LedgerRow { partition: 3, ..stored(f.clone(), 9) };
    let rows: Vec<LedgerRow> = intent.frames.iter().map(row).collect();
    store.write_ledger(&rows[..200], &intent.token("ledger", 1)).await.unwrap();
    assert!(!store.ledger_batch_complete(&intent).await.unwrap());
    store.write_ledger(&rows[200..], &intent.token("ledger", 0)).await.unwrap();
    store.write_ledger(&rows[200..], &intent.token("ledger", 0)).await.unwrap();
    assert!(store.ledger_batch_complete(&intent).await.unwrap());

    let lost = intent.frames.split_off(200);
    let again = Intent { attempt: 1, created_us: now + 1, lost, ..intent.clone() };
    store.write_intent(&again).await.unwrap();
    assert_eq!(store.last_intent(3).await.unwrap(), Some(again), "the last attempt counts");

    intent.frames = [2, 3, 5, 8, 9].map(|seq| frame("web-2", 1, seq, now)).to_vec();
    let rows: Vec<LedgerRow> = intent.frames.iter().map(row).collect();
    store.write_ledger(&rows, "x").await.unwrap();
    let marks = store.watermarks(Agents::All).await.unwrap();
    let brief: Vec<_> = marks.iter().map(|m| (m.agent.as_str(), m.upto, m.above.clone())).collect();
    assert_eq!(brief, [("web-1", 300, vec![]), ("web-2", 0, vec![(2, 3), (5, 5), (8, 9)])]);

    let index = partition_of("web-2", 5);
    let named = store.newest_samples(Agents::Partition { index, count: 5 }).await.unwrap();
    let expected = partition_of("web-1", 5) == index;
    assert_eq!(named.len(), 1 + usize::from(expected), "ClickHouse spreads agents as NATS does");
    assert!(named.contains(&("web-2".into(), now + 900_000)));
}

#[tokio::test]
async fn gaps_and_doubles_are_listed_and_nothing_else() {
    let store = Engine::shared().store("gaps", made_up(ONE)).await;
    let now = now_us();
    let gaps = "SELECT agent, kind, first_seq, last_seq, count FROM gaps.ledger_gaps ORDER BY agent, first_seq, kind";
    assert!(ask(&store, gaps).await.is_empty());
    let mut rows: Vec<LedgerRow> =
        (1..=5000).map(|seq| stored(frame("whole", 1, seq, now + seq as i64), 1)).collect();
    rows.extend([1, 2, 5, 6, 6, 9].map(|seq| stored(frame("holed", 1, seq, now), 1)));
    rows.extend([4, 5].map(|seq| stored(frame("late", 1, seq, now), 1)));
    rows.push(stored(frame("mixed", 1, 1, now), 1));
    for (seq, status) in [(2, LedgerStatus::Dropped), (3, LedgerStatus::Quarantined)] {
        rows.push(LedgerRow { status, ..stored(frame("mixed", 1, seq, now), 1) });
    }
    store.write_ledger(&rows, "a").await.unwrap();
    let found: Vec<String> = ask(&store, gaps)
        .await
        .iter()
        .map(|r| {
            let text = |key: &str| r[key].as_str().unwrap().to_owned();
            format!("{} {} {}-{} {}", text("agent"), text("kind"), r["first_seq"], r["last_seq"], r["count"])
        })
        .collect();
    assert_eq!(
        found,
        ["holed missing 3-4 2", "holed double 6-6 1", "holed missing 7-8 2", "late missing 1-3 3"]
    );
    // The oldest day kept: what was before it may have gone with the TTL and is no gap.
    let trimmed = "INSERT INTO gaps.ledger (agent, boot, seq, status, first, last, day) SELECT 'trimmed', 1, \
                   number + 500, 'stored', now64(6), now64(6), toDate(now() - toIntervalDay(30)) + 1 + number \
                   FROM numbers(3)";
    ask(&store, trimmed).await;
    assert!(ask(&store, &gaps.replace("ORDER", "WHERE agent = 'trimmed' ORDER")).await.is_empty());
    let drops = ask(&store, "SELECT agent, frames, samples_dropped FROM gaps.ledger_drops").await;
    assert_eq!((drops.len(), drops[0]["samples_dropped"].as_u64()), (1, Some(68)));
}

#[tokio::test]
async fn abandoned_frames_leave_no_rows() {
    let catalogue = made_up(ONE);
    let store = Engine::shared().store("abandoned", catalogue).await;
    let now = now_us();
    let mut block = NativeBlock::new(&raw_columns(&catalogue.families[0]));
    for host in ["a", "b"] {
        for second in 0..3 {
            block.column(0).fill_text(host, 1);
            block.column(1).fill(now + second * 1_000_000, 1);
            block.column(2).fill_text("sda", 1);
            block.column(3).fill(second, 1);
        }
    }
    store.insert_block("disk", &block.finish(), "t").await.unwrap();
    store.delete_frames(&[frame("a", 1, 2, now + 1_000_000)]).await.unwrap();
    let left = ask(&store, "SELECT host, groupArray(read_bytes) AS v FROM (SELECT * FROM abandoned.disk ORDER BY ts) GROUP BY host ORDER BY host").await;
    assert_eq!((left[0]["v"].to_string(), left[1]["v"].to_string()), ("[0,2]".into(), "[0,1,2]".into()));
}

#[tokio::test]
async fn windows_are_dirty_until_they_are_logged() {
    let store = Engine::shared().store("dirty", made_up(ONE)).await;
    let hour = (now_us() / 1_000_000) as u32 / 3600 * 3600 - 7200;
    let us = |second: u32| i64::from(hour + second) * 1_000_000;
    let mut rows = vec![stored(frame("a", 1, 1, us(5)), 10), stored(frame("b", 1, 1, us(5)), 11)];
    // A frame over the edge of two windows, and one in another minute.
    rows.push(stored(FrameEntry { last_us: us(20), ..frame("a", 1, 2, us(19)) }, 12));
    rows.push(stored(frame("a", 1, 3, us(65)), 13));
    store.write_ledger(&rows, "a").await.unwrap();
    let dirty = |level, until| store.dirty_windows(level, 0, hour, hour + until);
    let found = dirty(Level::TenSeconds, 3600).await.unwrap();
    let brief: Vec<(u32, usize)> = found.iter().map(|w| (w.window - hour, w.agents.len())).collect();
    assert_eq!(brief, [(0, 2), (10, 1), (20, 1), (60, 1)]);
    assert_eq!(dirty(Level::TenSeconds, 20).await.unwrap().len(), 2, "only windows that end in time");

    let log = |level, second: u32, version, agents: &[(&str, u64)]| RollupEntry {
        level,
        partition: 0,
        window: hour + second,
        version,
        agents: agents.iter().map(|(name, batch)| ((*name).to_owned(), *batch)).collect(),
    };
    let ten = Level::TenSeconds;
    let made = [
        log(ten, 0, 100, &[("a", 10), ("b", 11)]),
        log(ten, 10, 100, &[("a", 12)]),
        log(ten, 20, 100, &[("a", 11)]),
        log(ten, 60, 101, &[("a", 13)]),
    ];
    store.log_rollups(&made).await.unwrap();
    let found = dirty(ten, 3600).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].window - hour, found[0].agents.clone()), (20, vec![("a".to_owned(), 12)]));

    let minutes = dirty(Level::Minute, 120).await.unwrap();
    assert_eq!(minutes.iter().map(|w| w.window - hour).collect::<Vec<_>>(), [0, 60]);
    assert!(dirty(Level::Hour, 3600).await.unwrap().is_empty());
    store.log_rollup(&log(Level::Minute, 0, 102, &[("a", 12), ("b", 11)])).await.unwrap();
    store.log_rollup(&log(Level::Minute, 60, 102, &[("a", 13)])).await.unwrap();
    assert!(dirty(Level::Minute, 120).await.unwrap().is_empty());
    // A share that is made later dirties the minute, though its batch is not the newest there.
    store.log_rollup(&log(ten, 20, 103, &[("a", 12)])).await.unwrap();
    let minutes = dirty(Level::Minute, 120).await.unwrap();
    assert_eq!((minutes.len(), minutes[0].window - hour), (1, 0));
    assert_eq!(dirty(Level::Hour, 3600).await.unwrap().len(), 1);
    assert_eq!(store.newest_version(0).await.unwrap(), 103);
}

#[tokio::test]
async fn the_long_view_reads_one_family_alone() {
    let store = Engine::shared().store("longview", catalogue()).await;
    let family = catalogue().family("process").unwrap();
    let mut block = NativeBlock::new(&raw_columns(family));
    block.column(0).fill_text("web-1", 1);
    block.column(1).fill(now_us() - 1_000_000, 1);
    block.column(2).fill(1, 1);
    block.column(3).fill(77, 1);
    block.column(4).fill_text("init", 1);
    for at in 0..family.metrics.len() {
        block.column(5 + at).fill(at as i64, 1);
    }
    store.insert_block("process", &block.finish(), "t").await.unwrap();
    let question = "SELECT host, entity['pid'] AS pid, entity['comm'] AS comm, value FROM longview.metrics \
                    WHERE family = 'process' AND metric = 'rss_bytes' AND ts > now() - 3600";
    let rows = ask(&store, question).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0]["pid"].as_str(), rows[0]["comm"].as_str()), (Some("1"), Some("init")));
    assert_eq!(rows[0]["value"].as_f64(), family.metric_index("rss_bytes").map(|at| at as f64));
    let plan = ask(&store, &format!("SELECT explain FROM (EXPLAIN {question})")).await;
    let plan: Vec<&str> = plan.iter().map(|row| row["explain"].as_str().unwrap()).collect();
    let read: Vec<&&str> = plan.iter().filter(|line| line.contains("ReadFromMergeTree")).collect();
    assert_eq!(read.len(), 1, "{}", plan.join("\n"));
}
