//! Time to exhaustion on generated levels: what fills, what doesn't, and how it is said.

use fettle_analysis::forecast::{duration_words, exhaustion, outlook, Exhaustion, Resource};
use proptest::prelude::*;

const STEP_S: f64 = 300.0;
const HORIZON_S: f64 = 1440.0 * STEP_S;

/// A level from a function of the row, with a little repeatable noise.
fn level(rows: usize, value: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut seed = 1u64;
    (0..rows)
        .map(|row| {
            let mut noise = 0.0;
            for _ in 0..6 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                noise += (seed >> 33) as f64 / (1u64 << 31) as f64 - 0.5;
            }
            value(row as f64) + 0.4 * noise
        })
        .collect()
}

fn ends(history: &[f64]) -> Option<Exhaustion> {
    exhaustion(history, STEP_S, 90.0, HORIZON_S)
}

/// Within 20 % of the true number of rows.
fn near(history: &[f64], rows: f64) {
    let found = ends(history).unwrap_or_else(|| panic!("nothing found, {rows} rows are left"));
    let got = found.eta_s / STEP_S;
    assert!((got - rows).abs() <= 0.2 * rows, "{got} rows instead of {rows}: {found:?}");
    assert!(
        found.low_s <= found.eta_s && found.eta_s <= found.high_s && found.probability >= 0.5,
        "{found:?}"
    );
}

#[test]
fn a_straight_rise_is_continued() {
    near(&level(1000, |row| 20.0 + 0.05 * row), 400.0);
}

#[test]
fn only_the_present_regime_counts() {
    near(&level(1000, |row| 30.0 + 0.06 * (row - 600.0).max(0.0)), 600.0);
    assert_eq!(ends(&level(1000, |row| 20.0 + 0.08 * row.min(600.0))), None, "it rose and stopped");
}

#[test]
fn a_step_moves_the_level_and_not_the_slope() {
    near(&level(1000, |row| 20.0 + 0.04 * row + if row >= 700.0 { 10.0 } else { 0.0 }), 500.0);
    near(&level(1000, |row| 30.0 + 0.05 * row - if row >= 950.0 { 15.0 } else { 0.0 }), 500.0);
    assert_eq!(ends(&level(1000, |row| if row >= 950.0 { 70.0 } else { 40.0 })), None, "a jump is no rise");
}

#[test]
fn the_cycle_of_the_day_is_no_rise() {
    let day = |row: f64| (row / 288.0 * std::f64::consts::TAU).sin();
    // Cut where the day rises fastest.
    assert_eq!(ends(&level(1440, |row| 60.0 + 15.0 * day(row))), None);
    // The trend alone is there at row 2000, the day's low holds it back to 2013.
    near(&level(1440, |row| 30.0 + 0.03 * row + 5.0 * day(row)), 573.0);
}

#[test]
fn rotation_and_collection_are_no_rise() {
    assert_eq!(ends(&level(1500, |row| 20.0 + 0.25 * (row % 200.0))), None);
    // Each tooth ends a little higher: the tip at row 1949 is just too low, the next passes the limit at 2086.
    near(&level(1500, |row| 20.0 + 0.2 * (row % 150.0) + 0.0205 * row), 586.0);
}

#[test]
fn noise_is_no_rise() {
    assert_eq!(ends(&level(1200, |_| 50.0)), None);
    assert_eq!(ends(&level(40, |_| 50.0)), None);
    assert_eq!(ends(&[50.0; 300]), None);
}

#[test]
fn what_levels_off_does_not_arrive() {
    assert_eq!(ends(&level(1600, |row| 80.0 - 60.0 * (-row / 500.0).exp())), None);
}

#[test]
fn a_leak_that_grows_arrives_before_its_line() {
    // 20 + 40 (row/1000)², 90 at row 1323.
    near(&level(1000, |row| 20.0 + 40.0 * (row / 1000.0).powi(2)), 323.0);
}

