//! The evaluation of forecasts and failures: texts in, text out, nothing later than the origin looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fettle_analysis::eval::{failure, forecast};
use fettle_analysis::predict::Settings;

const TASKS: &str =
    r#"[{"group":"hourly","series":"a","season":24,"horizon":6,"history":96,"origins":[120,150]}]"#;
const CASES: &str = r#"[{"series":"a","origin":150,"limit":90.0,"horizon":400,"kind":"linear","eta":1}]"#;

fn texts(rows: u32, value: impl Fn(u32) -> f64) -> BTreeMap<String, String> {
    let mut text = String::from("value\n");
    (0..rows).for_each(|row| writeln!(text, "{}", value(row)).expect("a string takes all"));
    BTreeMap::from([("a".to_owned(), text)])
}

fn rising(row: u32) -> f64 {
    30.0 + 0.3 * f64::from(row) + f64::from(row * 7 % 5) * 0.1
}

#[test]
fn every_step_of_every_origin_is_forecast() {
    let out = forecast::forecasts(TASKS, &texts(200, rising)).expect("the texts are sound");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "series,origin,step,value,lower,upper");
    assert_eq!(lines.len(), 1 + 2 * 6);
    assert!(lines[1].starts_with("a,120,1,") && lines[12].starts_with("a,150,6,"));
    assert_eq!(forecast::series_named(TASKS), Ok(vec!["a".to_owned()]));
}

#[test]
fn rows_after_the_origin_change_nothing() {
    let later = texts(200, |row| if row < 150 { rising(row) } else { -1e9 });
    assert_eq!(forecast::forecasts(TASKS, &later), forecast::forecasts(TASKS, &texts(150, rising)));
    assert_eq!(forecast::exhaustions(CASES, &later), forecast::exhaustions(CASES, &texts(150, rising)));
}

#[test]
fn the_time_is_found_and_the_given_answer_not_copied() {
    let out = forecast::exhaustions(CASES, &texts(150, rising)).expect("the texts are sound");
    let line = out.lines().nth(1).expect("one case");
    let eta: f64 = line.split(',').nth(2).and_then(|eta| eta.parse().ok()).expect("an eta");
    // 74.7 at the origin, 0.3 a row.
    assert!((eta - 50.0).abs() < 5.0, "{line}");
    let flat = forecast::exhaustions(CASES, &texts(150, |_| 40.0)).expect("the texts are sound");
    assert!(flat.lines().nth(1).is_some_and(|line| line.starts_with("a,150,never,,")), "{flat}");
}

#[test]
fn unreadable_texts_are_named() {
    use forecast::Unreadable;
    assert!(matches!(forecast::forecasts("{", &BTreeMap::new()), Err(Unreadable::List(_))));
    assert_eq!(forecast::forecasts(TASKS, &BTreeMap::new()), Err(Unreadable::NoSeries("a".to_owned())));
    let bad = BTreeMap::from([("a".to_owned(), "value\n1\nx\n".to_owned())]);
    assert_eq!(forecast::forecasts(TASKS, &bad), Err(Unreadable::Value("a".to_owned(), 3)));
    assert_eq!(forecast::forecasts(TASKS, &texts(9, rising)), Err(Unreadable::Origin("a".to_owned(), 120)));
}

/// Units of one wearing sensor and one useless one.
fn fleet(units: u32, rows: u32) -> String {
    let mut text = String::from("unit,cycle,s1,s2\n");
    for unit in 1..=units {
        for cycle in 1..=rows + unit {
            let wear = f64::from(cycle * cycle) / f64::from(rows * rows);
            let rough = f64::from((cycle * 13 + unit * 7) % 11) * 0.02;
            writeln!(text, "{unit},{cycle},{},{rough}", wear + rough).expect("a string takes all");
        }
    }
    text
}

#[test]
fn failures_are_predicted_row_by_row() {
    let model = failure::model(&fleet(8, 150), Settings::default()).expect("eight units are enough");
    let test = fleet(2, 145);
    let out = failure::predictions(&model, &test).expect("the text is sound");
    assert_eq!(out.lines().count(), test.lines().count());
    let last: Vec<f64> =
        out.lines().last().into_iter().flat_map(|l| l.split(',')).filter_map(|v| v.parse().ok()).collect();
    assert!(last[2] < 30.0 && last[3] > 0.5, "{last:?}");
    let cut: String = test.lines().take(88).fold(String::new(), |text, line| text + line + "\n");
    let early = failure::predictions(&model, &cut).expect("the text is sound");
    assert!(out.starts_with(&early), "later rows changed what was said before");
    assert!(failure::report(&model).contains("brier"));
}

#[test]
fn unreadable_units_are_named() {
    use failure::Failed;
    let model = |text| failure::model(text, Settings::default()).map(|_| ());
    assert_eq!(model("unit,cycle,s1\n1,1,x\n"), Err(Failed::Line(2)));
    assert_eq!(model("unit,cycle,s1\n1\n"), Err(Failed::Line(2)));
    assert!(matches!(model("unit,cycle,s1\n1,1,2.0\n"), Err(Failed::Untrainable(_))));
}
