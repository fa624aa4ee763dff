//! Running one statement, on a thread that may wait: from its text and body to its result.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::User;
use crate::binding::{Connection, Numbers};
use crate::engine::{Engine, Session};
use crate::exception::{code, Exception};
use crate::guard::{self, Caller, Verdict};
use crate::input::Input;
use crate::output::{Output, Stop};
use crate::piped;
use crate::request::Request;
use crate::session::Sessions;
use crate::sql::{self, Head};

/// Longest statement, without an INSERT's data.
const MAX_STATEMENT: usize = 16 << 20;
/// The format of a result when neither the statement nor the request names one.
pub(crate) const DEFAULT_FORMAT: &str = "TabSeparated";
/// How the engine says that a statement is no SELECT.
const NOT_STREAMED: &str = "Code: 36. DB::Exception: Streaming query is not supported for query";

/// A statement to run.
pub(crate) struct Statement {
    /// The open engine.
    pub(crate) engine: Arc<Engine>,
    /// Sessions kept between requests.
    pub(crate) sessions: Arc<Sessions>,
    /// Who asks.
    pub(crate) user: User,
    /// What is asked.
    pub(crate) request: Request,
    /// The rest of it.
    pub(crate) input: Input,
    /// By what [`Engine::kill`] finds it.
    pub(crate) marker: String,
    /// Set when there is nothing left to kill.
    pub(crate) done: Arc<AtomicBool>,
}

impl Statement {
    /// Runs to the end; the result, or the error, goes to `output`.
    pub(crate) fn run(mut self, mut output: Output) {
        let executed = self.execute(&mut output);
        self.done.store(true, Ordering::Release);
        match executed {
            Ok(written) => output.finish(written),
            Err(Stop::Failed(exception)) => output.fail(exception),
            Err(Stop::Gone) => tracing::debug!(marker = self.marker, "the client has gone"),
        }
    }

    fn execute(&mut self, output: &mut Output) -> Result<Option<Numbers>, Stop> {
        let (text, head) = self.read_text()?;
        output.name_format(sql::format_clause(&text).or_else(|| self.request.format.clone()));
        if output.is_gone() {
            return Err(Stop::Gone);
        }
        let session = Session {
            settings: &self.request.settings,
            database: self.request.database.as_deref(),
            readonly: self.request.readonly,
            marker: &self.marker,
        };
        let named = self.request.session.as_ref().filter(|asked| !asked.id.is_empty());
        match named {
            None => {
                let mut connection = self.engine.connect(self.user, &session)?;
                self.dispatch(&mut connection, &text, head, output)
            }
            Some(asked) => {
                let sessions = Arc::clone(&self.sessions);
                let mut lease = sessions.take(&self.engine, self.user, asked, &session)?;
                self.dispatch(lease.connection(), &text, head, output)
            }
        }
    }

    fn dispatch(
        &mut self,
        connection: &mut Connection,
        text: &[u8],
        head: Head,
        output: &mut Output,
    ) -> Result<Option<Numbers>, Stop> {
        let (readonly, bounds) = (self.request.readonly, self.engine.bounds);
        let who = Caller { user: self.user, readonly, bounds };
        let verdict = guard::judge(who, connection, text, &head, &self.request.parameters)?;
        match head {
            Head::Insert { end, format, data } => {
                Ok(Some(self.insert(connection, &text[..end], &format, &text[data..])?))
            }
            Head::Whole | Head::More => self.select(connection, text, verdict, output),
        }
    }

    /// Reads the statement's text: all of it, or an INSERT's up to somewhere in its data.
    fn read_text(&mut self) -> Result<(Vec<u8>, Head), Exception> {
        let mut text = std::mem::take(&mut self.request.query);
        if !text.is_empty() {
            text.push(b'\n');
        }
        loop {
            let head = sql::head(&text, false);
            if matches!(head, Head::Insert { .. }) {
                return Ok((text, head));
            }
            if text.len() > MAX_STATEMENT {
                return Err(Exception::new(
                    code::QUERY_IS_TOO_LARGE,
                    "QUERY_IS_TOO_LARGE",
                    format_args!("The statement is longer than {MAX_STATEMENT} bytes"),
                ));
            }
            match self.input.next()? {
                Some(piece) => text.extend_from_slice(&piece),
                None => break,
            }
        }
        let head = sql::head(&text, true);
        Ok((text, head))
    }

    /// An INSERT whose data goes straight from the body to the engine.
    fn insert(
        &mut self,
        connection: &mut Connection,
        sql: &[u8],
        format: &str,
        first: &[u8],
    ) -> Result<Numbers, Exception> {
        let mut stream =
            connection.insert(sql, format, &self.request.parameters).map_err(Exception::from_engine)?;
        if !first.is_empty() {
            stream.append(first).map_err(Exception::from_engine)?;
        }
        while let Some(piece) = self.input.next()? {
            stream.append(&piece).map_err(Exception::from_engine)?;
        }
        stream.finish().map_err(Exception::from_engine)
    }

    /// A statement with a result; what is no SELECT is run whole.
    fn select(
        &self,
        connection: &mut Connection,
        text: &[u8],
        verdict: Verdict,
        output: &mut Output,
    ) -> Result<Option<Numbers>, Stop> {
        let format = self.request.format.as_deref().unwrap_or(DEFAULT_FORMAT);
        let parameters = &self.request.parameters;
        if verdict == Verdict::Any {
            return whole(connection, text, format, parameters, output);
        }
        let own_format = sql::format_clause(text);
        if verdict == Verdict::Reading && !piped::is_seamless(own_format.as_deref().unwrap_or(format)) {
            return piped::run(connection, text, format, parameters, output);
        }
        let refusal = match connection.select(text, format, parameters) {
            Ok(mut stream) => {
                while let Some(chunk) = stream.next().map_err(fetch_error)? {
                    output.push(chunk)?;
                }
                return Ok(None);
            }
            Err(message) => message,
        };
        if !refusal.starts_with(NOT_STREAMED) || verdict == Verdict::SelectOnly {
            return Err(Exception::from_engine(refusal).into());
        }
        whole(connection, text, format, parameters, output)
    }
}

/// Runs a statement to its end before anything of its result is sent on.
pub(crate) fn whole(
    connection: &mut Connection,
    text: &[u8],
    format: &str,
    parameters: &[(String, String)],
    output: &mut Output,
) -> Result<Option<Numbers>, Stop> {
    let result = connection.query(text, format, parameters).map_err(Exception::from_engine)?;
    let numbers = result.numbers();
    output.push_bytes(Bytes::from_owner(result))?;
    Ok(Some(numbers))
}

/// The engine's client takes `exit` and the like as a wish to end and starts nothing.
fn fetch_error(message: String) -> Exception {
    if message == "No active streaming query" {
        return Exception::new(code::SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: this is no statement");
    }
    Exception::from_engine(message)
}
