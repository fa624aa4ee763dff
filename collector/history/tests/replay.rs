//! A replay from the real engine finds what the live watch found in the same samples, row by row, and what
//! it finds does not depend on what comes later.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/store_support/mod.rs"]
mod store_support;
mod support;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use fettle_analysis::detect::series::{PanelConfig, SeriesConfig};
use fettle_analysis::live::{AnomalyKind, AnomalyRow, HostWatch, LiveConfig, Plan};
use fettle_analysis::second::{RawCell, RawSecond};
use fettle_collector::store::{AgentWindow, DirtyWindow, Level as StoreLevel};
use fettle_history::{replay, Ask, Bounds, Job, Level, Slices, Span, Stored};
use fettle_shared::catalogue::{catalogue, MetricKind};
use fettle_shared::frame::{FrameBuilder, FrameMeta, Key};
use store_support::Engine;
use support::{ingest, Asker, HOST};

const SECONDS: u32 = 400;
/// Seconds in which the host is in trouble.
const FAULTS: [std::ops::Range<u32>; 2] = [180..210, 320..350];
const FAMILIES: [&str; 5] = ["cpu", "load", "memory", "vm", "disk"];

/// Frames of a host that is quiet but for its faults: two scans a second, values that sway a little.
fn frames(start: u32) -> Vec<Vec<u8>> {
    let mut builder = FrameBuilder::new(catalogue());
    let families: Vec<_> = FAMILIES.iter().map(|name| catalogue().family(name).unwrap()).collect();
    let keys = [Key::Text("all")];
    let slots: Vec<_> = families.iter().map(|f| builder.add_entity(f.id, &keys[..f.entity.len()])).collect();
    for family in &families {
        builder.set_present(family.id, &vec![true; family.metrics.len()]);
    }
    let mut random = 88_172_645_463_325_252u64;
    let mut noise = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % 200) as i64
    };
    let mut counters = vec![vec![0i64; 600]; families.len()];
    let mut out = Vec::new();
    for second in 0..SECONDS {
        let trouble = FAULTS.iter().any(|fault| fault.contains(&second));
        for half in [0, 500_000] {
            for (at, family) in families.iter().enumerate() {
                builder.begin_scan(family.id, (i64::from(start) + i64::from(second)) * 1_000_000 + half);
                let row: Vec<i64> = family
                    .metrics
                    .iter()
                    .enumerate()
                    .map(|(metric, of)| {
                        let value = 1_000 + noise() + if trouble && metric % 3 == 0 { 4_000 } else { 0 };
                        let total = &mut counters[at][metric];
                        *total += value;
                        if of.kind == MetricKind::Counter {
                            *total
                        } else {
                            value
                        }
                    })
                    .collect();
                builder.push(family.id, slots[at], &row);
            }
        }
        let mut bytes = Vec::new();
        builder.seal(&FrameMeta { agent: HOST, boot: 1, seq: u64::from(second) + 1 }, &mut bytes);
        out.push(bytes);
    }
    out
}

/// Detectors that learn in two minutes what those that are shipped take a quarter of an hour for.
fn quick() -> LiveConfig {
    let shipped = LiveConfig::default();
    LiveConfig {
        series: SeriesConfig { learning_points: 30, ..shipped.series },
        panel: PanelConfig { learning_s: 100, calm_s: 20.0, ..shipped.panel },
        calm_s: 20,
        ..shipped
    }
}

