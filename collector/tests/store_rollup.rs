//! Roll-ups by SQL equal the collector's own reductions to the byte, for every family of the catalogue.
#![allow(clippy::unwrap_used)]

mod store_support;

use fettle_collector::store::{
    rollup_columns, AgentWindow, Assembler, DirtyWindow, Level, NativeBlock, Piece, Store,
};
use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{decode, verify, Scratch};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use store_support::any_frames::{frames, Numbers};
use store_support::Engine;

/// Inserts the raw rows of frames and gives the windows made of them in memory.
async fn ingest(store: &Store, frames: &[Vec<u8>], token: &str) -> BTreeMap<u32, AgentWindow> {
    let mut windows: BTreeMap<u32, AgentWindow> = BTreeMap::new();
    let mut assembler = Assembler::new(catalogue());
    // Some seconds are kept for detection, older ones are absorbed by their windows at once.
    let first = verify(&frames[0]).unwrap().first_us / 1_000_000;
    assembler.keep_from(first as u32 + 25);
    for (at, batch) in frames.chunks(7).enumerate() {
        let mut scratch = Scratch::default();
        for bytes in batch {
            let frame = decode(bytes, &mut scratch).unwrap();
            assembler.append(&frame);
        }
        let done = assembler.finish();
        for Piece { table, body, .. } in &done.pieces {
            store.insert_block(table, body, &format!("{token}:{table}:{at}")).await.unwrap();
        }
        for ((_, window), partial) in &done.reductions.windows {
            windows.entry(*window).or_default().absorb(partial, catalogue());
        }
        for one in &done.reductions.seconds {
            let window = Level::TenSeconds.window_of(one.second);
            windows.entry(window).or_default().absorb(&one.window, catalogue());
        }
        done.pieces.into_iter().for_each(|piece| assembler.recycle(piece));
    }
    windows
}

async fn dump(store: &Store, table: &str) -> Vec<Value> {
    store
        .select(&format!("SELECT * EXCEPT (version) FROM rollups.`{table}` FINAL ORDER BY ALL"))
        .await
        .unwrap()
}

#[tokio::test]
async fn sql_and_memory_give_the_same_windows() {
    let store = Engine::shared().store("rollups", catalogue()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let start = now / 60 * 60 - 300;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let bytes = frames("web-1", i64::from(start) * 1_000_000, 60, [0, 437_001], &mut numbers);
    let windows = ingest(&store, &bytes, "t").await;
    assert_eq!(windows.len(), 6);

    for (index, family) in catalogue().families.iter().enumerate() {
        let table = format!("{}_10s", family.name);
        let mut block = NativeBlock::new(&rollup_columns(family));
        for (window, share) in &windows {
            share.write(index, family, "web-1", *window, 1, &mut block);
        }
        store.insert_block(&table, &block.finish(), "memory").await.unwrap();
        let memory = dump(&store, &table).await;
        assert_eq!(memory.len(), 6 * if family.entity.is_empty() { 1 } else { 3 }, "{table}");
        let agents = vec![("web-1".to_owned(), 1)];
        let dirty: Vec<DirtyWindow> =
            windows.keys().map(|window| DirtyWindow { window: *window, agents: agents.clone() }).collect();
        store.make_windows(family, Level::TenSeconds, &dirty, 2).await.unwrap();
        let newest = format!("SELECT min(version) AS v FROM rollups.`{table}` FINAL");
        let newest: Vec<Value> = store.select(&newest).await.unwrap();
        assert_eq!(newest[0]["v"], 2, "{table}: made again, replaced");
        let sql = dump(&store, &table).await;
        for (left, right) in memory.iter().zip(&sql) {
            assert_eq!(left, right, "{table}");
        }
        assert_eq!(memory.len(), sql.len());

        // A minute from its 10-second windows is what the raw rows of the minute say.
        store.make_windows(family, Level::Minute, &dirty[..1], 3).await.unwrap();
        let minute = dump(&store, &format!("{}_1m", family.name)).await;
        store.make_windows(family, Level::TenSeconds, &dirty[..1], 4).await.unwrap();
        assert_eq!(dump(&store, &table).await, memory, "{table}: one window alone");
        let metric = &family.metrics[0];
        let (entity, name) = (family.entity.first().map_or("''", |e| e.name.as_str()), &metric.name);
        let raw = format!(
            "SELECT toUInt32(count()) AS samples, min(`{name}`) AS low, max(`{name}`) AS high, \
             argMax(`{name}`, ts) AS last FROM rollups.`{}` GROUP BY {entity} ORDER BY ALL",
            family.name
        );
        let rolled = format!(
            "SELECT samples, `{name}_min` AS low, `{name}_max` AS high, `{name}_last` AS last \
             FROM rollups.`{}_1m` FINAL ORDER BY ALL",
            family.name
        );
        let raw: Vec<Value> = store.select(&raw).await.unwrap();
        let rolled: Vec<Value> = store.select(&rolled).await.unwrap();
        assert_eq!(raw, rolled, "{}", family.name);
        assert_eq!(minute.len(), raw.len());
    }
}
