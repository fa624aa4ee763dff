//! The open engine: one data directory, one connection kept open, and a fresh connection for every
//! statement.
//!
//! A further connection costs 0.3 ms, and everything a statement can change on it (settings, current
//! database, temporary tables, role) dies with it; a pool would have to prove that it resets all of
//! that. So nothing can leak from one request to the next.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::User;
use crate::binding::{Api, Connection};
use crate::bounds::Bounds;
use crate::errors::EngineError;
use crate::exception::{code, Exception};
use crate::settings::ServeSettings;
use crate::{config, footprint, guard, library};

/// The engine, open on its data directory.
pub(crate) struct Engine {
    api: Arc<Api>,
    path: String,
    /// Keeps the engine alive; also runs KILL QUERY.
    root: Mutex<Connection>,
    known_settings: HashSet<String>,
    next_marker: AtomicU64,
    /// How far readers may set their own limits.
    pub(crate) bounds: Bounds,
    /// `version()`.
    pub(crate) version: String,
    /// `timezone()`.
    pub(crate) timezone: String,
    /// `hostName()`.
    pub(crate) host: String,
}

/// What a connection for one statement is opened with.
#[derive(Debug, Default)]
pub(crate) struct Session<'a> {
    /// Settings of the request, in its order.
    pub(crate) settings: &'a [(String, String)],
    /// Current database, when the request names one.
    pub(crate) database: Option<&'a str>,
    /// Forbids writing, as GET does.
    pub(crate) readonly: bool,
    /// Marks the statement so that [`Engine::kill`] finds it.
    pub(crate) marker: &'a str,
}

impl Engine {
    /// Loads libchdb and opens `settings.path`.
    pub(crate) fn open(settings: &ServeSettings, file: &Path) -> Result<Self, EngineError> {
        config::create_directory(&settings.path)?;
        let configuration = config::write(settings)?;
        let api = library::load(file)?;
        api.disable_signal_handlers();
        let path = format!("--path={}", settings.path.display());
        let refused =
            |reason: &str| EngineError::Open { path: settings.path.clone(), reason: reason.to_owned() };
        let mut root = api
            .connect(&[path.clone(), format!("--config-file={}", configuration.display())])
            .ok_or_else(|| refused("its reason is printed above"))?;
        let mut ask = |sql: &str| {
            let answer = root.query(sql.as_bytes(), "TSVRaw", &[]).map_err(|reason| refused(&reason))?;
            Ok::<String, EngineError>(String::from_utf8_lossy(answer.as_ref()).into_owned())
        };
        let known_settings = ask("SELECT name FROM system.settings")?.lines().map(str::to_owned).collect();
        footprint::release_library_pages(file);
        let identity = ask("SELECT version(), timezone(), hostName()")?;
        let mut identity = identity.trim_end().split('\t').map(str::to_owned);
        let mut part = || identity.next().unwrap_or_default();
        Ok(Self {
            version: part(),
            timezone: part(),
            host: part(),
            known_settings,
            next_marker: AtomicU64::new(1),
            bounds: Bounds {
                seconds: settings.max_query_time.as_secs().max(1),
                threads: settings.max_threads.max(1) as u64,
            },
            root: Mutex::new(root),
            path,
            api,
        })
    }

