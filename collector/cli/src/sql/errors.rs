//! What can go wrong in asking, each in one sentence.

use std::io;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// ClickHouse refused or failed.
    #[error("ClickHouse says: {message}{}", in_brackets(*.code))]
    Server {
        /// ClickHouse's number for the error; 0 if it gave none.
        code: u32,
        /// What it said, without its decorations.
        message: String,
    },
    /// Nobody answers.
    #[error(
        "cannot reach ClickHouse at {url} ({cause}); start it with `fettle up`, or name another with --url"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the connection said.
        cause: String,
    },
    /// The connection broke in the middle.
    #[error("the answer from {url} broke off ({cause}); ask again")]
    Broken {
        /// The address.
        url: String,
        /// What the connection said.
        cause: String,
    },
    /// The address is none.
    #[error("{url:?} is no HTTP address; write it like http://127.0.0.1:8123")]
    Url {
        /// What was given.
        url: String,
    },
    /// The answer is not in the format that was asked for.
    #[error("the server at {url} does not answer as ClickHouse does; is it one?")]
    Foreign {
        /// The address.
        url: String,
    },
    /// There is no statement in the input.
    #[error("there is no question in the input; write SQL, such as SELECT 1")]
    Nothing,
    /// The person gave up.
    #[error("given up")]
    Cancelled,
    /// Standard input cannot be read.
    #[error("cannot read standard input ({0})")]
    Input(io::Error),
    /// Standard output cannot be written.
    #[error("cannot write the answer ({0})")]
    Output(io::Error),
    /// The prompt cannot be shown.
    #[error("cannot show a prompt ({0}); give the question as an argument or through a pipe")]
    Prompt(String),
    /// The runtime could not be set up.
    #[error("cannot start ({0}); the process may have too few threads or open files")]
    Runtime(io::Error),
}

/// Where ClickHouse goes on with the question itself, or with what of it was being done.
const QUESTION: [&str; 7] = [
    " in scope ",
    ". In scope ",
    ": In scope ",
    " while processing",
    ": While processing",
    ": While executing",
    ": while executing",
];
/// Longest sentence that is shown, characters.
const MOST_CHARS: usize = 400;

/// ClickHouse's sentence without the question that it quotes. What it thinks was meant is kept, and the error's name.
fn without_question(message: &str) -> String {
    let end =
        message.rfind(" (").filter(|at| message.ends_with(')') && message[..*at].ends_with(['.', ' ', ':']));
    let (said, name) = message.split_at(end.unwrap_or(message.len()));
    let mut cut = QUESTION.iter().filter_map(|words| said.find(words)).min();
    if said.starts_with("Syntax error: failed at position ") {
        // The token is named; what follows it is the rest of the question.
        cut = said.find("): ").map(|at| at + 1).or(cut);
    }
    let Some(at) = cut else { return shortened(message, name) };
    let kept = [". Expected one of: ", ". Maybe you meant: "];
    let hint = kept.iter().find_map(|words| said[at..].find(words)).map_or("", |found| &said[at + found..]);
    let hint = if hint.is_empty() { "." } else { hint };
    shortened(&format!("{}{hint}{name}", &said[..at]), name)
}

fn shortened(message: &str, name: &str) -> String {
    match message.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}…{name}", &message[..at]),
        None => message.to_owned(),
    }
}

/// A syntax error lists everything that could have stood there, which may be a page: a page helps nobody.
fn without_long_list(message: &str) -> String {
    const LIST: &str = ". Expected one of: ";
    match (message.find(LIST), message.rfind(". (")) {
        (Some(list), Some(name)) if name > list + 200 => format!("{}{}", &message[..list], &message[name..]),
        _ => message.to_owned(),
    }
}

fn in_brackets(code: u32) -> String {
    if code == 0 {
        String::new()
    } else {
        format!(" (code {code})")
    }
}

