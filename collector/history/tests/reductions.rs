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
use fettle_history::{Bounds, Level, Slices, Span, Stored};
use fettle_shared::catalogue::catalogue;
use store_support::any_frames::{frames, Numbers};
use store_support::Engine;
use support::{ingest, Asker, HOST};

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
    let stored = Stored::ask(asker, catalogue()).unwrap();
    for slice in Slices::new(asker, catalogue(), &stored, HOST, vec![part]) {
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
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    // Each frame has scans of two seconds.
    let frames = frames(HOST, i64::from(start) * 1_000_000, 100, [700_000, 1_137_001], &mut numbers);
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
        let stored = Stored::ask(&asker, catalogue()).unwrap();
        let bounds = Bounds::ask(&asker, catalogue(), &stored).unwrap();
        let all = Span { from: start, until: start + 110 };
        assert_eq!((bounds.all, bounds.raw_from), (all, start));
        let parts = bounds.parts(Span { from: 0, until: u32::MAX });
        assert_eq!(parts, [(all, Level::Second)]);
        assert_eq!(Bounds::hosts(&asker, catalogue(), &stored, all).unwrap(), [HOST]);
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
