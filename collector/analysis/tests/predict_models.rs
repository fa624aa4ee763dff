//! Failure prediction on generated components: it learns, it is repeatable, it looks at no later row,
//! and the registry keeps the last good model.

use fettle_analysis::predict::{
    brier, train, History, Model, Registry, Score, Settings, Unit, Untrainable, Verdict,
};

/// splitmix64, so that every run sees the same components.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    fn noise(&mut self) -> f32 {
        (0..6).map(|_| self.uniform()).sum::<f32>() - 3.0
    }
}

/// Components that wear out: two sensors drift with wear, one is noise, one never moves.
fn components(count: usize, seed: u64, informative: bool) -> History {
    let mut random = Random(seed);
    let units = (0..count)
        .map(|_| {
            let life = 80 + (random.uniform() * 120.0) as usize;
            let rows = (0..life)
                .map(|at| {
                    let wear = if informative { (at as f32 / life as f32).powi(3) * 4.0 } else { 0.0 };
                    vec![
                        500.0 + 3.0 * (wear + random.noise()),
                        20.0 - 0.5 * (wear + random.noise()),
                        random.noise(),
                        7.0,
                    ]
                })
                .collect();
            Unit { rows, failed: true }
        })
        .collect();
    History { units }
}

fn settings() -> Settings {
    Settings { horizon: 20, cap: 80, seed: 3, aged: true }
}

#[test]
fn it_learns_from_wear_and_says_how_sure_it_is() {
    let model = train(&components(40, 1, true), settings()).unwrap();
    let held_out = components(20, 2, true);
    let score = Score::of(&model, &held_out).unwrap();
    assert!(score.rmse < 12.0, "{score:?}");

    let mut risks = Vec::new();
    for unit in &held_out.units {
        let mut state = model.start();
        for (at, row) in unit.rows.iter().enumerate() {
            risks.push((model.predict(&mut state, row).risk, unit.rows.len() - 1 - at <= 20));
        }
    }
    let base = risks.iter().filter(|(_, came)| *came).count() as f64 / risks.len() as f64;
    assert!(brier(&risks) < 0.5 * base * (1.0 - base), "{} against {}", brier(&risks), base * (1.0 - base));
    for bin in fettle_analysis::predict::reliability(&risks).iter().filter(|bin| bin.count >= 60) {
        assert!((bin.said - bin.came).abs() < 0.25, "{bin:?}");
    }
}

