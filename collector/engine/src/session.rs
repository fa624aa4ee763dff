//! Named sessions (`session_id`): connections that outlive their request, with what was set on them.
//!
//! A request's own settings still end with it: they are read before, set, and put back after.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::auth::User;
use crate::binding::Connection;
use crate::engine::{quote_string, run, Engine, Session};
use crate::exception::{code, Exception};
use crate::request::SessionRequest;

/// Most sessions kept at once.
const MAX_SESSIONS: usize = 64;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_TIMEOUT_SECONDS: u64 = 3600;

type Key = (User, String);

enum Slot {
    Busy,
    Idle { connection: Connection, expires: Instant },
}

/// The sessions there are.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: Mutex<HashMap<Key, Slot>>,
}

/// A session in use by one request.
pub(crate) struct Lease<'s> {
    sessions: &'s Sessions,
    key: Key,
    timeout: Duration,
    connection: Option<Connection>,
    restore: Option<String>,
}

impl Sessions {
    /// Takes the session that `asked` names, or makes it, and applies the request's settings.
    pub(crate) fn take(
        &self,
        engine: &Engine,
        user: User,
        asked: &SessionRequest,
        session: &Session<'_>,
    ) -> Result<Lease<'_>, Exception> {
        let timeout = timeout(asked)?;
        let key = (user, asked.id.clone());
        let connection = self.reserve(&key, asked.check)?;
        // From here on the slot is ours: the lease's Drop frees it on every path.
        let mut lease = Lease { sessions: self, key, timeout, connection, restore: None };
        if lease.connection.is_none() {
            // Without a marker: what it is put back to must not be found by a late KILL.
            lease.connection = Some(engine.connect(user, &Session::default())?);
        }
        lease.apply(engine, user, session)?;
        Ok(lease)
    }

    /// Marks the slot busy; gives its connection if it has one.
    fn reserve(&self, key: &Key, must_exist: bool) -> Result<Option<Connection>, Exception> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        slots.retain(|_, slot| !matches!(slot, Slot::Idle { expires, .. } if *expires < now));
        match slots.get(key) {
            Some(Slot::Busy) => {
                let text = format_args!("Session {} is locked by a concurrent client", key.1);
                return Err(Exception::new(code::SESSION_IS_LOCKED, "SESSION_IS_LOCKED", text));
            }
            None if must_exist => {
                let text = format_args!("Session {} not found", key.1);
                return Err(Exception::new(code::SESSION_NOT_FOUND, "SESSION_NOT_FOUND", text));
            }
            None if slots.len() >= MAX_SESSIONS => {
                let text = format_args!("There are {MAX_SESSIONS} sessions already; let some end");
                return Err(Exception::new(202, "TOO_MANY_SIMULTANEOUS_QUERIES", text));
            }
            _ => {}
        }
        match slots.insert(key.clone(), Slot::Busy) {
            Some(Slot::Idle { connection, .. }) => Ok(Some(connection)),
            _ => Ok(None),
        }
    }
}

impl Lease<'_> {
    /// The session's connection.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        // Set by `take` before a lease is handed out, and taken only by Drop.
        self.connection.as_mut().expect("a lease holds its connection")
    }

    fn apply(&mut self, engine: &Engine, user: User, session: &Session<'_>) -> Result<(), Exception> {
        let settings = engine.checked_settings(user, session)?;
        let names: Vec<String> = settings.iter().map(|(name, _)| quote_string(name)).collect();
        let sql = format!("SELECT name, value FROM system.settings WHERE name IN ({})", names.join(", "));
        let connection = self.connection();
        let before = connection.query(sql.as_bytes(), "TSV", &[]).map_err(Exception::from_engine)?;
        let before = String::from_utf8_lossy(before.as_ref()).into_owned();
        // TSV escapes a value as a quoted string does, all but the quote itself.
        let pairs = before.lines().filter_map(|line| line.split_once('\t'));
        let restore: Vec<String> =
            pairs.map(|(name, value)| format!("{name} = '{}'", value.replace('\'', "\\'"))).collect();
        let assignments: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} = {}", quote_string(value))).collect();
        self.restore = Some(format!("SET {}", restore.join(", ")));
        run(self.connection(), &format!("SET {}", assignments.join(", ")))?;
        match session.database {
            Some(database) => engine.use_database(self.connection(), database),
            None => Ok(()),
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let restored = match (&mut self.connection, self.restore.take()) {
            (Some(connection), Some(sql)) => run(connection, &sql).is_ok(),
            _ => false,
        };
        let mut slots = self.sessions.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match self.connection.take().filter(|_| restored) {
            Some(connection) => {
                let expires = Instant::now() + self.timeout;
                slots.insert(self.key.clone(), Slot::Idle { connection, expires });
            }
            // What cannot be put back must not be used again.
            None => drop(slots.remove(&self.key)),
        }
    }
}

fn timeout(asked: &SessionRequest) -> Result<Duration, Exception> {
    let Some(text) = &asked.timeout else { return Ok(DEFAULT_TIMEOUT) };
    match text.parse() {
        Ok(seconds @ 0..=MAX_TIMEOUT_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(Exception::new(
            code::INVALID_SESSION_TIMEOUT,
            "INVALID_SESSION_TIMEOUT",
            format_args!("Session timeout '{text}' is not a number up to {MAX_TIMEOUT_SECONDS}"),
        )),
    }
}
