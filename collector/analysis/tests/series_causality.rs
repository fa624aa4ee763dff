//! The detector sees no row ahead, and neither the unit of a series nor its zero matters.

mod series_support;

use fettle_analysis::detect::series::SeriesConfig;
use fettle_analysis::eval::nab;
use series_support::{Kind, Source, KINDS};

/// A CSV in the form of the corpus: five-minute rows with one hole, one repeated row, a level shift and
/// spikes, so that alarms and hold-offs happen in it.
fn corpus(kind: Kind, scale: f64, shift: f64) -> String {
    let mut source = Source::new(kind, 11);
    let mut text = String::from("timestamp,value\n");
    for row in 0..5_000i64 {
        let second = row * 300 + if row > 1_700 { 86_400 } else { 0 };
        let second = if row == 900 { second - 300 } else { second };
        let odd = match row {
            1_000 | 2_500 | 4_200 => 60.0,
            3_200.. => 9.0,
            _ => 0.0,
        };
        let value = (source.at(second) + odd) * scale + shift;
        let (day, rest) = (second / 86_400, second % 86_400);
        let (hour, minute) = (rest / 3_600, rest / 60 % 60);
        text += &format!("2014-01-{:02} {hour:02}:{minute:02}:00,{value}\n", day + 1);
    }
    text
}

fn scores(text: &str) -> Vec<f64> {
    let score = |line: &str| line.rsplit(',').next().and_then(|cell| cell.parse().ok());
    text.lines().skip(1).map(|line| score(line).expect("a row without a score")).collect()
}

#[test]
fn the_first_rows_get_the_same_bytes_whatever_comes_after_them() {
    let config = SeriesConfig::default();
    for kind in KINDS {
        let whole = corpus(kind, 1.0, 0.0);
        let cut: String = whole.split_inclusive('\n').take(3_001).collect();
        let (whole, cut) = (nab::detect(&whole, &config).unwrap(), nab::detect(&cut, &config).unwrap());
        assert!(whole.starts_with(&cut), "{kind:?}");
        assert!(scores(&cut).iter().any(|score| *score >= 0.5), "{kind:?}: no alarm in what is compared");
    }
}

#[test]
fn another_unit_and_another_zero_hardly_move_a_score() {
    let config = SeriesConfig::default();
    for kind in KINDS {
        let plain = scores(&nab::detect(&corpus(kind, 1.0, 0.0), &config).unwrap());
        let moved = scores(&nab::detect(&corpus(kind, 1_000.0, 5.0), &config).unwrap());
        let alarms =
            |scores: &[f64]| -> Vec<usize> { (0..scores.len()).filter(|row| scores[*row] >= 0.5).collect() };
        let mean: f64 =
            plain.iter().zip(&moved).map(|(a, b)| (a - b).abs()).sum::<f64>() / plain.len() as f64;
        assert!(mean < 0.005, "{kind:?}: scores move by {mean}");
        assert_eq!(alarms(&plain), alarms(&moved), "{kind:?}");
    }
}