impl SqlError {
    /// Reads ClickHouse's words: `Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE) (version 26.7)`.
    pub(crate) fn from_server(header_code: Option<u32>, text: &str) -> Self {
        let text = text.trim();
        let mut message = text;
        let mut code = header_code.unwrap_or(0);
        if let Some((number, rest)) = text.strip_prefix("Code: ").and_then(|rest| rest.split_once(". ")) {
            code = number.parse().unwrap_or(code);
            message = rest;
        }
        if let Some(at) = message.rfind(" (version ") {
            message = &message[..at];
        }
        let message = message.replace("DB::Exception: ", "").split_whitespace().collect::<Vec<_>>().join(" ");
        let message = without_question(&without_long_list(&message));
        let message = if message.is_empty() { "nothing but an error".to_owned() } else { message };
        Self::Server { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clickhouses_words_become_one_sentence() {
        let text = "Code: 60. DB::Exception: Table fettle.x does not exist. (UNKNOWN_TABLE) (version 26.7.3.1 (official build))\n";
        let error = SqlError::from_server(Some(60), text);
        assert_eq!(
            error.to_string(),
            "ClickHouse says: Table fettle.x does not exist. (UNKNOWN_TABLE) (code 60)"
        );
    }

    #[test]
    fn a_page_of_alternatives_is_left_out_and_a_short_list_kept() {
        let text = |list: &str| {
            format!("Code: 62. DB::Exception: Syntax error: SELEC 2. Expected one of: {list}. (SYNTAX_ERROR) (version 1)")
        };
        let short = SqlError::from_server(None, &text("FROM, WHERE")).to_string();
        assert!(short.contains("one of: FROM, WHERE. (SYNTAX_ERROR)"), "{short}");
        let long = SqlError::from_server(None, &text(&"SELECT query, ".repeat(50))).to_string();
        assert_eq!(long, "ClickHouse says: Syntax error: SELEC 2. (SYNTAX_ERROR) (code 62)");
    }

    #[test]
    fn the_question_is_not_repeated() {
        let told = |text: &str| SqlError::from_server(None, text).to_string();
        let question =
            format!("SELECT {} FROM fettle.net_stack WHERE host = 'a'", "toInt64(min(`x`)), ".repeat(300));
        for (text, wanted) in [
            (
                format!(
                    "Code: 47. DB::Exception: Unknown expression identifier `x` in scope {question}. Maybe you meant: \
                     ['y']. (UNKNOWN_IDENTIFIER) (version 26.7.3.1 (official build))"
                ),
                "ClickHouse says: Unknown expression identifier `x`. Maybe you meant: ['y']. (UNKNOWN_IDENTIFIER) (code 47)",
            ),
            (
                format!("Code: 47. DB::Exception: Unknown expression identifier `x` in scope {question}. (UNKNOWN_IDENTIFIER)"),
                "ClickHouse says: Unknown expression identifier `x`. (UNKNOWN_IDENTIFIER) (code 47)",
            ),
            (
                format!("Code: 6. DB::Exception: Cannot parse string 'a' as Int64: while executing 'FUNCTION {question}'. (CANNOT_PARSE_TEXT)"),
                "ClickHouse says: Cannot parse string 'a' as Int64. (CANNOT_PARSE_TEXT) (code 6)",
            ),
            (
                format!("Code: 62. DB::Exception: Syntax error: failed at position 8 (FROMM) (line 1, col 8): FROMM {question}. Expected one of: FROM, WHERE. (SYNTAX_ERROR)"),
                "ClickHouse says: Syntax error: failed at position 8 (FROMM) (line 1, col 8). Expected one of: FROM, WHERE. \
                 (SYNTAX_ERROR) (code 62)",
            ),
        ] {
            assert_eq!(told(&text), wanted);
        }
        let unknown = told(&format!("Code: 1. DB::Exception: Something about {question}. (SOMETHING)"));
        assert!(unknown.chars().count() < 500 && unknown.ends_with("… (SOMETHING) (code 1)"), "{unknown}");
    }

    #[test]
    fn other_words_are_kept() {
        assert_eq!(
            SqlError::from_server(None, "no\n such page").to_string(),
            "ClickHouse says: no such page"
        );
        assert_eq!(
            SqlError::from_server(Some(1), "").to_string(),
            "ClickHouse says: nothing but an error (code 1)"
        );
    }
}
