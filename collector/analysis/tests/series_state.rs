//! The state of a series: small, without heap, whole after a snapshot, and unharmed by what no series
//! should contain.

mod series_support;

use std::time::Instant;

use fettle_analysis::detect::series::{HostPanel, PanelConfig, SeriesConfig, SeriesDetector, SeriesMonitor};
use proptest::prelude::*;
use series_support::{Kind, Source, KINDS};

const SECOND: i64 = 1_000_000;

#[test]
fn a_series_takes_at_most_a_kibibyte_and_ten_thousand_take_at_most_40_mb() {
    // The detector owns no heap: every field is a number or an array of numbers, which `Copy` parts
    // cannot hide; the monitor adds one pointer, null until the first anomaly.
    let (detector, monitor) = (std::mem::size_of::<SeriesDetector>(), std::mem::size_of::<SeriesMonitor>());
    assert!(detector <= 1_024, "{detector} bytes");
    assert!(monitor <= 1_024, "{monitor} bytes");
    assert!(10_000 * monitor <= 40_000_000);
    assert!(std::mem::size_of::<HostPanel>() <= 256);
}

#[test]
fn a_restored_snapshot_goes_on_as_if_nothing_had_happened() {
    let config = SeriesConfig::default();
    for kind in KINDS {
        let mut source = Source::new(kind, 3);
        let mut detector = SeriesDetector::new(5);
        for at in 0..70_000 {
            detector.update(at * 60 * SECOND, source.at(at * 60), &config);
        }
        let text = serde_json::to_string(&detector).unwrap();
        let mut restored: SeriesDetector = serde_json::from_str(&text).unwrap();
        assert_eq!(restored, detector, "{kind:?}");
        for at in 70_000..75_000 {
            let value = source.at(at * 60) + if at == 72_000 { 100.0 } else { 0.0 };
            let (one, two) = (
                detector.update(at * 60 * SECOND, value, &config),
                restored.update(at * 60 * SECOND, value, &config),
            );
            assert_eq!(one, two, "{kind:?} at {at}");
        }
    }
}

#[test]
fn a_panel_and_a_monitor_are_restored_whole() {
    let (config, panel_config) = (SeriesConfig::default(), PanelConfig::default());
    let mut monitor = SeriesMonitor::new(9, &config);
    let mut panel = HostPanel::new(&panel_config);
    let mut source = Source::new(Kind::Normal, 8);
    for at in 0..3_000 {
        let value = source.at(at) + if at % 1_000 == 999 { 40.0 } else { 0.0 };
        let verdict = monitor.update(at * SECOND, value, &config);
        panel.judge(at * SECOND, &[verdict.surprise], &panel_config);
    }
    assert!(monitor.recent().count() > 0);
    let copy: SeriesMonitor = serde_json::from_str(&serde_json::to_string(&monitor).unwrap()).unwrap();
    assert_eq!(copy, monitor);
    let copy: HostPanel = serde_json::from_str(&serde_json::to_string(&panel).unwrap()).unwrap();
    assert_eq!(copy, panel);
}

#[test]
fn ten_thousand_series_are_restored_within_two_seconds() {
    let config = SeriesConfig::default();
    let mut source = Source::new(Kind::Sluggish, 3);
    let mut monitor = SeriesMonitor::new(5, &config);
    for at in 0..20_000 {
        monitor.update(at * 60 * SECOND, source.at(at * 60), &config);
    }
    let text = serde_json::to_string(&vec![monitor; 10_000]).unwrap();
    // The best of three, as the machine may be busy with other things.
    let seconds = (0..3)
        .map(|_| {
            let begin = Instant::now();
            let restored: Vec<SeriesMonitor> = serde_json::from_str(&text).unwrap();
            assert_eq!(restored.len(), 10_000);
            begin.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    assert!(seconds < 2.0, "{seconds} s for {} bytes", text.len());
}

#[test]
fn repeated_late_and_missing_points_are_survived_and_counted() {
    let config = SeriesConfig::default();
    let (mut plain, mut rough) = (SeriesDetector::new(1), SeriesDetector::new(1));
    let mut source = Source::new(Kind::Normal, 4);
    for at in 0..2_000 {
        let value = source.at(at);
        let verdict = plain.update(at * SECOND, value, &config);
        assert_eq!(rough.update(at * SECOND, value, &config), verdict);
        assert_eq!(rough.update(at * SECOND, 1e9, &config).score, 0.0, "a repeated time is not judged");
        rough.update((at - 30) * SECOND, -1e9, &config);
    }
    assert_eq!((plain.refused(), rough.refused()), (0, 4_000));
    let after = rough.update((2_000 + 40 * 86_400) * SECOND, 0.0, &config);
    assert!(after.score < 0.5, "a gap is no anomaly of the value: {after:?}");
    // A clock set back by more than a day is believed.
    let points = rough.points();
    rough.update(100 * SECOND, 0.0, &config);
    assert_eq!(rough.points(), points + 1);
}

proptest! {
    #[test]
    fn no_numbers_whatever_break_the_detector(
        points in prop::collection::vec((any::<i64>(), any::<f64>()), 1..400),
        steady in any::<bool>(),
    ) {
        let config = SeriesConfig::default();
        let mut detector = SeriesDetector::new(1);
        for (at, (time, value)) in points.iter().enumerate() {
            let time = if steady { at as i64 * 3_600 * SECOND } else { *time };
            let verdict = detector.update(time, *value, &config);
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
            prop_assert!(verdict.tail > 0.0 && verdict.tail <= 1.0, "{verdict:?}");
            prop_assert!(verdict.evidence.is_finite() && verdict.surprise.is_finite());
        }
        prop_assert_eq!(detector.points() + detector.refused(), points.len() as u32);
        let text = serde_json::to_string(&detector).unwrap();
        prop_assert_eq!(serde_json::from_str::<SeriesDetector>(&text).unwrap(), detector);
    }
}
