//! Whatever is in a file and whatever a host sends, nothing panics and no value is invented.

use fettle_alert::handoff::Standing;
use fettle_alert::rules::{trial, Evaluator, RuleSet, Settings, DEFAULT_PACK};
use fettle_analysis::second::{EntitySecond, FamilySecond, HostSecond, KeyValue, Reduced};
use proptest::prelude::*;

use super::support::{evaluator, second, us, START};

fn load(text: &str) {
    match RuleSet::load(&[("hostile.yaml".into(), text.into())]) {
        Ok(set) => drop(Evaluator::new(&set, Settings::default())),
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|p| p.message.lines().count() == 1));
        }
    }
    let _ = trial::read("hostile.yaml", text);
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(-0.0),
        Just(f64::MAX),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_of_anything(text in "\\PC{0,200}", lines in "[-a-z: \\[\\]{},\"'#&*!|>%@`\n0-9]{0,200}") {
        load(&text);
        load(&lines);
    }

    #[test]
    fn the_pack_with_a_piece_replaced(at in 0usize..20_000, cut in 0usize..40, with in "[-a-z:{}\\[\\]\"% \n0-9.()*]{0,12}") {
        let from = DEFAULT_PACK.char_indices().nth(at % DEFAULT_PACK.chars().count()).unwrap().0;
        let to = DEFAULT_PACK[from..].char_indices().nth(cut).map_or(DEFAULT_PACK.len(), |(at, _)| from + at);
        load(&format!("default_pack: false\n{}{with}{}", &DEFAULT_PACK[..from], &DEFAULT_PACK[to..]));
    }

    #[test]
    fn seconds_of_anything(
        rows in proptest::collection::vec(
            (0usize..20, 0u32..100, proptest::collection::vec(number(), 0..30), "[a-z]{0,3}", any::<u64>(), 0usize..5), 1..60,
        ),
    ) {
        let pack = RuleSet::default_pack().unwrap();
        let mut rules = Evaluator::new(&pack, Settings::default());
        for (family, step, values, text, int, columns) in rows {
            let values: Box<[Reduced]> = values
                .iter()
                .map(|value| Reduced { min: *value, mean: *value, max: *value, last: *value, count: (int % 3) as u32 })
                .collect();
            let key: Box<[KeyValue]> = (0..columns)
                .map(|at| if at % 2 == 0 { KeyValue::Text(text.as_str().into()) } else { KeyValue::Int(int) })
                .collect();
            let entity = EntitySecond { key, values };
            let families = vec![FamilySecond { family, entities: vec![entity.clone(), entity] }];
            let second = START.wrapping_add(step.wrapping_mul(if int % 7 == 0 { 40_000_000 } else { 1 }));
            let mut found = rules.second(&HostSecond { host: text, second, families });
            found.extend(rules.tick(us(step)));
            for finding in &found {
                prop_assert!(finding.value.is_finite(), "{:?}", finding);
            }
            serde_json::to_string(&rules.save()).unwrap();
        }
    }

    #[test]
    fn within_the_band_nothing_changes(
        begins in prop_oneof![Just(99.0), Just(10.0)],
        inside in proptest::collection::vec(80.0f64..=90.0, 1..120),
    ) {
        let mut rules = evaluator(
            "  - {name: a, kind: threshold, metric: load.load_1m, at_least: 90.001, clear: 79.999, severity: low, for: 3s, clear_for: 2s}\n",
        );
        let mut load = |at: u32, value: f64| rules.second(&second("h", at, "load", &[(&[], &[("load_1m", value)])]));
        let before: Vec<_> = (0..10).flat_map(|at| load(at, begins)).collect();
        prop_assert_eq!(before.last().map(|finding| finding.standing), (begins > 90.0).then_some(Standing::Firing));
        for (at, value) in inside.into_iter().enumerate() {
            prop_assert!(load(10 + at as u32, value).is_empty());
        }
    }
}
