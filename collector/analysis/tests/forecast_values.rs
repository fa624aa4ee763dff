//! Forecasts on generated series: causality, units, coverage, hostile input.

use fettle_analysis::forecast::{forecast, host_seasons, Forecast};
use proptest::prelude::*;

/// splitmix64, so that every run sees the same noise.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A day and a weaker week, noise, and now and then a new level.
fn series(rows: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let (mut level, tau) = (50.0, std::f64::consts::TAU);
    (0..rows)
        .map(|row| {
            if random.uniform() < 0.004 {
                level += 5.0 * random.noise();
            }
            let (day, week) = (row as f64 / 24.0 * tau, row as f64 / 168.0 * tau);
            level + 8.0 * day.sin() + 3.0 * week.cos() + random.noise()
        })
        .collect()
}

const SEASONS: [usize; 2] = [24, 168];

fn run(history: &[f64]) -> Forecast {
    forecast(history, &SEASONS, 24, 0.8).expect("the history is long enough")
}

#[test]
fn later_rows_change_nothing() {
    let whole = series(600, 1);
    let cut = whole[..360].to_vec();
    assert_eq!(run(&whole[..360]), run(&cut));
    // Nor do rows that the history holds but that lie after the origin of another forecast.
    let mut other = whole.clone();
    other[360..].iter_mut().for_each(|value| *value = -1e6);
    assert_eq!(run(&other[..360]), run(&whole[..360]));
}

#[test]
fn the_season_is_found_and_the_interval_holds_what_it_says() {
    let (mut inside, mut all, mut error, mut naive) = (0, 0, 0.0, 0.0);
    for seed in 0..40 {
        let whole = series(528, seed);
        let (history, came) = whole.split_at(504);
        let ahead = run(history);
        for (step, value) in came.iter().enumerate() {
            all += 1;
            inside += i32::from(ahead.low[step] <= *value && *value <= ahead.high[step]);
            error += (ahead.mean[step] - value).abs();
            naive += (history[history.len() - 24 + step] - value).abs();
        }
    }
    let share = f64::from(inside) / f64::from(all);
    assert!((0.70..=0.90).contains(&share), "an 80 % interval holds {share}");
    assert!(error < 0.9 * naive, "error {error} against {naive} of the seasonal naive method");
}

#[test]
fn a_wider_level_is_a_wider_interval() {
    let history = series(400, 3);
    let [half, most] = [0.5, 0.95].map(|level| forecast(&history, &SEASONS, 24, level).unwrap());
    for step in 0..24 {
        assert!(half.low[step] >= most.low[step] && half.high[step] <= most.high[step]);
        assert!(half.low[step] <= half.mean[step] && half.mean[step] <= half.high[step]);
    }
}

#[test]
fn scale_and_shift_move_the_forecast_with_them() {
    let history = series(400, 4);
    let plain = run(&history);
    let changed: Vec<f64> = history.iter().map(|value| value * 1000.0 + 5.0).collect();
    let moved = run(&changed);
    for step in 0..24 {
        for (one, two) in [
            (plain.mean[step], moved.mean[step]),
            (plain.low[step], moved.low[step]),
            (plain.high[step], moved.high[step]),
        ] {
            assert!((one * 1000.0 + 5.0 - two).abs() < 1e-3, "{one} {two}");
        }
    }
}

#[test]
fn a_new_level_is_followed() {
    let mut history = vec![10.0; 300];
    history.extend(vec![90.0; 48]);
    let ahead = run(&history);
    assert!(ahead.mean.iter().all(|value| (value - 90.0).abs() < 8.0), "{:?}", ahead.mean);
}

#[test]
fn gaps_are_bridged() {
    let mut history = series(400, 5);
    let whole = run(&history);
    for row in (7..390).step_by(13) {
        history[row] = f64::NAN;
    }
    for (one, two) in whole.mean.iter().zip(&run(&history).mean) {
        assert!((one - two).abs() < 4.0, "{one} {two}");
    }
}

#[test]
fn a_constant_stays_and_too_little_is_refused() {
    let ahead = run(&[5.0; 100]);
    assert!(ahead.mean.iter().chain(&ahead.low).chain(&ahead.high).all(|value| *value == 5.0), "{ahead:?}");
    assert_eq!(forecast(&[], &SEASONS, 24, 0.8), None);
    assert_eq!(forecast(&[1.0, f64::NAN, 2.0], &SEASONS, 24, 0.8), None);
    assert_eq!(forecast(&[1.0, 2.0, 3.0], &SEASONS, 0, 0.8), None);
    assert_eq!(forecast(&[f64::NAN; 50], &SEASONS, 3, 0.8), None);
}

#[test]
fn seasons_of_hosts_are_whole_rows() {
    assert_eq!(host_seasons(3600.0), [24, 168]);
    assert_eq!(host_seasons(300.0), [288, 2016]);
    assert_eq!(host_seasons(86_400.0), [7]);
    assert!(host_seasons(0.0).is_empty() && host_seasons(f64::NAN).is_empty());
}

#[test]
fn a_percentage_stays_one() {
    let history: Vec<f64> = (0..200).map(|row| 98.0 + f64::from(row % 3)).collect();
    let ahead = run(&history).within(0.0, 100.0);
    assert!(ahead.high.iter().all(|value| *value <= 100.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_input_gives_finite_ordered_values_or_none(
        history in prop::collection::vec(
            prop_oneof![any::<f64>(), Just(f64::MAX), Just(f64::MIN), Just(0.0), -100.0..100.0f64], 0..200),
        seasons in prop::collection::vec(0usize..300, 0..3),
        horizon in 0usize..40,
        level in prop_oneof![Just(f64::NAN), -1.0..2.0f64],
    ) {
        if let Some(ahead) = forecast(&history, &seasons, horizon, level) {
            prop_assert_eq!(ahead.mean.len(), horizon);
            for step in 0..horizon {
                let (low, mean, high) = (ahead.low[step], ahead.mean[step], ahead.high[step]);
                prop_assert!(low.is_finite() && mean.is_finite() && high.is_finite());
                prop_assert!(low <= mean && mean <= high, "{} {} {}", low, mean, high);
            }
        }
    }
}
