//! `evaluate forecast --data DIR --out FILE [--exhaustion FILE]`: DIR holds tasks.json, exhaustion.json
//! and series/. Prints what a fit cost.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use fettle_analysis::eval::forecast as eval;

use crate::Arguments;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let tasks = arguments.data.join("tasks.json");
    write(&tasks, &arguments.out, "forecasts", eval::forecasts)?;
    let Some(out) = arguments.option("--exhaustion") else { return Ok(()) };
    write(&arguments.data.join("exhaustion.json"), Path::new(out), "exhaustion", eval::exhaustions)
}

type Answer = fn(&str, &BTreeMap<String, String>) -> Result<String, eval::Unreadable>;

fn write(list: &Path, out: &Path, what: &str, answer: Answer) -> Result<(), String> {
    let text = read(list)?;
    let folder = list.parent().unwrap_or(Path::new(".")).join("series");
    let mut texts = BTreeMap::new();
    for name in eval::series_named(&text).map_err(|e| e.to_string())? {
        let series = read(&folder.join(format!("{name}.csv")))?;
        texts.insert(name, series);
    }
    let begin = Instant::now();
    let answer = answer(&text, &texts).map_err(|e| e.to_string())?;
    eprintln!(
        "{what}: {} lines in {:.1} ms",
        answer.lines().count() - 1,
        begin.elapsed().as_secs_f64() * 1e3
    );
    std::fs::write(out, answer).map_err(|e| format!("can't write {}: {e}", out.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("can't read {}: {e}", path.display()))
}
