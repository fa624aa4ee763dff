//! History from the real engine equals what the collector reduced of the same frames, bit by bit: every
//! family of the catalogue, every type of value, seconds and windows of ten seconds.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/store_support/mod.rs"]
mod store_support;
mod support;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use fettle_analysis::second::RawFamily;
use fettle_collector::store::{AgentWindow, DirtyWindow, Level as StoreLevel};
use fettle_history::{Bounds, Level, Slices, Span};
use fettle_shared::catalogue::{catalogue, EntityType, Metric, ValueType};
use fettle_shared::frame::{FrameBuilder, FrameMeta, Key};
use store_support::Engine;
use support::{ingest, Asker, HOST};

/// A small generator of numbers, the same at every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Any value the column can hold; scaled integers as large as a float column holds exactly.
    fn value(&mut self, metric: &Metric) -> i64 {
        let bits = self.next();
        match metric.value {
            ValueType::U8 => (bits & 0xff) as i64,
            ValueType::U16 => (bits & 0xffff) as i64,
            ValueType::U32 => (bits & 0xffff_ffff) as i64,
            ValueType::U64 | ValueType::I64 => bits as i64,
            ValueType::I32 => i64::from(bits as i32),
            ValueType::F32 => (bits % (1 << 24)) as i64 - (1 << 23),
            ValueType::F64 => (bits % (1 << 41)) as i64 - (1 << 40),
        }
    }
}

/// Frames of an agent, one a second: two scans in every family, in different seconds, three entities each.
fn frames(start_us: i64, seconds: i64, numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let mut builder = FrameBuilder::new(catalogue());
    let mut slots = Vec::new();
    for family in &catalogue().families {
        let count = if family.entity.is_empty() { 1 } else { 3 };
        for entity in 0..count {
            let texts: Vec<String> = family.entity.iter().map(|e| format!("{}-{entity}", e.name)).collect();
            let key: Vec<Key<'_>> = family
                .entity
                .iter()
                .zip(&texts)
                .map(|(e, text)| if e.kind == EntityType::Text { Key::Text(text) } else { Key::Int(entity) })
                .collect();
            slots.push((family, builder.add_entity(family.id, &key)));
        }
        // Every second optional metric is not on this host.
        let present: Vec<bool> =
            family.metrics.iter().enumerate().map(|(at, m)| !m.optional || at % 2 == 0).collect();
        builder.set_present(family.id, &present);
    }
    let mut out = Vec::new();
    for second in 0..seconds {
        for half in [700_000, 1_137_001] {
            for family in &catalogue().families {
                builder.begin_scan(family.id, start_us + second * 1_000_000 + half);
            }
            for (family, slot) in &slots {
                if half > 1_000_000 && numbers.next().is_multiple_of(3) {
                    builder.repeat(family.id, *slot);
                } else {
                    let row: Vec<i64> = family.metrics.iter().map(|m| numbers.value(m)).collect();
                    builder.push(family.id, *slot, &row);
                }
            }
        }
        let mut bytes = Vec::new();
        builder.seal(&FrameMeta { agent: HOST, boot: 1, seq: second as u64 + 1 }, &mut bytes);
        out.push(bytes);
    }
    out
}

/// Families as texts that differ when anything differs; the time of the last sample if it is to be compared.
fn told(families: &[RawFamily<'_>], with_times: bool) -> Vec<String> {
    let mut told = Vec::new();
    for family in families {
        let name = &catalogue().families[family.family].name;
        for entity in &family.entities {
            let time = if with_times { entity.last_us } else { 0 };
            for (cell, metric) in entity.cells.iter().zip(&catalogue().families[family.family].metrics) {
                told.push(format!("{name}.{} {:?} {time} {cell:?}", metric.name, entity.key));
            }
        }
    }
    told
}

fn compare(asker: &Asker, part: (Span, Level), own: &BTreeMap<u32, AgentWindow>, with_times: bool) {
    let mut compared = 0;
    for slice in Slices::new(asker, catalogue(), HOST, vec![part]) {
        slice.unwrap().for_each_second(HOST, |raw| {
            let own = own[&raw.second].families(catalogue());
            let (got, want) = (told(&raw.families, with_times), told(&own, with_times));
            for (got, want) in got.iter().zip(&want) {
                assert_eq!(got, want, "second {}", raw.second);
            }
            assert_eq!(got.len(), want.len(), "second {}", raw.second);
            assert_eq!((raw.host, raw.families.len()), (HOST, catalogue().families.len()));
            compared += 1;
        });
    }
    assert_eq!(compared, own.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_what_the_collector_reduced() {
    let engine = Engine::shared();
    let store = engine.store("history", catalogue()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let start = now / 60 * 60 - 300;
    let frames = frames(i64::from(start) * 1_000_000, 100, &mut Numbers(0x9e37_79b9_7f4a_7c15));
    let seconds = ingest(&store, &frames).await;
    assert_eq!(seconds.len(), 101, "the last scan is in a second of its own");

    let windows: Vec<u32> = (start..=start + 100).step_by(10).collect();
    let agents = vec![(HOST.to_owned(), 1)];
    let dirty: Vec<DirtyWindow> =
        windows.iter().map(|window| DirtyWindow { window: *window, agents: agents.clone() }).collect();
    for family in &catalogue().families {
        store.make_windows(family, StoreLevel::TenSeconds, &dirty, 2).await.unwrap();
    }
    let asker = Asker::new(&engine.settings("history").url, "history");
    tokio::task::spawn_blocking(move || {
        let bounds = Bounds::ask(&asker, catalogue()).unwrap();
        let all = Span { from: start, until: start + 110 };
        assert_eq!((bounds.all, bounds.raw_from), (all, start));
        let parts = bounds.parts(Span { from: 0, until: u32::MAX });
        assert_eq!(parts, [(all, Level::Second)]);
        assert_eq!(Bounds::hosts(&asker, catalogue(), all).unwrap(), [HOST]);
        compare(&asker, parts[0], &seconds, true);

        // A window of ten seconds stands for its last second.
        let mut rolled: BTreeMap<u32, AgentWindow> = BTreeMap::new();
        for (second, window) in &seconds {
            rolled.entry(second / 10 * 10 + 9).or_default().absorb(window, catalogue());
        }
        compare(&asker, (all, Level::TenSeconds), &rolled, false);
    })
    .await
    .unwrap();
}