    /// A mark that no other statement of this process has.
    pub(crate) fn marker(&self) -> String {
        format!("fettle-{}", self.next_marker.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens a connection for `user` with the session's settings applied.
    pub(crate) fn connect(&self, user: User, session: &Session<'_>) -> Result<Connection, Exception> {
        let mut arguments = vec![self.path.clone()];
        let settings = self.checked_settings(user, session)?;
        arguments.extend(settings.iter().map(|(name, value)| format!("--{name}={value}")));
        // Last: the settings before it could not be changed after it.
        if let Some(level) = readonly_level(user, session)? {
            arguments.push(format!("--readonly={level}"));
        }
        let mut connection =
            self.api.connect(&arguments).ok_or_else(|| self.why_refused(session.settings))?;
        if user == User::Reader {
            run(&mut connection, "SET ROLE reader")?;
        }
        if let Some(database) = session.database {
            self.use_database(&mut connection, database)?;
        }
        Ok(connection)
    }

    /// Makes `database` the connection's current one.
    pub(crate) fn use_database(&self, connection: &mut Connection, database: &str) -> Result<(), Exception> {
        run(connection, &format!("USE {}", quote_identifier(database)))
    }

    /// The request's settings, each known, and with the marker among them; `readonly` is left out.
    pub(crate) fn checked_settings(
        &self,
        user: User,
        session: &Session<'_>,
    ) -> Result<Vec<(String, String)>, Exception> {
        let mut comment = session.marker.to_owned();
        let mut settings = Vec::with_capacity(session.settings.len() + 1);
        for (name, value) in session.settings {
            match name.as_str() {
                "readonly" => {}
                "log_comment" => comment = format!("{} {value}", session.marker),
                _ if user == User::Reader && !guard::is_reader_setting(name) => {
                    return Err(read_only_setting(name))
                }
                _ if user == User::Reader && self.bounds.exceeded(name, value).is_some() => {
                    let most = self.bounds.exceeded(name, value).unwrap_or_default();
                    return Err(guard::beyond(name, most));
                }
                _ if self.known_settings.contains(name) => settings.push((name.clone(), value.clone())),
                _ => return Err(unknown_setting(name)),
            }
        }
        settings.push(("log_comment".to_owned(), comment));
        Ok(settings)
    }

    /// The engine says only that it refused; setting one by one on a plain connection says why.
    fn why_refused(&self, settings: &[(String, String)]) -> Exception {
        let Some(mut connection) = self.api.connect(std::slice::from_ref(&self.path)) else {
            return Exception::new(code::STD_EXCEPTION, "STD_EXCEPTION", "The engine gave no connection");
        };
        let tried = settings.iter().filter(|(name, _)| self.known_settings.contains(name));
        for (name, value) in tried {
            if let Err(error) = run(&mut connection, &format!("SET {name} = {}", quote_string(value))) {
                return error;
            }
        }
        Exception::new(code::BAD_ARGUMENTS, "BAD_ARGUMENTS", "The engine refused one of the settings")
    }

    /// Asks the engine to stop all statements.
    pub(crate) fn kill_all(&self) {
        self.run_kill("KILL QUERY WHERE query NOT LIKE 'KILL QUERY%' ASYNC");
    }

    /// Asks the engine to stop the statement with this marker, if it runs.
    pub(crate) fn kill(&self, marker: &str) {
        let sql = format!(
            "KILL QUERY WHERE splitByChar(' ', Settings['log_comment'])[1] = {} ASYNC",
            quote_string(marker)
        );
        self.run_kill(&sql);
    }

    fn run_kill(&self, sql: &str) {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = run(&mut root, sql) {
            tracing::warn!(error = error.message, "could not cancel a statement");
        }
    }
}

/// Runs a statement that has no result.
pub(crate) fn run(connection: &mut Connection, sql: &str) -> Result<(), Exception> {
    connection.query(sql.as_bytes(), "TSV", &[]).map(drop).map_err(Exception::from_engine)
}

/// The `readonly` to run with: a reader's and GET's is at least 2, and nobody lowers it.
fn readonly_level(user: User, session: &Session<'_>) -> Result<Option<&'static str>, Exception> {
    let forced = session.readonly || user == User::Reader;
    let asked = session.settings.iter().rev().find(|(name, _)| name == "readonly");
    match asked.map(|(_, value)| value.as_str()) {
        Some("1") => Ok(Some("1")),
        Some("2") => Ok(Some("2")),
        None if forced => Ok(Some("2")),
        None => Ok(None),
        Some("0") if !forced => Ok(None),
        Some(_) => Err(read_only_setting("readonly")),
    }
}

fn read_only_setting(name: &str) -> Exception {
    Exception::new(
        code::READONLY,
        "READONLY",
        format_args!("Cannot modify '{name}' setting in readonly mode"),
    )
}

fn unknown_setting(name: &str) -> Exception {
    Exception::new(
        code::UNKNOWN_SETTING,
        "UNKNOWN_SETTING",
        format_args!("Setting {name} is neither a builtin setting nor one this server defines"),
    )
}

/// A string literal.
pub(crate) fn quote_string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn quote_identifier(text: &str) -> String {
    format!("`{}`", text.replace('\\', "\\\\").replace('`', "\\`"))
}
