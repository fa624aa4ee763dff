//! `fettle eval failure`: learns from units that ran to failure, predicts for units that still run.

use std::time::Instant;

use fettle_analysis::eval::failure::{model, predictions, report, Failed};
use fettle_analysis::predict::Settings;

use super::files::Data;
use super::EvalError;
use crate::arguments::EvalPaths;
use crate::output;

const TRAIN: &str = "train.csv";
const TEST: &str = "test.csv";

/// Trains on `train.csv`, predicts every row of `test.csv`; prints what cross-validation on the training
/// units found, which is what an operator without the truth would know.
pub(super) fn run(paths: &EvalPaths) -> Result<(), EvalError> {
    let mut data = Data::open(&paths.data, "failure")?;
    let (train, test) = (data.text(TRAIN)?, data.text(TEST)?);
    same_columns(&data, &train, &test)?;
    data.spare(&paths.out)?;
    output::complain("failure: training");
    let began = Instant::now();
    let model = model(&train, Settings::default()).map_err(|error| refused(&data, TRAIN, &error))?;
    let trained = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let answer = predictions(&model, &test).map_err(|error| refused(&data, TEST, &error))?;
    let spent = began.elapsed().as_secs_f64();
    data.write(&paths.out, &answer)?;
    output::line(report(&model).trim_end());
    let rows = answer.lines().count() - 1;
    output::line(&format!(
        "failure: trained in {trained:.1} s, {} predictions, {:.1} µs each; they are in {}",
        output::grouped(rows as u64),
        spent * 1e6 / rows.max(1) as f64,
        paths.out.display()
    ));
    Ok(())
}

/// Both files begin with `unit,cycle` and have the same sensors in the same order.
fn same_columns(data: &Data, train: &str, test: &str) -> Result<(), EvalError> {
    let header = |text: &str| {
        let line = text.lines().next().unwrap_or_default();
        line.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    };
    let (train, test) = (header(train), header(test));
    if train.len() < 3 || train[..2] != ["unit", "cycle"] {
        return Err(data.line(
            TRAIN,
            1,
            "the first line should name the columns unit, cycle and the sensors",
        ));
    }
    if test != train {
        let why = format!("the first line should name the columns of {TRAIN}, in their order");
        return Err(data.line(TEST, 1, why));
    }
    Ok(())
}

fn refused(data: &Data, name: &str, error: &Failed) -> EvalError {
    match error {
        Failed::Line(line) => {
            data.line(name, *line, "a row should hold the unit's number, its cycle and the sensors' values")
        }
        other => data.file(name, other.to_string()),
    }
}
