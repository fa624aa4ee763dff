//! Claims against truth on quiet data: «1 in 10,000» happens once in 10,000 points, and a quiet host is
//! reported at most once a day over all its series.

mod series_support;

use fettle_analysis::detect::series::{HostPanel, PanelConfig, Past, SeriesConfig, SeriesDetector};
use series_support::{Kind, Source, KINDS};

const SECOND: i64 = 1_000_000;
/// Points before claims are compared with truth.
const LEARNING: i64 = 1_000;

#[test]
fn tails_claim_within_a_factor_of_two_on_every_kind_of_noise() {
    let config = SeriesConfig::default();
    let (series, points) = (8, 60_000);
    let mut over_all = [0.0; 5];
    for kind in KINDS {
        let mut seen = [0.0; 5];
        for seed in 0..series {
            let mut source = Source::new(kind, 100 + seed);
            let mut detector = SeriesDetector::new(seed as u32);
            for at in 0..points {
                let tail = detector.update(at * SECOND, source.at(at), &config).tail;
                for power in 1..=4i32 {
                    if at >= LEARNING && tail <= 10f64.powi(-power) {
                        seen[power as usize] += 1.0;
                    }
                }
            }
        }
        let judged = (series as i64 * (points - LEARNING)) as f64;
        for power in 1..=4i32 {
            let truth_to_claim = seen[power as usize] / judged * 10f64.powi(power);
            over_all[power as usize] += truth_to_claim / KINDS.len() as f64;
            // More than claimed would cry wolf. Fewer is what a series gives that moves in rare steps, of
            // which each is as odd as the others: there the rarest claims are not made at all.
            let fewest = if power <= 3 { 0.35 } else { 0.0 };
            assert!((fewest..2.0).contains(&truth_to_claim), "{kind:?} 10^-{power}: {truth_to_claim}");
        }
    }
    for (power, ratio) in over_all.iter().enumerate().skip(1) {
        assert!((0.5..2.0).contains(ratio), "10^-{power} over all kinds: {ratio}");
    }
}

/// What was due and what was said at one level, over many points.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    naive: f64,
    due: f64,
    said: f64,
}

/// Judges a young host's series: `next` makes the values, `Past` says before each what is due.
fn count(levels: &mut [Level; 4], points: i64, seed: u32, mut next: impl FnMut(i64) -> f64) {
    let config = SeriesConfig::default();
    let mut detector = SeriesDetector::new(seed);
    for at in 0..points {
        let past: Past = detector.past();
        let tail = detector.update(at * SECOND, next(at), &config).tail;
        if at < LEARNING / 2 {
            continue;
        }
        for (power, level) in levels.iter_mut().enumerate().skip(2) {
            let rarity = 10f64.powi(power as i32);
            level.naive += 1.0 / rarity;
            level.due += past.due(rarity);
            level.said += f64::from(u8::from(tail <= 1.0 / rarity));
        }
    }
}

#[test]
fn what_is_due_counts_only_what_a_series_can_claim() {
    let mut levels = [Level::default(); 4];
    for seed in 0..40u32 {
        for still in 0..8 {
            count(&mut levels, 2_000, seed * 8 + still, |_| 7.0);
        }
        for kind in [Kind::Normal, Kind::Exponential, Kind::Sluggish, Kind::Counter, Kind::ZeroInflated] {
            let mut source = Source::new(kind, u64::from(seed) + 900);
            count(&mut levels, 2_000, seed, |at| source.at(at));
        }
    }
    for (power, Level { naive, due, said }) in levels.into_iter().enumerate().skip(2) {
        assert!(said / naive < 0.5, "10^-{power}: what cannot claim was not among it: {said} of {naive}");
        assert!(due >= 10.0 && (0.5..2.0).contains(&(said / due)), "10^-{power}: {said} of {due} due");
    }
}

#[test]
fn a_quiet_host_is_reported_at_most_once_a_day_and_a_fault_within_seconds() {
    let (config, panel_config) = (SeriesConfig::default(), PanelConfig::default());
    let width = 120;
    let mut sources: Vec<Source> =
        (0..width).map(|at| Source::new(KINDS[at as usize % KINDS.len()], 500 + at)).collect();
    let mut detectors: Vec<SeriesDetector> = (0..width).map(|at| SeriesDetector::new(at as u32)).collect();
    let mut panel = HostPanel::new(&panel_config);
    let mut surprises = vec![0.0; width as usize];
    let (day, fault) = (86_400, 86_400 + 600);
    let (mut reports, mut found) = (0, None);
    for at in 0..fault + 60 {
        for (slot, (source, detector)) in sources.iter_mut().zip(&mut detectors).enumerate() {
            let hit = at >= fault && slot % 12 < 2;
            let value = source.at(at) + if hit { 60.0 } else { 0.0 };
            surprises[slot] = detector.update(at * SECOND, value, &config).surprise;
        }
        let verdict = panel.judge(at * SECOND, &surprises, &panel_config);
        if at < day {
            reports += u32::from(verdict.reported);
        } else if verdict.reported && at >= fault && found.is_none() {
            found = Some(at - fault);
            let named: Vec<usize> =
                (0..surprises.len()).filter(|slot| surprises[*slot] >= verdict.name_from).collect();
            let wrong = named.iter().filter(|slot| **slot % 12 >= 2).count();
            assert!(named.len() >= 8 && wrong * 4 <= named.len(), "named {named:?}");
        }
    }
    assert!(reports <= 1, "{reports} reports on the quiet day");
    assert!(found.is_some_and(|seconds| seconds <= 3), "found after {found:?} s");
}
