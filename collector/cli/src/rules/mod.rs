//! `fettle rules`: are they sound, which are there, and do they do what their author means?

mod arguments;
mod files;
mod trials;

use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table};
use fettle_alert::rules::{severity_name, Rule, RuleSet};
use serde_json::{json, Value};

use crate::output;

pub(crate) use arguments::RulesArguments;
use arguments::{CheckArguments, ListRulesArguments, RulesCommand, ShowArguments};
use files::Named;
pub(crate) use files::RulesError;

/// The default pack with the rules of these files and folders, for other commands.
pub(crate) fn load(paths: &[PathBuf]) -> Result<RuleSet, RulesError> {
    files::load(&files::read(paths)?)
}

/// Does what was asked.
pub(crate) fn run(command: &RulesCommand) -> Result<ExitCode, RulesError> {
    match command {
        RulesCommand::Check(arguments) => check(arguments),
        RulesCommand::List(arguments) => list(arguments),
        RulesCommand::Show(arguments) => show(arguments),
        RulesCommand::Test(arguments) => trials::run(arguments),
    }
}

fn check(arguments: &CheckArguments) -> Result<ExitCode, RulesError> {
    let files = files::read(arguments.path.as_slice())?;
    let (set, problems) = match RuleSet::load(&files) {
        Ok(set) => (Some(set), Vec::new()),
        Err(problems) => (None, problems),
    };
    if arguments.json {
        let rules = set.map_or(0, |set| set.rules.len());
        output::line(&json!({"ok": problems.is_empty(), "rules": rules, "problems": problems}).to_string());
    } else if let Some(set) = set {
        let own = set.rules.iter().filter(|rule| files.iter().any(|(name, _)| *name == rule.file)).count();
        let disabled = set.rules.iter().filter(|rule| !rule.enabled).count();
        output::line(&format!(
            "{} rules are sound: {own} from {} of yours, {disabled} not enabled",
            set.rules.len(),
            plural(files.len(), "file")
        ));
    } else {
        for problem in &problems {
            output::complain(&problem.to_string());
        }
        output::complain(&plural(problems.len(), "fault"));
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `1 fault`, `2 faults`.
fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn list(arguments: &ListRulesArguments) -> Result<ExitCode, RulesError> {
    let files = files::read(&arguments.rules)?;
    let set = files::load(&files)?;
    if arguments.json {
        let rules: Vec<Value> = set.rules.iter().map(|rule| as_json(rule)).collect();
        output::line(&serde_json::to_string_pretty(&rules).unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(crate::sql::TABLE_STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = crate::sql::terminal_width() {
        table.set_width(width);
    }
    table.set_header(["rule", "kind", "severity", "when"]);
    for rule in &set.rules {
        let severities: Vec<&str> = rule.severities().into_iter().map(severity_name).collect();
        let kind = if rule.enabled { rule.kind().to_owned() } else { format!("{} (off)", rule.kind()) };
        table.add_row([rule.name.as_str(), kind.as_str(), &severities.join(", "), &rule.condition()]);
    }
    output::line(&table.to_string());
    output::line(&plural(set.rules.len(), "rule"));
    Ok(ExitCode::SUCCESS)
}

fn as_json(rule: &Rule) -> Value {
    let severities: Vec<&str> = rule.severities().into_iter().map(severity_name).collect();
    json!({
        "name": rule.name,
        "kind": rule.kind(),
        "enabled": rule.enabled,
        "severities": severities,
        "condition": rule.condition(),
        "labels": rule.labels,
        "runbook": rule.runbook,
        "action": rule.action,
        "file": rule.file,
        "line": rule.line,
    })
}

fn show(arguments: &ShowArguments) -> Result<ExitCode, RulesError> {
    let files = files::read(&arguments.rules)?;
    let set = files::load(&files)?;
    let Some(rule) = set.get(&arguments.name) else {
        let hint = match set.probably(&arguments.name) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "`fettle rules list` shows them".into(),
        };
        return Err(RulesError::Unknown { name: arguments.name.clone(), hint });
    };
    output::line(&format!("# {}:{}", rule.file, rule.line));
    output::line(&source(rule, &files));
    if let Some(runbook) = &rule.runbook {
        output::line(&format!("# what to do: {runbook}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The rule's own lines: from its first to the line before the next item of its list.
fn source(rule: &Rule, files: &[Named]) -> String {
    let text = files::text_of(&rule.file, files).unwrap_or_default();
    let first = (rule.line as usize).saturating_sub(1);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip(first);
    let Some(begin) = lines.next() else { return String::new() };
    let own = indent(begin);
    let mut shown = vec![begin];
    shown.extend(lines.take_while(|line| line.trim().is_empty() || indent(line) > own));
    while shown.last().is_some_and(|line| line.trim().is_empty()) {
        shown.pop();
    }
    shown.join("\n")
}
