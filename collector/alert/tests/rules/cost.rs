//! What a host-second costs with the default pack. The figure is printed (`--nocapture`); the bound only catches
//! what is wrong by a factor of ten and more.

use std::time::Instant;

use fettle_alert::rules::{Evaluator, RuleSet, Settings};
use fettle_analysis::second::{EntitySecond, FamilySecond, HostSecond, KeyValue, Reduced};
use fettle_shared::catalogue::{catalogue, EntityType};

/// A host with 300 processes and a few of everything else, sampled whole each second.
fn host(second: u32) -> HostSecond {
    let families = catalogue().families.iter().enumerate().map(|(position, family)| {
        let entities = match family.name.as_str() {
            "process" | "process_detail" => 300,
            "cgroup" => 40,
            _ if family.entity.is_empty() => 1,
            _ => 8,
        };
        let entities = (0..entities).map(|at| EntitySecond {
            key: family
                .entity
                .iter()
                .map(|column| match column.kind {
                    EntityType::Text => KeyValue::Text(format!("{}{at:03}", column.name).into()),
                    _ => KeyValue::Int(at),
                })
                .collect(),
            values: family
                .metrics
                .iter()
                .map(|_| Reduced { min: 0.5, mean: 0.5, max: 0.5, last: 0.5, count: 10 })
                .collect(),
        });
        FamilySecond { family: position, entities: entities.collect() }
    });
    HostSecond { host: "host-1".into(), second, families: families.collect() }
}

#[test]
fn a_host_second_with_the_default_pack_is_cheap() {
    let mut rules = Evaluator::new(&RuleSet::default_pack().unwrap(), Settings::default());
    let mut second = host(1_700_000_000);
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let began = Instant::now();
        for _ in 0..50 {
            second.second += 1;
            rules.second(&second);
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e6 / 50.0);
    }
    println!("{best:.1} µs a host-second with the default pack, {} rules", rules.figures().len());
    assert!(best < 2_000.0, "{best} µs");
}
