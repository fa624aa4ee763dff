//! `fettle eval forecast`: what comes after each origin, and when limits are reached.
//!
//! A folder holds `tasks.json`, `exhaustion.json` or both; for each there is one file in the answer. The
//! lists are given on entry by entry, so that a long one shows how far it is and one series is in memory.

use std::collections::BTreeMap;

use fettle_analysis::eval::forecast::{exhaustions, forecasts, series_named, Unreadable};
use serde_json::Value;

use super::files::Data;
use super::EvalError;
use crate::arguments::EvalPaths;
use crate::output;
use crate::progress::Progress;

/// One of the two lists: what it is called, and how it is answered.
struct Kind {
    list: &'static str,
    answer: &'static str,
    things: &'static str,
    ask: fn(&str, &BTreeMap<String, String>) -> Result<String, Unreadable>,
}

const KINDS: [Kind; 2] = [
    Kind { list: "tasks.json", answer: "forecasts.csv", things: "series forecast", ask: forecasts },
    Kind { list: "exhaustion.json", answer: "exhaustion.csv", things: "limits", ask: exhaustions },
];

/// Answers each list there is.
pub(super) fn run(paths: &EvalPaths) -> Result<(), EvalError> {
    let mut data = Data::open(&paths.data, "forecast")?;
    if !KINDS.iter().any(|kind| data.has(kind.list)) {
        return Err(data.nothing("tasks.json and no exhaustion.json"));
    }
    for kind in &KINDS {
        if data.has(kind.list) {
            answer(&mut data, kind, paths)?;
        }
    }
    Ok(())
}

fn answer(data: &mut Data, kind: &Kind, paths: &EvalPaths) -> Result<(), EvalError> {
    let list = data.text(kind.list)?;
    let entries: Vec<Value> = serde_json::from_str(&list).map_err(|error| {
        data.line(kind.list, error.line().max(1), format!("the file should hold a list of tasks ({error})"))
    })?;
    if entries.is_empty() {
        return Err(data.file(kind.list, "the list is empty"));
    }
    let mut progress = Progress::new("forecast", entries.len(), kind.things);
    let mut series = BTreeMap::new();
    let mut out = String::new();
    for (number, entry) in entries.iter().enumerate() {
        let alone = format!("[{entry}]");
        let names = series_named(&alone).map_err(|error| refused(data, kind, number + 1, &error))?;
        for name in names {
            if !series.contains_key(&name) {
                series.clear();
                let text = data.text(&file_of(&name))?;
                series.insert(name, text);
            }
        }
        let said = (kind.ask)(&alone, &series).map_err(|error| refused(data, kind, number + 1, &error))?;
        let header = said.find('\n').map_or(said.len(), |at| at + 1);
        out.push_str(if out.is_empty() { &said } else { &said[header..] });
        progress.step();
    }
    let place = paths.out.join(kind.answer);
    data.write(&place, &out)?;
    output::line(&format!(
        "forecast: {} {}, {} lines in {:.1} s; they are in {}",
        output::grouped(entries.len() as u64),
        kind.things,
        output::grouped(out.lines().count() as u64 - 1),
        progress.finish().as_secs_f64(),
        place.display()
    ));
    Ok(())
}

fn file_of(series: &str) -> String {
    format!("series/{series}.csv")
}

fn refused(data: &Data, kind: &Kind, entry: usize, error: &Unreadable) -> EvalError {
    match error {
        Unreadable::Value(name, line) => {
            data.line(&file_of(name), *line, "every line after the first should hold one number")
        }
        Unreadable::List(why) => data.file(kind.list, format!("entry {entry} is not as it should be: {why}")),
        other => data.file(kind.list, format!("entry {entry} cannot be answered: {other}")),
    }
}
