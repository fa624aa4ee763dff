//! Faults put into known features of made-up hosts: found, and the right feature named.

mod host_world;

use fettle_analysis::detect::host::Direction;
use host_world::{detector, host, judge, Chance, Fault, Injection, FEATURES};

const LEARN: usize = 2500;
const HOSTS: u64 = 6;
const FAULTS: usize = 12;

/// Faults of every kind in one to four features, a day apart.
fn plan(seed: u64) -> Vec<Injection> {
    let mut chance = Chance::new(seed + 100);
    (0..FAULTS)
        .map(|n| {
            let count = 1 + chance.below(4);
            let features = (0..count).map(|_| 3 + chance.below(FEATURES - 3)).collect();
            let fault = match n % 4 {
                0 => Fault::Step(3.0),
                1 => Fault::Step(-2.0),
                2 => Fault::Restless(2.0),
                _ => Fault::Dead,
            };
            Injection { begin: LEARN + n * 288, rows: 12, features, fault }
        })
        .collect()
}

#[test]
fn faults_are_found_and_the_feature_is_named() {
    let (mut found, mut first, mut third, mut all, mut false_rows, mut quiet_rows) = (0, 0, 0, 0, 0, 0);
    let mut right_way = 0;
    for seed in 0..HOSTS {
        let faults = plan(seed);
        let rows = host(seed, LEARN + FAULTS * 288, &faults);
        let verdicts = judge(&mut detector(), &rows);
        for fault in &faults {
            all += 1;
            let span = &verdicts[fault.begin..fault.begin + fault.rows];
            let Some(alarm) = span.iter().find(|verdict| verdict.score >= 0.5) else { continue };
            found += 1;
            assert!(alarm.severity.is_some());
            let named: Vec<usize> = alarm.named().map(|a| usize::from(a.feature)).collect();
            let shares: Vec<f32> = alarm.named().map(|a| a.share).collect();
            assert!(shares.windows(2).all(|pair| pair[0] >= pair[1]), "the oddest first: {shares:?}");
            assert!(shares.iter().sum::<f32>() <= 1.001, "shares of one whole: {shares:?}");
            first += usize::from(fault.features.contains(&named[0]));
            third += usize::from(named[..3].iter().any(|feature| fault.features.contains(feature)));
            if let Some(hit) = alarm.named().find(|a| fault.features.contains(&usize::from(a.feature))) {
                assert_eq!(hit.seen > hit.expected, hit.direction == Direction::Up);
                right_way += usize::from(match fault.fault {
                    Fault::Step(by) => (by > 0.0) == (hit.direction == Direction::Up),
                    Fault::Dead => hit.direction == Direction::Down,
                    Fault::Restless(_) => true,
                });
            }
        }
        for (t, verdict) in verdicts.iter().enumerate().skip(LEARN / 2) {
            if !faults.iter().any(|fault| (fault.begin..fault.begin + fault.rows + 40).contains(&t)) {
                quiet_rows += 1;
                false_rows += usize::from(verdict.score >= 0.5);
            }
        }
    }
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    println!(
        "faults found {:.3} of {all}, named first {:.3}, among three {:.3}; alarm rows where nothing is wrong {:.5}",
        share(found, all),
        share(first, found),
        share(third, found),
        share(false_rows, quiet_rows)
    );
    assert!(share(found, all) >= 0.8, "found {found} of {all}");
    assert!(share(first, found) >= 0.8, "named first {first} of {found}");
    assert!(share(third, found) >= 0.9, "among the first three {third} of {found}");
    assert!(share(false_rows, quiet_rows) <= 0.01, "{false_rows} of {quiet_rows} quiet rows");
    assert!(share(right_way, found) >= 0.9, "the way it went: {right_way} of {found}");
}
