//! Failure predictions for the evaluation data: texts in, the scorer's text out.
//!
//! Learns from `train.csv`, whose units all ran to failure, and predicts each row of `test.csv` from
//! the rows of its unit up to it.

use std::fmt::Write as _;

use crate::predict::{train, History, Model, Settings, Unit, Untrainable};

/// Why there are no predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// A line isn't `unit,cycle,value,…`: which one.
    Line(usize),
    /// The training units can't be learned from.
    Untrainable(Untrainable),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line} should hold a unit, a cycle and the sensors' values"),
            Self::Untrainable(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Failed {}

/// Units of one file, with each row's cycle.
struct Fleet {
    names: Vec<u32>,
    cycles: Vec<Vec<u32>>,
    history: History,
}

fn parse(text: &str, failed: bool) -> Result<Fleet, Failed> {
    let mut fleet = Fleet { names: Vec::new(), cycles: Vec::new(), history: History::default() };
    for (number, line) in text.lines().enumerate().skip(1) {
        let bad = || Failed::Line(number + 1);
        let mut fields = line.trim().split(',');
        let mut whole = || fields.next().and_then(|field| field.parse::<u32>().ok()).ok_or_else(bad);
        let (name, cycle) = (whole()?, whole()?);
        let row = fields.map(str::parse).collect::<Result<Vec<f32>, _>>().map_err(|_| bad())?;
        if fleet.names.last() != Some(&name) {
            fleet.names.push(name);
            fleet.cycles.push(Vec::new());
            fleet.history.units.push(Unit { rows: Vec::new(), failed });
        }
        if let (Some(cycles), Some(unit)) = (fleet.cycles.last_mut(), fleet.history.units.last_mut()) {
            cycles.push(cycle);
            unit.rows.push(row);
        }
    }
    Ok(fleet)
}

/// Trains on the text of `train.csv`.
pub fn model(train_csv: &str, settings: Settings) -> Result<Model, Failed> {
    train(&parse(train_csv, true)?.history, settings).map_err(Failed::Untrainable)
}

/// Predictions for the text of `test.csv`, as `unit,cycle,rul,risk`.
pub fn predictions(model: &Model, test_csv: &str) -> Result<String, Failed> {
    let fleet = parse(test_csv, false)?;
    let mut out = String::from("unit,cycle,rul,risk\n");
    for ((name, cycles), unit) in fleet.names.iter().zip(&fleet.cycles).zip(&fleet.history.units) {
        let mut state = model.start();
        for (cycle, row) in cycles.iter().zip(&unit.rows) {
            let said = model.predict(&mut state, row);
            let _ = writeln!(out, "{name},{cycle},{:.3},{:.5}", said.left, said.risk);
        }
    }
    Ok(out)
}

/// What cross-validation on the training units said, for people.
#[must_use]
pub fn report(model: &Model) -> String {
    let v = &model.validation;
    let mut out = format!(
        "units left out of training: rmse statistical {:.2}, echo state {:.2}, used {:.2} (echo share {:.2})\n\
         brier {:.4} (base rate {:.4}), {} rows\nsaid   came   rows\n",
        v.statistical_rmse, v.echo_rmse, v.blend_rmse, v.echo_share, v.brier, v.base_brier, v.rows
    );
    for bin in &v.reliability {
        let _ = writeln!(out, "{:.3}  {:.3}  {}", bin.said, bin.came, bin.count);
    }
    out
}
