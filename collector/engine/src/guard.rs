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
use crate::exception::{code, Exception};
use crate::sql::{first_word, has_word, Head};

/// How a statement may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Any way that fits it.
    Any,
    /// As a SELECT or not at all: the engine's parser did not know it.
    SelectOnly,
}

/// Names that reach the host's files, its network, or run text as a statement.
const READER_WORDS: [&str; 4] = ["file", "eval", "catboostEvaluate", "reverseDNSQuery"];
/// Clauses that would write or read this server's files for a remote client.
const FILE_CLAUSES: [&str; 2] = ["OUTFILE", "INFILE"];

/// Refuses what `user` may not run.
pub(crate) fn judge(
    user: User,
    connection: &mut Connection,
    text: &[u8],
    head: &Head,
    parameters: &[(String, String)],
) -> Result<Verdict, Exception> {
    let words = match user {
        User::Writer => &[][..],
        User::Reader => &READER_WORDS[..],
    };
    let is_insert = matches!(head, Head::Insert { .. });
    if user == User::Reader && is_insert {
        return Err(read_only());
    }
    let sql = match head {
        Head::Insert { end, .. } => &text[..*end],
        _ => text,
    };
    refuse_words(connection, sql, words, parameters)?;
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
    match (user, class) {
        (_, Class::Unknown) => Ok(Verdict::SelectOnly),
        (User::Writer, _) | (User::Reader, Class::ReadOnly) => Ok(Verdict::Any),
        // These change only the connection, which ends with the request.
        (User::Reader, Class::Control) if ["SET", "USE"].contains(&first_word(sql).as_str()) => {
            Ok(Verdict::Any)
        }
        (User::Reader, _) => Err(read_only()),
    }
}

/// Refuses statements in which a forbidden name stands outside literals and comments.
fn refuse_words(
    connection: &mut Connection,
    sql: &[u8],
    words: &[&str],
    parameters: &[(String, String)],
) -> Result<(), Exception> {
    let forbidden = |text: &[u8]| {
        let mut all = words.iter().chain(&FILE_CLAUSES);
        all.find(|word| has_word(text, word)).map(|word| (*word).to_owned())
    };
    // An escape inside a quoted name could spell a forbidden one.
    let escaped = |text: &[u8]| !words.is_empty() && text.contains(&b'\\');
    if !words.is_empty() && has_word(sql, "Identifier") {
        let name = parameters.iter().find_map(|(_, value)| forbidden(value.as_bytes()));
        if let Some(name) = name {
            return Err(refused(&name));
        }
    }
    if forbidden(sql).is_none() && !escaped(sql) {
        return Ok(());
    }
    let bare = without_literals(connection, sql)?;
    if escaped(&bare) {
        return Err(refused("\\"));
    }
    forbidden(&bare).map_or(Ok(()), |name| Err(refused(&name)))
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

fn read_only() -> Exception {
    Exception::new(
        code::READONLY,
        "READONLY",
        "default: Cannot execute query in readonly mode; only the user fettle may change data",
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
