//! Made-up incidents: what moved together is found, in order, and said in words.

mod host_world;

use fettle_analysis::detect::correlate::{correlate, Pattern, Series, Settings, MOST_ROWS, MOST_SERIES};
use host_world::Chance;

const BEGIN: usize = 300;
const ROWS: usize = 420;

/// Noise, and from `from` on a ramp of 30 rows with a wobble of its own, up or down.
fn ramp(chance: &mut Chance, wobble: &[f64], from: usize, by: f64) -> Vec<f32> {
    (0..ROWS)
        .map(|t| {
            let since = t.saturating_sub(from) as f64;
            let shape = if t < from { 0.0 } else { (since / 30.0).min(1.0) * 10.0 + wobble[t - from] };
            (100.0 + by * shape + 0.3 * chance.normal()) as f32
        })
        .collect()
}

fn noise(chance: &mut Chance) -> Vec<f32> {
    (0..ROWS).map(|_| chance.normal() as f32).collect()
}

fn wobble(chance: &mut Chance) -> Vec<f64> {
    let mut level = 0.0;
    (0..ROWS)
        .map(|_| {
            level = 0.8 * level + chance.normal();
            level
        })
        .collect()
}

#[test]
fn the_follower_and_its_lag_are_found() {
    let mut chance = Chance::new(4);
    let own = wobble(&mut chance);
    let memory = ramp(&mut chance, &own, BEGIN, 1.0);
    let disk = ramp(&mut chance, &own, BEGIN + 4, 1000.0);
    let idle = ramp(&mut chance, &own, BEGIN + 6, -2.0);
    let others: Vec<Vec<f32>> = (0..20).map(|_| noise(&mut chance)).collect();
    let names: Vec<String> = (0..20).map(|i| format!("other.{i}")).collect();
    let mut series = vec![
        Series { name: "memory.used", values: &memory },
        Series { name: "disk.read_bytes", values: &disk },
        Series { name: "cpu.idle", values: &idle },
    ];
    series.extend(others.iter().zip(&names).map(|(values, name)| Series { name, values }));
    let together = correlate(&series, BEGIN, 1.0, &Settings::default());

    assert_eq!(together.moves.len(), 3, "noise hasn't moved: {:?}", together.moves);
    let link = together.links.iter().find(|link| link.pattern == Some(Pattern::MemoryIo)).unwrap();
    assert_eq!((link.first.name.as_str(), link.second.name.as_str()), ("memory.used", "disk.read_bytes"));
    assert!((3.0..=5.0).contains(&link.lag_s) && link.correlation > 0.9, "{link:?}");
    assert!(link.to_string().starts_with("memory.used rose with disk.read_bytes, 0.9"), "{link}");
    assert!(link.to_string().ends_with(" s later"), "{link}");
    let other = together.links.iter().find(|link| link.second.name == "cpu.idle").unwrap();
    assert!(
        other.correlation < -0.9 && other.to_string().contains(" rose while cpu.idle fell, -0.9"),
        "{other}"
    );
    assert_eq!(together.groups.len(), 1);
    assert_eq!(
        together.groups[0].names,
        ["memory.used", "disk.read_bytes", "cpu.idle"],
        "who moved first stands first"
    );
    assert!(together.groups[0].patterns.contains(&Pattern::CpuMemory));
}

#[test]
fn what_always_goes_together_ranks_lower() {
    let mut chance = Chance::new(9);
    let own = wobble(&mut chance);
    let one = ramp(&mut chance, &own, BEGIN, 1.0);
    let new = ramp(&mut chance, &own, BEGIN, 3.0);
    let double: Vec<f32> = one.iter().map(|value| value * 2.0).collect();
    let series = [
        Series { name: "cpu.user", values: &one },
        Series { name: "cpu.total", values: &double },
        Series { name: "network.rx_bytes", values: &new },
    ];
    let together = correlate(&series, BEGIN, 1.0, &Settings::default());
    let strength = |a: &str, b: &str| {
        let of = |link: &&fettle_analysis::detect::correlate::Link| {
            [link.first.name.as_str(), link.second.name.as_str()].iter().all(|name| [a, b].contains(name))
        };
        together.links.iter().find(of).map(|link| link.strength).unwrap()
    };
    assert!(strength("cpu.user", "cpu.total") < 0.6);
    assert!(strength("cpu.user", "network.rx_bytes") > 0.8);
    assert_eq!(together.links[0].pattern, Some(Pattern::NetworkCpu));
}

#[test]
fn noise_has_nothing_to_say() {
    let mut links = 0;
    for seed in 0..20 {
        let mut chance = Chance::new(seed);
        let lists: Vec<Vec<f32>> = (0..40).map(|_| noise(&mut chance)).collect();
        let series: Vec<Series<'_>> = lists.iter().map(|values| Series { name: "x.y", values }).collect();
        // Even when everything is allowed to have moved.
        links += correlate(&series, BEGIN, 1.0, &Settings { moved: 0.0, ..Settings::default() }).links.len();
    }
    assert_eq!(links, 0);
}

#[test]
fn odd_windows_are_survived_and_the_work_is_bounded() {
    let nothing = correlate(&[], 0, 1.0, &Settings::default());
    assert!(nothing.links.is_empty() && nothing.groups.is_empty());
    let (gone, flat) = (vec![f32::NAN; ROWS], vec![1.0f32; ROWS]);
    let mut chance = Chance::new(1);
    let own = wobble(&mut chance);
    let mut holed = ramp(&mut chance, &own, BEGIN, 1.0);
    let whole = ramp(&mut chance, &own, BEGIN, 1.0);
    for t in (0..ROWS).step_by(5) {
        holed[t] = f32::NAN;
    }
    let step: Vec<f32> = (0..ROWS).map(|t| f32::from(u8::from(t >= BEGIN))).collect();
    let series = [("gone", &gone), ("flat", &flat), ("holed", &holed), ("whole", &whole), ("step", &step)]
        .map(|(name, values)| Series { name, values });
    let together = correlate(&series, BEGIN, 1.0, &Settings::default());
    assert!(together.moves.iter().all(|step| ["holed", "whole", "step"].contains(&step.name.as_str())));
    assert!(together.links.iter().any(|link| link.first.name == "whole" || link.second.name == "whole"));
    for begin in [0, 3, ROWS - 2, ROWS, ROWS + 5] {
        assert!(
            correlate(&series, begin, 1.0, &Settings::default()).links.is_empty(),
            "too short at {begin}"
        );
    }
    let long: Vec<f32> =
        (0..MOST_ROWS * 3).map(|t| if t < MOST_ROWS * 3 - 50 { 0.0 } else { t as f32 }).collect();
    let many: Vec<Series<'_>> = (0..200).map(|_| Series { name: "many.x", values: &long }).collect();
    let together = correlate(&many, MOST_ROWS * 3 - 50, 1.0, &Settings::default());
    assert_eq!(together.moves.len(), MOST_SERIES);
    assert!(together.links.len() <= Settings::default().links);
}
