//! The prompt: a question may take many lines and ends with `;`. What was asked is remembered.

use std::path::PathBuf;

use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};
use tokio::runtime::Runtime;

use super::client::Body;
use super::errors::SqlError;
use super::{statements, Session};
use crate::{locate, output};

/// Questions that are remembered.
const REMEMBERED_MAX: usize = 1000;

const HELP: &str = "\
A question ends with `;` and may take many lines. Ctrl-C gives one up, Ctrl-D or \\q leaves.
  \\d          tables            \\d TABLE    columns of a table
  \\l          databases         \\?          this";

/// Asks until the person leaves.
pub(crate) fn run(runtime: &Runtime, session: &Session) -> Result<(), SqlError> {
    let version =
        runtime.block_on(session.client.ask_text("SELECT version()", std::time::Duration::from_secs(10)))?;
    output::line(&format!("ClickHouse {} at {}; \\? for help", version.trim(), session.client.url()));
    let mut editor = editor()?;
    let mut question = String::new();
    loop {
        let sign = if question.is_empty() { "fettle> " } else { "     -> " };
        match editor.readline(sign) {
            Ok(line) => question.push_str(&line),
            Err(ReadlineError::Interrupted) => {
                question.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(SqlError::Prompt(error.to_string())),
        }
        if !question.trim_start().starts_with('\\') && statements::is_unfinished(&question) {
            question.push('\n');
            continue;
        }
        let asked = std::mem::take(&mut question);
        let asked = asked.trim();
        if asked.is_empty() {
            continue;
        }
        remember(&mut editor, asked);
        match command(asked) {
            Command::Leave => return Ok(()),
            Command::Help => output::line(HELP),
            Command::Unknown => output::line("there is no such command; \\? lists them"),
            Command::Ask(sql) => ask_all(runtime, session, &sql),
        }
    }
}

enum Command {
    Leave,
    Help,
    Unknown,
    Ask(String),
}

fn command(text: &str) -> Command {
    let Some(short) = text.strip_prefix('\\') else {
        return match text.trim_end_matches(';').trim().to_ascii_lowercase().as_str() {
            "exit" | "quit" => Command::Leave,
            "help" => Command::Help,
            _ => Command::Ask(text.to_owned()),
        };
    };
    let mut words = short.trim_end_matches(';').split_whitespace();
    match (words.next(), words.next()) {
        (Some("q"), None) => Command::Leave,
        (Some("?" | "h"), None) => Command::Help,
        (Some("l"), None) => Command::Ask("SELECT name FROM system.databases ORDER BY name".to_owned()),
        (Some("d"), None) => Command::Ask(
            "SELECT name, engine, total_rows AS rows, formatReadableSize(total_bytes) AS size \
             FROM system.tables WHERE database = currentDatabase() ORDER BY name"
                .to_owned(),
        ),
        (Some("d"), Some(table)) => Command::Ask(format!("DESCRIBE TABLE {table}")),
        _ => Command::Unknown,
    }
}

fn ask_all(runtime: &Runtime, session: &Session, text: &str) {
    for statement in statements::split(text) {
        if let Err(error) = runtime.block_on(session.ask(&statement, Body::None)) {
            output::complain(&error.to_string());
            return;
        }
    }
}

fn editor() -> Result<Editor<(), DefaultHistory>, SqlError> {
    let broken = |error: ReadlineError| SqlError::Prompt(error.to_string());
    let mut editor = Editor::with_config(Config::default()).map_err(broken)?;
    editor.set_max_history_size(REMEMBERED_MAX).map_err(broken)?;
    editor.set_auto_add_history(false);
    // The first time there is none to load.
    let _ = editor.load_history(&history_file());
    Ok(editor)
}

/// A history that cannot be written is not worth a word at every question.
fn remember(editor: &mut Editor<(), DefaultHistory>, asked: &str) {
    let file = history_file();
    let _ = editor.add_history_entry(asked);
    if let Some(directory) = file.parent() {
        let _ = std::fs::create_dir_all(directory);
    }
    let _ = editor.append_history(&file);
}

fn history_file() -> PathBuf {
    locate::default_state_dir().join("sql_history")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_questions() {
        assert!(matches!(command("\\q"), Command::Leave));
        assert!(matches!(command("exit;"), Command::Leave));
        assert!(matches!(command("\\?"), Command::Help));
        assert!(matches!(command("\\nonsense"), Command::Unknown));
        assert!(matches!(command("\\d process"), Command::Ask(sql) if sql == "DESCRIBE TABLE process"));
        assert!(matches!(command("SELECT 1;"), Command::Ask(sql) if sql == "SELECT 1;"));
    }
}