#[test]
fn the_blend_is_no_worse_than_its_better_part_where_it_was_judged() {
    for informative in [true, false] {
        let validation = train(&components(25, 5, informative), settings()).unwrap().validation;
        let better = validation.statistical_rmse.min(validation.echo_rmse);
        assert!(validation.blend_rmse <= better + 1e-9, "{validation:?}");
        if validation.echo_share > 0.0 && validation.echo_share < 1.0 {
            assert!(validation.blend_rmse < better, "{validation:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_another() {
    let history = components(12, 1, true);
    let text = |settings| serde_json::to_string(&train(&history, settings).unwrap()).unwrap();
    assert_eq!(text(settings()), text(settings()));
    assert_ne!(text(settings()), text(Settings { seed: 4, ..settings() }));
}

#[test]
fn a_prediction_knows_only_the_rows_before_it() {
    let model = train(&components(12, 1, true), settings()).unwrap();
    let rows = &components(1, 9, true).units[0].rows;
    let run = |rows: &[Vec<f32>]| {
        let mut state = model.start();
        rows.iter().map(|row| model.predict(&mut state, row)).collect::<Vec<_>>()
    };
    let (whole, cut) = (run(rows), run(&rows[..rows.len() * 6 / 10]));
    assert_eq!(whole[..cut.len()], cut[..]);
}

#[test]
fn models_and_states_survive_being_written_down() {
    let model = train(&components(12, 1, true), settings()).unwrap();
    let rows = &components(1, 9, true).units[0].rows;
    let mut state = model.start();
    for row in &rows[..30] {
        model.predict(&mut state, row);
    }
    let again: Model = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    let mut same = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    let (one, two) = (model.predict(&mut state, &rows[30]), again.predict(&mut same, &rows[30]));
    assert!((one.left - two.left).abs() < 1e-6 && (one.risk - two.risk).abs() < 1e-9, "{one:?} {two:?}");
}

#[test]
fn units_and_scale_of_a_sensor_do_not_matter() {
    let change = |mut history: History| {
        for row in history.units.iter_mut().flat_map(|unit| &mut unit.rows) {
            row.iter_mut().for_each(|value| *value = *value * 1000.0 + 5.0);
        }
        history
    };
    let (history, other) = (components(12, 1, true), components(1, 9, true));
    let plain = train(&history, settings()).unwrap();
    let scaled = train(&change(history), settings()).unwrap();
    let (mut a, mut b) = (plain.start(), scaled.start());
    for (row, changed) in other.units[0].rows.iter().zip(&change(other.clone()).units[0].rows) {
        let (one, two) = (plain.predict(&mut a, row), scaled.predict(&mut b, changed));
        assert!((one.left - two.left).abs() < 0.5, "{one:?} {two:?}");
    }
}

#[test]
fn hostile_rows_give_a_prediction_in_range() {
    let mut history = components(12, 1, true);
    history.units[0].rows[3] = vec![f32::NAN, f32::INFINITY, f32::MAX, f32::MIN];
    history.units[1].rows[0].clear();
    history.units.push(Unit { rows: Vec::new(), failed: true });
    let model = train(&history, settings()).unwrap();
    let mut state = model.start();
    for row in [vec![], vec![f32::NAN; 9], vec![f32::MAX; 4], vec![f32::NEG_INFINITY; 4], vec![0.0; 1]] {
        let said = model.predict(&mut state, &row);
        assert!((0.0..=80.0).contains(&said.left) && (0.0..=1.0).contains(&said.risk), "{row:?}: {said:?}");
    }
}

#[test]
fn too_little_history_is_refused() {
    assert_eq!(train(&History::default(), settings()).unwrap_err(), Untrainable::TooFewFailures(0));
    assert_eq!(train(&components(4, 1, true), settings()).unwrap_err(), Untrainable::TooFewFailures(4));
    let empty = History { units: vec![Unit { rows: vec![vec![]; 9], failed: true }; 6] };
    assert_eq!(train(&empty, settings()).unwrap_err(), Untrainable::Degenerate);
}

#[test]
fn units_still_running_teach_only_what_is_certain() {
    let mut history = components(12, 1, true);
    let complete = train(&history, settings()).unwrap();
    // A unit cut off early, still sound: none of its rows may be taken for one near its end.
    let mut running = components(1, 7, true).units.remove(0);
    running.rows.truncate(60);
    running.failed = false;
    history.units.push(running);
    let with = train(&history, settings()).unwrap();
    assert_eq!(with.validation.rows, complete.validation.rows);
}

#[test]
fn the_registry_keeps_the_last_good_model() {
    let held_out = components(10, 50, true);
    let poor = train(&components(6, 1, false), settings()).unwrap();
    let good = train(&components(30, 1, true), settings()).unwrap();
    let mut registry = Registry::default();
    assert_eq!(registry.offer(good.clone(), 1, &History::default()), Verdict::Unjudged);
    assert!(registry.active().is_none());

    assert!(matches!(registry.offer(poor.clone(), 1, &held_out), Verdict::Promoted(1, _)));
    assert!(matches!(registry.offer(good.clone(), 2, &held_out), Verdict::Promoted(2, _)));
    let Verdict::Refused(new, old) = registry.offer(poor.clone(), 3, &held_out) else {
        panic!("promoted a worse model")
    };
    assert!(old.beats(&new));
    assert!(
        matches!(registry.offer(good.clone(), 4, &held_out), Verdict::Refused(..)),
        "as good is not better"
    );
    assert_eq!(registry.active().unwrap().number, 2);
    assert_eq!(registry.active().unwrap().model, good);

    assert!(registry.roll_back());
    assert_eq!(registry.active().unwrap().number, 1);
    assert!(!registry.roll_back(), "the only version stays");
    let again = Registry::of(registry.versions().to_vec(), 2);
    assert_eq!(again, registry, "made again from its versions it is the same");
    assert!(
        matches!(registry.offer(good, 5, &held_out), Verdict::Promoted(3, _)),
        "numbers are never used twice"
    );
}

#[test]
fn age_says_nothing_where_it_must_not() {
    let history = components(12, 1, true);
    let model = train(&history, Settings { aged: false, ..settings() }).unwrap();
    let (mut young, mut old) = (model.start(), model.start());
    let row = history.units[0].rows[0].clone();
    for _ in 0..2000 {
        model.predict(&mut old, &row);
    }
    // The network needs a while to settle; then only age could tell them apart.
    for _ in 0..400 {
        model.predict(&mut young, &row);
    }
    let (one, two) = (model.predict(&mut young, &row), model.predict(&mut old, &row));
    assert!((one.left - two.left).abs() < 1e-6, "{one:?} {two:?}");
    let again: Model = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    assert_eq!(again.settings, model.settings);
}
