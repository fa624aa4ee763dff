//! What a statement may be, beyond what the engine's own grants and `readonly` already refuse.
//!
//! The engine runs as an embedded library, and there a few things escape its access rights: the
//! function `file()` reads any file, the table function `eval()` runs text, INTO OUTFILE writes where
//! it likes, KILL QUERY reaches everyone's queries because all connections are the same user, and a
//! text may hold several statements. The class of a statement is the engine's parser's answer, and
//! words are looked for in what the engine's own lexer leaves when literals and comments are gone, so
//! no spelling can tell this file one thing and the engine another.

use crate::auth::User;
use crate::binding::{Class, Connection};
use crate::bounds::Bounds;
use crate::exception::{code, Exception};
use crate::sql::{first_word, has_prefix, has_word, Head};

/// How a statement may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Any way that fits it.
    Any,
    /// It only reads and has a result.
    Reading,
    /// As a SELECT or not at all: the engine's parser did not know it.
    SelectOnly,
}

/// Names that reach the host's files, its network, or run text as a statement.
const READER_WORDS: [&str; 4] = ["file", "eval", "catboostEvaluate", "reverseDNSQuery"];
/// Beginnings of settings through which formats read, write or fetch files, or the parser changes.
const READER_SETTINGS: [&str; 8] = [
    "format_schema",
    "format_template_",
    "format_avro_schema_registry_",
    "output_format_schema",
    "input_format_record_errors_",
    "rename_files_after_processing",
    "url_base",
    "dialect",
];
/// Clauses that would write or read this server's files for a remote client.
const FILE_CLAUSES: [&str; 2] = ["OUTFILE", "INFILE"];

/// Who runs a statement, and how it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The user.
    pub(crate) user: User,
    /// Sent by GET, which reads only.
    pub(crate) readonly: bool,
    /// How far a reader may set limits.
    pub(crate) bounds: Bounds,
}

/// Refuses what `caller` may not run.
pub(crate) fn judge(
    caller: Caller,
    connection: &mut Connection,
    text: &[u8],
    head: &Head,
    parameters: &[(String, String)],
) -> Result<Verdict, Exception> {
    let is_insert = matches!(head, Head::Insert { .. });
    if is_insert && (caller.user == User::Reader || caller.readonly) {
        return Err(read_only(caller));
    }
    let sql = match head {
        Head::Insert { end, .. } => &text[..*end],
        _ => text,
    };
    refuse_words(caller, connection, sql, parameters)?;
    if is_insert {
        return Ok(Verdict::Any);
    }
    let (count, class) = connection.classify(sql);
    if count > 1 {
        return Err(Exception::new(
            code::SYNTAX_ERROR,
            "SYNTAX_ERROR",
            "Syntax error (Multi-statements are not allowed): send one statement in a request",
        ));
    }
    let free = caller.user == User::Writer && !caller.readonly;
    match class {
        Class::Unknown => Ok(Verdict::SelectOnly),
        Class::ReadOnly => Ok(Verdict::Reading),
        _ if free => Ok(Verdict::Any),
        // These change only the connection, and the engine refuses those that would lift `readonly`.
        Class::Control if is_session_change(sql) => Ok(Verdict::Any),
        _ => Err(read_only(caller)),
    }
}

/// `SET name = value` or `USE database`, but never `SET ROLE`, which would outlive it in a session.
fn is_session_change(sql: &[u8]) -> bool {
    ["SET", "USE"].contains(&first_word(sql).as_str()) && !has_word(sql, "ROLE")
}

/// Whether a reader may use this setting, in the URL as in SQL.
pub(crate) fn is_reader_setting(name: &str) -> bool {
    !READER_SETTINGS.iter().any(|prefix| name.starts_with(prefix))
}

/// The first name in `text` that `user` may not use.
fn forbidden(user: User, text: &[u8]) -> Option<&'static str> {
    let reader = (user == User::Reader).then(|| {
        let mut words = READER_WORDS.iter().filter(|word| has_word(text, word));
        words.next().or_else(|| READER_SETTINGS.iter().find(|prefix| has_prefix(text, prefix)))
    });
    reader.flatten().or_else(|| FILE_CLAUSES.iter().find(|word| has_word(text, word))).copied()
}

/// Refuses statements in which a forbidden name stands outside literals and comments.
fn refuse_words(
    caller: Caller,
    connection: &mut Connection,
    sql: &[u8],
    parameters: &[(String, String)],
) -> Result<(), Exception> {
    let user = caller.user;
    // An escape inside a quoted name could spell a forbidden one.
    let escaped = |text: &[u8]| user == User::Reader && text.contains(&b'\\');
    if user == User::Reader && has_word(sql, "Identifier") {
        let name = parameters.iter().find_map(|(_, value)| forbidden(user, value.as_bytes()));
        if let Some(name) = name {
            return Err(refused(name));
        }
    }
    let sets_limits = user == User::Reader && caller.bounds.are_named(sql);
    if forbidden(user, sql).is_none() && !escaped(sql) && !sets_limits {
        return Ok(());
    }
    let bare = without_literals(connection, sql)?;
    if escaped(&bare) {
        return Err(refused("\\"));
    }
    if let Some((name, most)) = caller.bounds.lifted(sql, &bare).filter(|_| sets_limits) {
        return Err(beyond(name, most));
    }
    forbidden(user, &bare).map_or(Ok(()), |name| Err(refused(name)))
}

/// The statement as the engine's lexer sees it, literals replaced by `?`, comments gone.
fn without_literals(connection: &mut Connection, sql: &[u8]) -> Result<Vec<u8>, Exception> {
    let text = String::from_utf8_lossy(sql);
    let escaped = text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
    let parameters = [("statement".to_owned(), escaped)];
    let answer = connection
        .query(b"SELECT normalizeQuery({statement:String})", "RawBLOB", &parameters)
        .map_err(Exception::from_engine)?;
    Ok(answer.as_ref().to_vec())
}

fn read_only(caller: Caller) -> Exception {
    let why = match caller.user {
        User::Reader => {
            "default: Cannot execute query in readonly mode; only the user fettle may change data"
        }
        User::Writer => {
            "fettle: Cannot execute query in readonly mode; GET implies readonly, use POST to change data"
        }
    };
    Exception::new(code::READONLY, "READONLY", why)
}

/// A limit that a reader may not set so high.
pub(crate) fn beyond(name: &str, most: u64) -> Exception {
    Exception::new(
        code::READONLY,
        "READONLY",
        format_args!(
            "Readers may set '{name}' to a plain number above 0, {most} at most; lower it or leave it out"
        ),
    )
}

fn refused(name: &str) -> Exception {
    Exception::new(
        code::ACCESS_DENIED,
        "ACCESS_DENIED",
        format_args!(
            "Not enough privileges: '{name}' reaches beyond the tables of this server and is refused"
        ),
    )
}