/// What the collector finds while the seconds are live.
fn live(seconds: &BTreeMap<u32, AgentWindow>, plan: &Plan) -> Vec<AnomalyRow> {
    let mut watch = HostWatch::new(HOST, plan);
    let mut found = Vec::new();
    for (second, window) in seconds {
        let raw = RawSecond { host: HOST, second: *second, families: window.families(catalogue()) };
        let reduced = watch.reduce(&raw, plan);
        found.extend(watch.second(&reduced, plan).anomalies);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_finds_what_was_found_live_and_knows_nothing_of_the_future() {
    let engine = Engine::shared();
    let store = engine.store("replay", catalogue()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let start = now / 60 * 60 - 2 * SECONDS;
    let seconds = ingest(&store, &frames(start)).await;
    let plan = Plan::new(catalogue(), quick());
    let live = live(&seconds, &plan);
    let in_fault = |fault: &std::ops::Range<u32>| {
        let found = live.iter().filter(|row| {
            let second = (row.at_us / 1_000_000) as u32 - 1 - start;
            fault.contains(&second)
        });
        found.count()
    };
    assert!(FAULTS.iter().all(|fault| in_fault(fault) > 0), "both faults are found: {live:#?}");
    for kind in [AnomalyKind::Series, AnomalyKind::Together] {
        assert!(live.iter().any(|row| row.kind == kind), "no {kind:?}: {live:#?}");
    }

    let asker = Asker::new(&engine.settings("replay").url, "replay");
    tokio::task::spawn_blocking(move || {
        let compiled = || {
            let sql = "SELECT sum(value) FROM system.events WHERE event = 'CompileFunction' FORMAT CSV";
            String::from_utf8(asker.ask(sql, 100).unwrap()).unwrap()
        };
        let before = compiled();
        let stored = Stored::ask(&asker, catalogue()).unwrap();
        let bounds = Bounds::ask(&asker, catalogue(), &stored).unwrap();
        assert_eq!(bounds.all, Span { from: start, until: start + SECONDS });
        let run = |until: u32, report_from: u32| {
            let parts = bounds.parts(Span { from: start, until });
            let job = Job { host: HOST, stored: &stored, parts, report_from };
            replay(&asker, &job, &plan, &|_| ()).unwrap()
        };
        let whole = run(start + SECONDS, start);
        assert_eq!((whole.seconds, whole.rolled_seconds, whole.empty_seconds), (u64::from(SECONDS), 0, 0));
        assert_eq!(whole.anomalies, live, "the same findings, in the same words");
        assert!(whole.claims.points() > 100_000, "{:?}", whole.claims);

        // Cut at 60 %: the same as far as it goes.
        let cut = start + SECONDS * 6 / 10;
        let part = run(cut, start);
        let common: Vec<AnomalyRow> =
            live.iter().filter(|row| row.at_us <= i64::from(cut) * 1_000_000).cloned().collect();
        assert!(!common.is_empty() && common.len() < live.len());
        assert_eq!(part.anomalies, common);

        // What is found while learning is not told.
        let late = run(start + SECONDS, cut);
        assert_eq!(late.anomalies, live[common.len()..]);
        assert_eq!(late.seconds, u64::from(start + SECONDS - cut));

        // Nothing is asked of families that the host has not, and no question is compiled to machine code.
        let slices = 3 + 2 + 3;
        assert_eq!(
            asker.asked(),
            3 + 3 + slices * FAMILIES.len(),
            "the columns, the bounds, the families, their slices"
        );
        assert_eq!(compiled(), before);
    })
    .await
    .unwrap();
}

/// Tables as a collector of an earlier version left them: without a column, without a family.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_left_is_replayed_without_what_it_lacks() {
    let engine = Engine::shared();
    let store = engine.store("older", catalogue()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let start = now / 60 * 60 - 2 * SECONDS;
    let seconds = ingest(&store, &frames(start)).await;
    let (_, load) = catalogue().families.iter().enumerate().find(|(_, one)| one.name == "load").unwrap();
    let gone = load.metrics[0].name.clone();
    let agents = vec![(HOST.to_owned(), 1)];
    let dirty: Vec<DirtyWindow> = (start..start + SECONDS)
        .step_by(10)
        .map(|window| DirtyWindow { window, agents: agents.clone() })
        .collect();
    store.make_windows(load, StoreLevel::TenSeconds, &dirty, 2).await.unwrap();
    let settings = engine.settings("older");
    let writer = Asker::writer(&settings);
    let asker = Asker::new(&settings.url, "older");
    tokio::task::spawn_blocking(move || {
        for statement in [
            format!("ALTER TABLE load DROP COLUMN {gone}"),
            format!("ALTER TABLE load_10s DROP COLUMN {gone}_max"),
            "DROP TABLE net_stack".to_owned(),
            "DROP TABLE net_stack_10s".to_owned(),
        ] {
            writer.ask(&statement, 1 << 20).unwrap();
        }
        let stored = Stored::ask(&asker, catalogue()).unwrap();
        let bounds = Bounds::ask(&asker, catalogue(), &stored).unwrap();
        let all = Span { from: start, until: start + SECONDS };
        assert_eq!(bounds.all, all);
        assert_eq!(Bounds::hosts(&asker, catalogue(), &stored, all).unwrap(), [HOST]);
        let mut read = 0;
        for slice in Slices::new(&asker, catalogue(), &stored, HOST, bounds.parts(all)) {
            slice.unwrap().for_each_second(HOST, |raw| {
                let own = seconds[&raw.second].families(catalogue());
                assert_eq!(raw.families.len(), own.len());
                for (got, want) in raw.families.iter().zip(&own) {
                    let is_load = catalogue().families[got.family].name == "load";
                    for (metric, (got, want)) in
                        got.entities[0].cells.iter().zip(want.entities[0].cells).enumerate()
                    {
                        let want = if is_load && metric == 0 { RawCell::NONE } else { *want };
                        assert_eq!(*got, want, "{} {metric}", raw.second);
                    }
                }
                read += 1;
            });
        }
        assert_eq!(read, SECONDS);
        let mut windows = 0;
        for slice in Slices::new(&asker, catalogue(), &stored, HOST, vec![(all, Level::TenSeconds)]) {
            slice.unwrap().for_each_second(HOST, |raw| {
                let cells = raw.families[0].entities[0].cells;
                assert!(raw.families.len() == 1 && cells[0] == RawCell::NONE, "{raw:?}");
                assert!(cells[1].count == 20, "{raw:?}");
                windows += 1;
            });
        }
        assert_eq!(windows, SECONDS / 10);
        let job = Job { host: HOST, stored: &stored, parts: bounds.parts(all), report_from: start };
        let judged = replay(&asker, &job, &Plan::new(catalogue(), quick()), &|_| ()).unwrap();
        assert!(judged.seconds == u64::from(SECONDS) && !judged.anomalies.is_empty());
    })
    .await
    .unwrap();
}

/// No table at all is an empty store.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tables_holds_nothing() {
    let asker = Asker::new(&Engine::shared().settings("default").url, "default");
    tokio::task::spawn_blocking(move || {
        let stored = Stored::ask(&asker, catalogue()).unwrap();
        let bounds = Bounds::ask(&asker, catalogue(), &stored).unwrap();
        assert_eq!(bounds.all.seconds(), 0);
        assert!(Bounds::hosts(&asker, catalogue(), &stored, bounds.all).unwrap().is_empty());
    })
    .await
    .unwrap();
}
