//! `fettle sql`: a small ClickHouse client. One question on the command line, many from a file or a
//! pipe, or a prompt.

mod answer;
mod client;
mod errors;
mod prompt;
mod statements;
mod table;

use std::io::{self, IsTerminal as _, Read as _};

use tokio::runtime::Runtime;

use crate::arguments::SqlArguments;
use client::Body;
pub(crate) use client::Client;
pub(crate) use errors::SqlError;
use statements::Statement;
pub(crate) use table::{Rows, STYLE as TABLE_STYLE};

/// Asks what is to be asked.
pub(crate) fn run(arguments: &SqlArguments) -> Result<(), SqlError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SqlError::Runtime)?;
    let session = Session::new(arguments)?;
    let asked = ask_as_told(arguments, &runtime, &session);
    // A thread may still wait for standard input; it must not keep the program.
    runtime.shutdown_background();
    asked
}

fn ask_as_told(arguments: &SqlArguments, runtime: &Runtime, session: &Session) -> Result<(), SqlError> {
    if let Some(query) = &arguments.query {
        let piped = !io::stdin().is_terminal();
        return run_all(runtime, session, query, piped);
    }
    if io::stdin().is_terminal() {
        return prompt::run(runtime, session);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(SqlError::Input)?;
    run_all(runtime, session, &text, false)
}

/// The server, and how answers are shown.
struct Session {
    client: Client,
    format: Option<String>,
    quiet: bool,
}

impl Session {
    fn new(arguments: &SqlArguments) -> Result<Self, SqlError> {
        let json = arguments.json.then(|| "JSONEachRow".to_owned());
        Ok(Self {
            client: Client::new(&arguments.server)?,
            format: arguments.format.clone().or(json),
            quiet: arguments.quiet,
        })
    }

    /// Asks one thing and shows the answer. Ctrl-C gives it up, which ends it on the server too.
    async fn ask(&self, statement: &Statement<'_>, body: Body) -> Result<(), SqlError> {
        let asked = answer::show(self, statement, body);
        tokio::select! {
            shown = asked => shown,
            _ = tokio::signal::ctrl_c() => Err(SqlError::Cancelled),
        }
    }
}

/// Runs every statement in the text, the first that fails ends it. `INSERT … FORMAT` as the only
/// statement takes its rows from a pipe, if there is one.
fn run_all(runtime: &Runtime, session: &Session, text: &str, piped: bool) -> Result<(), SqlError> {
    let statements = statements::split(text);
    if statements.is_empty() {
        return Err(SqlError::Nothing);
    }
    let only = statements.len() == 1;
    for statement in &statements {
        let rows = only && piped && statement.wants_rows();
        let body = if rows { Body::StandardInput } else { Body::None };
        runtime.block_on(session.ask(statement, body))?;
    }
    Ok(())
}

/// The terminal's width in characters; none when the output goes elsewhere.
pub(crate) fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