#[test]
fn what_is_full_is_full_now() {
    let full = ends(&level(500, |row| (40.0 + row).min(99.0))).unwrap();
    assert_eq!((full.eta_s, full.probability), (0.0, 1.0));
    assert_eq!(full.words("full"), "full now");
}

#[test]
fn later_rows_change_nothing() {
    let whole = level(1200, |row| 20.0 + 0.05 * row);
    let cut = whole[..720].to_vec();
    assert_eq!(outlook(&whole[..720], STEP_S, 90.0, HORIZON_S), outlook(&cut, STEP_S, 90.0, HORIZON_S));
}

#[test]
fn units_do_not_matter() {
    let history = level(900, |row| 20.0 + 0.05 * row);
    let bytes: Vec<f64> = history.iter().map(|value| value * 1000.0 + 5.0).collect();
    let (one, two) = (ends(&history).unwrap(), exhaustion(&bytes, STEP_S, 90_005.0, HORIZON_S).unwrap());
    assert!((one.eta_s - two.eta_s).abs() < 1e-3 * one.eta_s, "{one:?} {two:?}");
    // What runs out by falling is the same, negated.
    let free: Vec<f64> = history.iter().map(|value| value - 90.0).collect();
    let three = exhaustion(&free, STEP_S, 0.0, HORIZON_S).unwrap();
    assert!((one.eta_s - three.eta_s).abs() < 1e-3 * one.eta_s, "{one:?} {three:?}");
}

#[test]
fn it_is_said_in_words() {
    let found = Exhaustion { eta_s: 12_000.0, low_s: 10_200.0, high_s: 14_400.0, probability: 0.9 };
    assert_eq!(found.words("full"), "full in 3 h 20 min (80 %: 2 h 50 min – 4 h)");
    let cases = [
        (0.0, "0 s"),
        (59.6, "60 s"),
        (100.0, "2 min"),
        (3590.0, "1 h"),
        (3660.0, "1 h 1 min"),
        (47.5 * 3600.0, "47 h 30 min"),
        (75.0 * 3600.0, "3 d 3 h"),
        (40.0 * 86_400.0, "40 d"),
        (f64::NAN, "an unknown time"),
        (-1.0, "an unknown time"),
    ];
    for (seconds, words) in cases {
        assert_eq!(duration_words(seconds), words);
    }
}

#[test]
fn each_resource_ends_at_its_own_limit() {
    let used = level(1000, |row| 20.0 + 0.05 * row);
    for resource in Resource::ALL {
        let found = resource.outlook(&used, 100.0, STEP_S, HORIZON_S).expect("it rises");
        let rows = (100.0 * resource.limit_share() - 70.0) / 0.05;
        assert!(
            (found.eta_s / STEP_S - rows).abs() < 0.1 * rows,
            "{resource:?}: {found:?} instead of {rows}"
        );
        assert!(resource.words(&found).starts_with(resource.event()));
        assert_eq!(
            resource.outlook(&used, 0.0, STEP_S, HORIZON_S),
            None,
            "without a capacity there is no end"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_input_gives_ordered_times_or_none(
        history in prop::collection::vec(
            prop_oneof![any::<f64>(), Just(f64::MAX), Just(f64::MIN), -100.0..100.0f64, 80.0..95.0f64], 0..300),
        step in prop_oneof![Just(0.0), Just(f64::NAN), Just(-1.0), 0.001..1e6f64],
        limit in prop_oneof![any::<f64>(), 0.0..100.0f64],
        horizon in prop_oneof![any::<f64>(), 1.0..1e7f64],
    ) {
        if let Some(found) = outlook(&history, step, limit, horizon) {
            prop_assert!(0.0 <= found.low_s && found.low_s <= found.eta_s && found.eta_s <= found.high_s, "{:?}", found);
            prop_assert!((0.0..=1.0).contains(&found.probability), "{:?}", found);
            prop_assert!(found.high_s <= horizon * 1.000_001, "{:?} {}", found, horizon);
        }
    }
}
