//! Claims against truth on quiet data: «1 in 10,000» happens once in 10,000 points, and a quiet host is
//! reported at most once a day over all its series.

mod series_support;

use fettle_analysis::detect::series::{HostPanel, PanelConfig, SeriesConfig, SeriesDetector};
use series_support::{Source, KINDS};

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
