//! `fettle rules test`: plays tests and prints as test runners do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fettle_alert::rules::trial::{self, Outcome};
use serde_json::{json, Value};

use crate::output;

use super::arguments::TestArguments;
use super::files::{self, RulesError};
use super::plural;

/// The exit code where a file cannot be read.
const UNREADABLE: u8 = 2;

pub(super) fn run(arguments: &TestArguments) -> Result<ExitCode, RulesError> {
    let mut shown: Vec<Value> = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    let mut is_unreadable = false;
    for path in &arguments.files {
        let outcomes = match one_file(path, &arguments.rules)? {
            Ok(outcomes) => outcomes,
            Err(problems) => {
                is_unreadable = true;
                for problem in &problems {
                    output::complain(problem);
                }
                shown.push(json!({"file": path.display().to_string(), "problems": problems}));
                continue;
            }
        };
        for outcome in &outcomes {
            if outcome.passed() {
                passed += 1;
            } else {
                failed += 1;
            }
            if !arguments.json {
                print(path, outcome);
            }
        }
        shown.push(json!({"file": path.display().to_string(), "tests": outcomes}));
    }
    if arguments.json {
        let all = json!({"passed": passed, "failed": failed, "files": shown});
        output::line(&serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        output::line(&format!("{} passed, {failed} failed", plural(passed, "test")));
    }
    Ok(match (is_unreadable, failed) {
        (true, _) => ExitCode::from(UNREADABLE),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// Plays a file; the inner error is what is wrong with it or with the rules it names.
fn one_file(path: &Path, rules: &[PathBuf]) -> Result<Result<Vec<Outcome>, Vec<String>>, RulesError> {
    let (name, text) = files::read_one(path)?;
    let lines = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<String>>();
    let file = match trial::read(&name, &text) {
        Ok(file) => file,
        Err(problems) => return Ok(Err(lines(problems))),
    };
    let named: Vec<PathBuf> = if rules.is_empty() {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        file.rules.iter().map(|rules| folder.join(rules)).collect()
    } else {
        rules.to_vec()
    };
    let set = match files::load(&files::read(&named)?) {
        Ok(set) => set,
        Err(RulesError::Wrong { problems }) => return Ok(Err(lines(problems))),
        Err(error) => return Err(error),
    };
    Ok(Ok(file.trials.iter().map(|trial| trial::run(&set, trial)).collect()))
}

fn print(path: &Path, outcome: &Outcome) {
    let mark = if outcome.passed() { "ok    " } else { "FAILED" };
    output::line(&format!("{mark} {} ({} s played)", outcome.name, outcome.seconds));
    for failure in &outcome.failures {
        output::line(&format!("         {}: {failure}", path.display()));
    }
}
