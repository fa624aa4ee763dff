//! Shows an answer: as a table when it comes in the format asked for, else as it comes.
//!
//! The table's format is line by line: names, types, then rows, each a JSON array of texts. So rows
//! are taken as they arrive and a long answer can be left after the rows that are shown. A statement
//! with a FORMAT of its own is answered in that one, which the server says in a header.

use std::io::{self, Write as _};
use std::time::Instant;

use super::client::Body;
use super::errors::SqlError;
use super::statements::Statement;
use super::table::Rows;
use super::{terminal_width, Session};
use crate::output;

/// The format of tables.
const TABLE_FORMAT: &str = "JSONCompactStringsEachRowWithNamesAndTypes";
/// Rows that a table shows; more is for programs, and needs memory here.
const ROWS_MAX: usize = 10_000;
/// The longest line of an answer, a bound for what a server can make this program hold.
const LINE_MAX: usize = 64 << 20;

/// Asks and shows.
pub(crate) async fn show(session: &Session, statement: &Statement<'_>, body: Body) -> Result<(), SqlError> {
    let asked = Instant::now();
    let format = session.format.as_deref().unwrap_or(TABLE_FORMAT);
    let mut answer = session.client.ask(statement.text, format, body).await?;
    let as_table =
        session.format.is_none() && answer.format.as_deref().is_none_or(|format| format == TABLE_FORMAT);
    if !as_table {
        let mut out = io::stdout().lock();
        while let Some(piece) =
            answer.response.chunk().await.map_err(|error| session.client.broken(&error))?
        {
            if let Err(error) = out.write_all(&piece) {
                // The reader has what it wanted.
                return if error.kind() == io::ErrorKind::BrokenPipe {
                    Ok(())
                } else {
                    Err(SqlError::Output(error))
                };
            }
        }
        let _ = out.flush();
        return Ok(());
    }
    let mut lines = Lines { session, response: answer.response, held: Vec::new() };
    let (rows, cut) = read_table(&mut lines).await?;
    let shown = rows.as_ref().map_or(0, Rows::count);
    if let Some(rows) = rows {
        output::line(&rows.render());
    }
    if !session.quiet {
        let count =
            if shown == 1 { "1 row".to_owned() } else { format!("{} rows", output::grouped(shown as u64)) };
        let cut = if cut { ", the first of more (use LIMIT, --format or --json)" } else { "" };
        output::complain(&format!("{count}{cut} in {:.3} s", asked.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// The rows, and whether there were more; none at all for a statement that answers nothing.
async fn read_table(lines: &mut Lines<'_>) -> Result<(Option<Rows>, bool), SqlError> {
    let Some(names) = lines.next().await? else { return Ok((None, false)) };
    let types = lines.next().await?.unwrap_or_default();
    let mut rows = Rows::new(&names, &types, terminal_width());
    while let Some(values) = lines.next().await? {
        if rows.count() == ROWS_MAX {
            return Ok((Some(rows), true));
        }
        rows.push(&values);
    }
    Ok((Some(rows), false))
}

/// The lines of an answer, each a JSON array of texts.
struct Lines<'a> {
    session: &'a Session,
    response: reqwest::Response,
    held: Vec<u8>,
}

impl Lines<'_> {
    async fn next(&mut self) -> Result<Option<Vec<String>>, SqlError> {
        let mut looked_at = 0;
        loop {
            if let Some(at) = self.held[looked_at..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=looked_at + at).collect();
                if line.trim_ascii().is_empty() {
                    looked_at = 0;
                    continue;
                }
                return self.parse(&line).await.map(Some);
            }
            looked_at = self.held.len();
            if looked_at > LINE_MAX {
                return Err(SqlError::Foreign { url: self.session.client.url() });
            }
            let piece = self.response.chunk().await;
            match piece.map_err(|error| self.session.client.broken(&error))? {
                Some(piece) => self.held.extend_from_slice(&piece),
                None if self.held.trim_ascii().is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.held);
                    return self.parse(&line).await.map(Some);
                }
            }
        }
    }

    /// A line that is no row is the error that ended the answer: ClickHouse writes it where it stands.
    async fn parse(&mut self, line: &[u8]) -> Result<Vec<String>, SqlError> {
        if let Ok(values) = serde_json::from_slice(line) {
            return Ok(values);
        }
        let mut text = String::from_utf8_lossy(line).into_owned();
        while let Ok(Some(piece)) = self.response.chunk().await {
            if text.len() < 1 << 16 {
                text.push_str(&String::from_utf8_lossy(&piece));
            }
        }
        text.push_str(&String::from_utf8_lossy(&self.held));
        match text.find("Code: ") {
            Some(at) => Err(SqlError::from_server(None, &text[at..])),
            None => Err(SqlError::Foreign { url: self.session.client.url() }),
        }
    }
}
