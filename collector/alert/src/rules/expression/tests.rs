//! Expressions as people write them, and as nobody should.

use super::*;
use fettle_shared::catalogue::catalogue;
use proptest::prelude::*;

fn value(text: &str, values: &[f64]) -> Option<f64> {
    Expression::parse(text, catalogue()).unwrap().value(|at| values.get(at).copied())
}

#[test]
fn arithmetic_is_as_at_school() {
    let (used, total) = ("filesystem.used_bytes", "filesystem.total_bytes");
    assert_eq!(value(&format!("100 * {used} / {total}"), &[30.0, 120.0]), Some(25.0));
    assert_eq!(value(&format!("100 * (1 - {used} / {total})"), &[30.0, 120.0]), Some(75.0));
    assert_eq!(value("process.state == 90", &[90.0]), Some(1.0));
    assert_eq!(value("not process.state == 90 and 1 < 2", &[90.0]), Some(0.0));
    assert_eq!(value("if(load.load_1m > 4, max(load.load_1m, 7), -load.load_1m)", &[5.0]), Some(7.0));
    assert_eq!(value("load.load_1m / host.cpus - 2 * -3", &[8.0, 4.0]), Some(8.0));
}

#[test]
fn what_is_missing_or_not_finite_is_no_value() {
    let share = "filesystem.used_bytes / filesystem.total_bytes";
    assert_eq!(value(share, &[1.0, 0.0]), None);
    assert_eq!(value(share, &[0.0, 0.0]), None);
    assert_eq!(value(share, &[1.0]), None);
    assert_eq!(value("load.load_1m", &[f64::NAN]), None);
    assert_eq!(value("load.load_1m", &[f64::INFINITY]), None);
}

#[test]
fn faults_are_named() {
    for (text, word) in [
        ("", "too early"),
        ("1 + 2", "no metric"),
        ("memory.free_bytes +", "too early"),
        ("(memory.free_bytes", "no )"),
        ("memory.free_bytes 5", "operator"),
        ("memory.fre_bytes", "did you mean memory.free_bytes?"),
        ("memmory.free_bytes", "did you mean memory?"),
        ("free_bytes", "family.metric"),
        ("memory.free_bytes % 5", "multiply by 100"),
        ("memory.free_bytes + load.load_1m", "one unit"),
        ("memory.free_bytes + disk.read_bytes", "one unit"),
        ("max(memory.free_bytes)", "takes 2 values"),
        ("10GiB + memory.free_bytes", "without a unit"),
        ("memory.free_bytes; drop", "no meaning"),
    ] {
        let said = Expression::parse(text, catalogue()).unwrap_err();
        assert!(said.contains(word), "{text}: {said}");
    }
    assert!(Expression::parse(&"(".repeat(1000), catalogue()).is_err());
    assert!(Expression::parse(&"-".repeat(1000), catalogue()).is_err());
    assert!(Expression::parse(&format!("1{}", "+(1".repeat(40)), catalogue()).is_err());
}

#[test]
fn units_follow_from_the_metrics() {
    let unit = |text: &str| Expression::parse(text, catalogue()).unwrap().unit;
    let share = "filesystem.used_bytes / filesystem.total_bytes";
    assert_eq!(unit(share), Unit::ratio());
    assert_eq!(unit(&format!("100 * ({share})")), Unit::percent());
    assert_eq!(unit(&format!("100 * (1 - {share})")), Unit::percent());
    assert_eq!(unit(&format!("100 * {share}")), Unit::percent());
    assert_eq!(unit(&format!("10 * {share}")), Unit::Unknown);
    assert_eq!(unit("memory.free_bytes * 2").words(), "a plain number");
    assert_eq!(unit("disk.read_bytes + disk.write_bytes").words(), "bytes per second");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-a-z_.0-9+*/()<>=!, ]{0,60}", a in any::<f64>(), b in any::<f64>()) {
        if let Ok(expression) = Expression::parse(&text, catalogue()) {
            let value = expression.value(|at| [a, b].get(at % 2).copied());
            prop_assert!(value.is_none_or(f64::is_finite));
        }
    }

    #[test]
    fn sound_expressions_of_any_values_are_finite_or_nothing(
        parts in proptest::collection::vec((0usize..4, 0usize..6), 1..12), a in any::<f64>(), b in any::<f64>(),
    ) {
        let mut text = String::from("load.load_1m");
        for (operator, operand) in parts {
            let operand = ["load.load_5m", "3", "0", "(load.load_1m - 1)", "-load.load_5m", "load.load_15m"][operand];
            text = format!("({text} {} {operand})", ["+", "-", "*", "/"][operator]);
        }
        // Some add a share to a number of tasks, which is refused.
        if let Ok(expression) = Expression::parse(&text, catalogue()) {
            let value = expression.value(|at| [a, b].get(at % 2).copied());
            prop_assert!(value.is_none_or(f64::is_finite));
        }
    }
}
