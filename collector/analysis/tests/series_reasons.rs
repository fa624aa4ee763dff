//! What the detector finds, what it learns, and what it says.

mod series_support;

use fettle_analysis::detect::series::{Reason, SeriesConfig, SeriesDetector, Verdict};
use series_support::{Kind, Source};

const SECOND: i64 = 1_000_000;

/// Normal noise around 50 for `before` points, then as the change makes it; the verdicts after it.
fn after(before: i64, points: i64, change: impl Fn(i64, f64) -> f64) -> Vec<Verdict> {
    let config = SeriesConfig { hold_off_s: 0.0, ..SeriesConfig::default() };
    let mut detector = SeriesDetector::new(1);
    let mut source = Source::new(Kind::Normal, 21);
    for at in 0..before {
        detector.update(at * SECOND, 50.0 + source.at(at), &config);
    }
    (0..points)
        .map(|at| {
            let value = change(at, 50.0 + source.at(before + at));
            detector.update((before + at) * SECOND, value, &config)
        })
        .collect()
}

fn alarms(verdicts: &[Verdict]) -> Vec<usize> {
    (0..verdicts.len()).filter(|at| verdicts[*at].score >= 0.5).collect()
}

#[test]
fn a_spike_is_an_alarm_at_once_and_named() {
    let verdicts = after(3_000, 50, |at, value| if at == 10 { value + 40.0 } else { value });
    assert!(verdicts[10].score >= 0.5, "{:?}", verdicts[10]);
    assert!(alarms(&verdicts[..10]).is_empty());
    let words = verdicts[10].reason.to_string();
    assert!(words.starts_with("spike to ") && words.contains("σ above the level of 50"), "{words}");
    assert!(verdicts[9].low < 50.0 && verdicts[9].high > 50.0 && verdicts[9].high < 60.0);
}

#[test]
fn a_level_shift_is_found_named_and_then_learned() {
    let verdicts = after(5_000, 6_000, |_, value| value + 12.0);
    let found = alarms(&verdicts);
    assert!(found[0] <= 3, "found after {} points", found[0]);
    let named = |verdict: &Verdict| matches!(verdict.reason, Reason::LevelShift { .. });
    assert!(verdicts[..60].iter().any(named), "{:?}", verdicts[20].reason);
    assert!(!found.iter().any(|at| *at > 1_000), "still alarmed after {:?} points", found.last());
    let last = verdicts.last().unwrap();
    assert!(last.low < 62.0 && last.high > 62.0 && last.tail > 1e-3, "{last:?}");
}

#[test]
fn a_flat_line_is_found_and_named() {
    let verdicts = after(5_000, 200, |_, _| 50.0);
    let found = alarms(&verdicts);
    assert!(!found.is_empty(), "{:?}", verdicts[100]);
    assert!(matches!(verdicts[found[0]].reason, Reason::FlatLine { .. }), "{}", verdicts[found[0]].reason);
}

#[test]
fn a_trend_is_found_and_named() {
    let verdicts = after(5_000, 1_500, |at, value| value + 0.02 * at as f64);
    let found = alarms(&verdicts);
    assert!(!found.is_empty());
    let named = found.iter().any(|at| matches!(verdicts[*at].reason, Reason::Trend { .. }));
    assert!(named, "{}", verdicts[found[0]].reason);
}

#[test]
fn wilder_moves_are_found_and_named() {
    let verdicts = after(5_000, 200, |_, value| 50.0 + 6.0 * (value - 50.0));
    let found = alarms(&verdicts);
    assert!(!found.is_empty());
    let named = verdicts.iter().any(|verdict| matches!(verdict.reason, Reason::Variability { .. }));
    assert!(named, "{}", verdicts[found[0]].reason);
}

#[test]
fn an_ordinary_value_at_the_wrong_hour_is_found_and_named() {
    let config = SeriesConfig::default();
    let mut detector = SeriesDetector::new(1);
    let mut source = Source::new(Kind::Normal, 2);
    let busy = |minute: i64| (9 * 60..17 * 60).contains(&(minute % 1_440));
    let mut found = None;
    for minute in 0..21 * 1_440 {
        let night_work = minute > 20 * 1_440 + 120 && minute < 20 * 1_440 + 180;
        let load = if busy(minute) || night_work { 80.0 } else { 10.0 };
        let verdict = detector.update(minute * 60 * SECOND, load + source.at(minute), &config);
        if night_work && verdict.score >= 0.5 {
            found = Some((minute - 20 * 1_440 - 120, verdict));
            break;
        }
    }
    let (delay, verdict) = found.expect("80 at two in the morning is as usual");
    assert!(delay <= 10, "{delay} minutes");
    assert!(verdict.reason.to_string().contains("this hour of the"), "{}", verdict.reason);
}

#[test]
fn one_alarm_an_event() {
    let config = SeriesConfig::default();
    let mut detector = SeriesDetector::new(1);
    let mut source = Source::new(Kind::Normal, 21);
    let (mut alarms, mut held) = (0, 0);
    for at in 0..7_000 {
        let value = source.at(at) + if at > 5_000 { 15.0 } else { 0.0 };
        let verdict = detector.update(at * SECOND, value, &config);
        if at > 5_000 {
            alarms += u32::from(verdict.score >= 0.5);
            held += u32::from(verdict.held);
        }
    }
    assert!(alarms <= 1 && held > 10, "{alarms} alarms, {held} held");
}
