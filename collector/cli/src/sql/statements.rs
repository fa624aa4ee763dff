//! Splits a text into statements: ClickHouse's HTTP interface takes one at a time.
//!
//! A `;` ends a statement unless it stands in a string, a quoted name, a comment or a heredoc. An
//! `INSERT` with `FORMAT` takes everything after it, for what follows is rows and no SQL.

/// One statement, without its `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// Its text.
    pub(crate) text: &'a str,
}

impl Statement<'_> {
    /// True for an `INSERT` that ends with its format: the rows come from elsewhere.
    pub(crate) fn wants_rows(&self) -> bool {
        let words = words(self.text);
        let format = words.len().checked_sub(2).map(|at| words[at].eq_ignore_ascii_case("format"));
        starts_insert(&words) && format.unwrap_or(false)
    }
}

/// The statements of a text. Empty ones and mere comments are left out.
pub(crate) fn split(text: &str) -> Vec<Statement<'_>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = end_of_statement(text, start);
        let statement = text[start..end].trim();
        if !words(statement).is_empty() {
            found.push(Statement { text: statement });
        }
        start = end + 1;
    }
    found
}

/// True if the text ends within a statement: the prompt asks for more.
pub(crate) fn is_unfinished(text: &str) -> bool {
    let mut start = 0;
    while start < text.len() {
        let end = end_of_statement(text, start);
        if end >= text.len() {
            return !words(&text[start..]).is_empty() || skip_quoted(text, start).is_none();
        }
        start = end + 1;
    }
    false
}

/// The index of the `;` that ends the statement, or the end of the text.
fn end_of_statement(text: &str, start: usize) -> usize {
    let mut at = start;
    let mut words_seen: Vec<&str> = Vec::new();
    while let Some(c) = text[at..].chars().next() {
        if let Some(after) = skip_quoted(text, at).filter(|after| *after > at) {
            at = after;
        } else if c == ';' {
            return at;
        } else if c.is_alphanumeric() || c == '_' {
            let length =
                text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at);
            words_seen.push(&text[at..at + length]);
            at += length;
            if rows_follow(&words_seen) {
                return text.len();
            }
        } else if skip_quoted(text, at).is_none() {
            return text.len();
        } else {
            at += c.len_utf8();
        }
    }
    text.len()
}

/// True once an `INSERT` has named its format, unless that is `VALUES`, which is SQL.
fn rows_follow(words: &[&str]) -> bool {
    let [.., format, name] = words else { return false };
    starts_insert(words) && format.eq_ignore_ascii_case("format") && !name.eq_ignore_ascii_case("values")
}

fn starts_insert(words: &[&str]) -> bool {
    words.first().is_some_and(|word| word.eq_ignore_ascii_case("insert"))
}

/// The index after what is quoted or commented at `at`; `at` itself if nothing is; none if it never ends.
fn skip_quoted(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let found = match rest.as_bytes().first() {
        Some(b'\'') => quoted(rest, '\''),
        Some(b'"') => quoted(rest, '"'),
        Some(b'`') => quoted(rest, '`'),
        Some(b'-') if rest.starts_with("--") => Some(line(rest)),
        Some(b'#') if rest.starts_with("# ") || rest.starts_with("#!") => Some(line(rest)),
        Some(b'/') if rest.starts_with("/*") => rest[2..].find("*/").map(|end| end + 4),
        Some(b'$') => heredoc(rest),
        _ => Some(0),
    };
    found.map(|length| at + length)
}

fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// A doubled quote opens the next string at once, which comes to the same.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `$tag$ … $tag$`; a `$` that opens none is a character like others.
fn heredoc(rest: &str) -> Option<usize> {
    let Some(close) = rest[1..].find('$') else { return Some(0) };
    let tag = &rest[..close + 2];
    if !tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Some(0);
    }
    rest[tag.len()..].find(tag).map(|end| end + 2 * tag.len())
}

/// The words of a statement outside quotes and comments.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match skip_quoted(text, at) {
            None => break,
            Some(after) if after > at => at = after,
            Some(_) if c.is_alphanumeric() || c == '_' => {
                let length =
                    text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at);
                found.push(&text[at..at + length]);
                at += length;
            }
            Some(_) => at += c.len_utf8(),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text).iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn statements_are_split_at_semicolons_that_stand_alone() {
        let text =
            "SELECT ';', \"a;b\", `c;d`, 'it''s; \\';' -- ;\n/* ; */ + 1; SELECT $x$ ; $x$;\n;-- end;\n";
        let found = texts(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("+ 1") && found[1] == "SELECT $x$ ; $x$");
    }

    #[test]
    fn rows_of_an_insert_are_not_split() {
        let text = "INSERT INTO t FORMAT CSV\n1;2\n3;4\n";
        assert_eq!(texts(text), [text.trim()]);
        assert_eq!(texts("INSERT INTO t VALUES (1); SELECT 1").len(), 2);
        assert_eq!(texts("INSERT INTO t FORMAT Values (1); SELECT 1").len(), 2);
        assert!(split("INSERT INTO t FORMAT CSV")[0].wants_rows());
        assert!(!split("SELECT 1 FORMAT CSV")[0].wants_rows());
        assert!(!split("INSERT INTO t VALUES (1)")[0].wants_rows());
    }

    #[test]
    fn the_prompt_asks_for_more_until_the_semicolon() {
        for (text, unfinished) in [
            ("SELECT 1", true),
            ("SELECT 1;", false),
            ("SELECT ';", true),
            ("SELECT 1; SELECT", true),
            ("SELECT 1; -- done", false),
            ("", false),
            ("/* open", true),
        ] {
            assert_eq!(is_unfinished(text), unfinished, "{text}");
        }
    }

    #[test]
    fn odd_texts_end() {
        for text in ["$", "$a", "$a$", "'", "é;ß", "--", "/*", "#!x", "\\", "INSERT FORMAT"] {
            split(text);
            is_unfinished(text);
        }
    }
}
