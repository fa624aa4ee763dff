//! `fettle eval nab`: a score for every row of every series, in a folder that mirrors the data's.

use fettle_analysis::detect::series::SeriesConfig;
use fettle_analysis::eval::nab::{detect, NabError};

use super::files::{line_of_row, Data};
use super::EvalError;
use crate::arguments::EvalPaths;
use crate::output;
use crate::progress::Progress;

/// Scores every CSV file below the folder, or below `data` in it where there is such a folder.
pub(super) fn run(paths: &EvalPaths) -> Result<(), EvalError> {
    let inner = paths.data.join("data");
    let root = if inner.is_dir() { &inner } else { &paths.data };
    let mut data = Data::open(root, "nab")?;
    let names = data.csv_files(true, &paths.out)?;
    if names.is_empty() {
        return Err(data.nothing("series (a CSV file with the columns timestamp and value)"));
    }
    let config = SeriesConfig::default();
    let mut progress = Progress::new("nab", names.len(), "series");
    let mut rows = 0;
    for name in &names {
        let text = data.text(name)?;
        let scores = detect(&text, &config).map_err(|error| refused(&data, name, &text, &error))?;
        rows += scores.lines().count() - 1;
        data.write(&paths.out.join(name), &scores)?;
        progress.step();
    }
    let spent = progress.finish().as_secs_f64();
    output::line(&format!(
        "nab: {} series, {} rows in {spent:.1} s, {:.1} µs a row; the scores are in {}",
        names.len(),
        output::grouped(rows as u64),
        spent * 1e6 / rows.max(1) as f64,
        paths.out.display()
    ));
    Ok(())
}

fn refused(data: &Data, name: &str, text: &str, error: &NabError) -> EvalError {
    match error {
        NabError::Time(row) => data.line(
            name,
            line_of_row(text, *row),
            "the column timestamp should hold a time such as 2014-04-01 00:00:00",
        ),
        other => data.line(name, line_of_row(text, 0), other.to_string()),
    }
}
