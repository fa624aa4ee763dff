//! A small reader of ClickHouse's tokens: enough to find where an INSERT's text ends and its data
//! begins, and which FORMAT a statement names. What a statement may do is never decided here: that
//! is the engine's own parser's answer.

/// How a statement starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Not an INSERT that brings its data: run the whole text.
    Whole,
    /// More text is needed to tell.
    More,
    /// An INSERT: its text up to `end`, data in `format` from `data` on.
    Insert {
        /// Where the statement ends, before FORMAT or VALUES.
        end: usize,
        /// The format's name.
        format: String,
        /// Where the data begins.
        data: usize,
    },
}

/// Reads the head of `text`; `complete` says that no more text will come.
pub(crate) fn head(text: &[u8], complete: bool) -> Head {
    let undecided = if complete { Head::Whole } else { Head::More };
    let mut tokens = Tokens::new(text);
    let Some(first) = tokens.next() else { return undecided };
    if first.end == text.len() && !complete {
        return Head::More;
    }
    if !first.is(text, "INSERT") {
        return Head::Whole;
    }
    let mut depth = 0;
    let mut names = 0;
    while let Some(token) = tokens.next() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            Kind::Unfinished => return undecided,
            _ if depth > 0 => {}
            _ if token.end == text.len() && !complete => return Head::More,
            Kind::Word if names > 0 && token.is(text, "VALUES") => {
                return Head::Insert { end: token.start, format: "Values".to_owned(), data: token.end };
            }
            Kind::Word if names > 0 && token.is(text, "FORMAT") => {
                return match tokens.next() {
                    Some(name) if name.kind == Kind::Word && (name.end < text.len() || complete) => {
                        let format = String::from_utf8_lossy(&text[name.start..name.end]).into_owned();
                        let data = name.end + data_gap(&text[name.end..]);
                        // The line's end may still be on its way.
                        if data == text.len() && !complete && !text.ends_with(b"\n") {
                            return Head::More;
                        }
                        Head::Insert { end: token.start, format, data }
                    }
                    _ => undecided,
                };
            }
            Kind::Word if names > 0 && (token.is(text, "SELECT") || token.is(text, "WITH")) => {
                return Head::Whole
            }
            Kind::Word if ["INTO", "TABLE", "FUNCTION"].iter().any(|word| token.is(text, word)) => {}
            Kind::Word | Kind::Quoted => names += 1,
            _ => {}
        }
    }
    undecided
}

/// Length of what stands between a format's name and its data: blanks, then at most one line end.
fn data_gap(text: &[u8]) -> usize {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | 0x0c)).count();
    match &text[blanks..] {
        [b'\r', b'\n', ..] => blanks + 2,
        [b'\n' | b'\r', ..] => blanks + 1,
        _ => blanks,
    }
}

/// Where a statement's own FORMAT clause is: the whole clause, and the name in it.
fn format_span(text: &[u8]) -> Option<(Token, Token)> {
    let tokens: Vec<Token> = Tokens::new(text).collect();
    let mut depth = 0;
    let mut found = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            Kind::Word if depth == 0 && token.is(text, "FORMAT") => {
                // A clause ends the statement, or only settings follow it; else it is a name.
                let name = tokens.get(at + 1).filter(|name| name.kind == Kind::Word);
                let last = match tokens.get(at + 2) {
                    None => true,
                    Some(next) => next.is(text, "SETTINGS") || text[next.start] == b';',
                };
                found = name.filter(|_| last).map(|name| (*token, *name)).or(found);
            }
            _ => {}
        }
    }
    found
}

/// The format that the statement's own FORMAT clause names, if it has one.
pub(crate) fn format_clause(text: &[u8]) -> Option<String> {
    let (_, name) = format_span(text)?;
    Some(String::from_utf8_lossy(&text[name.start..name.end]).into_owned())
}

/// The statement with its result sent to `path`, in its own format or else in `format`.
pub(crate) fn with_outfile(text: &[u8], path: &str, format: &str) -> Vec<u8> {
    let end = Tokens::new(text).filter(|token| text[token.start] != b';').last().map_or(0, |token| token.end);
    let text = &text[..end];
    let (head, format, tail) = match format_span(text) {
        Some((clause, name)) => (&text[..clause.start], &text[name.start..name.end], &text[name.end..]),
        None => (text, format.as_bytes(), &b""[..]),
    };
    // On lines of their own: the statement may end in a comment.
    [head, b"\nINTO OUTFILE '", path.as_bytes(), b"' APPEND\nFORMAT ", format, b"\n", tail].concat()
}

/// The first word of a statement, in capitals.
pub(crate) fn first_word(text: &[u8]) -> String {
    Tokens::new(text)
        .find(|token| token.kind != Kind::Open)
        .filter(|token| token.kind == Kind::Word)
        .map(|token| String::from_utf8_lossy(&text[token.start..token.end]).to_ascii_uppercase())
        .unwrap_or_default()
}

/// Whether `word` stands in `text` by itself, not as a part of a longer word.
pub(crate) fn has_word(text: &[u8], word: &str) -> bool {
    whole_words(text, word).next().is_some()
}

/// Where `word` stands in `text` by itself.
pub(crate) fn whole_words<'t>(text: &'t [u8], word: &'t str) -> impl Iterator<Item = usize> + 't {
    word_starts(text, word).filter(move |at| !is_word_part(text.get(at + word.len())))
}

/// Whether a word of `text` begins with `prefix`.
pub(crate) fn has_prefix(text: &[u8], prefix: &str) -> bool {
    word_starts(text, prefix).next().is_some()
}

fn word_starts<'t>(text: &'t [u8], word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.windows(word.len())
        .enumerate()
        .filter(|(_, window)| window.eq_ignore_ascii_case(word.as_bytes()))
        .filter_map(|(at, _)| {
            (!is_word_part(at.checked_sub(1).and_then(|before| text.get(before)))).then_some(at)
        })
}

fn is_word_part(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Text,
    Open,
    Close,
    Other,
    Unfinished,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

impl Token {
    fn is(&self, text: &[u8], word: &str) -> bool {
        self.kind == Kind::Word && text[self.start..self.end].eq_ignore_ascii_case(word.as_bytes())
    }
}

struct Tokens<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Tokens<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Steps over blanks and comments; false when a comment has no end.
    fn skip_blanks(&mut self) -> bool {
        loop {
            match &self.text[self.at..] {
                [blank, ..] if blank.is_ascii_whitespace() => self.at += 1,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => {
                    match self.text[self.at..].iter().position(|byte| *byte == b'\n') {
                        Some(line) => self.at += line + 1,
                        None => self.at = self.text.len(),
                    }
                }
                [b'/', b'*', rest @ ..] => match rest.windows(2).position(|pair| pair == b"*/") {
                    Some(end) => self.at += end + 4,
                    None => return false,
                },
                _ => return true,
            }
        }
    }

    /// The end of a quoted run that starts at `self.at`.
    fn quoted_end(&self, quote: u8) -> Option<usize> {
        let mut at = self.at + 1;
        loop {
            match self.text.get(at)? {
                b'\\' => at += 2,
                byte if *byte == quote && self.text.get(at + 1) == Some(&quote) => at += 2,
                byte if *byte == quote => return Some(at + 1),
                _ => at += 1,
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if !self.skip_blanks() {
            let start = self.at;
            self.at = self.text.len();
            return Some(Token { kind: Kind::Unfinished, start, end: self.at });
        }
        let start = self.at;
        let (kind, end) = match *self.text.get(start)? {
            quote @ (b'\'' | b'"' | b'`') => match self.quoted_end(quote) {
                Some(end) if quote == b'\'' => (Kind::Text, end),
                Some(end) => (Kind::Quoted, end),
                None => (Kind::Unfinished, self.text.len()),
            },
            b'(' | b'[' | b'{' => (Kind::Open, start + 1),
            b')' | b']' | b'}' => (Kind::Close, start + 1),
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let length = self.text[start..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
                    .count();
                (Kind::Word, start + length)
            }
            _ => (Kind::Other, start + 1),
        };
        self.at = end;
        Some(Token { kind, start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(text: &str) -> (String, String, String) {
        match head(text.as_bytes(), true) {
            Head::Insert { end, format, data } => (text[..end].to_owned(), format, text[data..].to_owned()),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_inserts_text_ends_before_its_format() {
        let cases = [
            ("INSERT INTO t FORMAT Native\nDATA", "INSERT INTO t ", "Native", "DATA"),
            (
                "insert into `a b`.t (x, format) SETTINGS a = 1 FORMAT CSV 1,2",
                "insert into `a b`.t (x, format) SETTINGS a = 1 ",
                "CSV",
                "1,2",
            ),
            (
                "/* FORMAT */ INSERT INTO t (a) VALUES (1), ('FORMAT')",
                "/* FORMAT */ INSERT INTO t (a) ",
                "Values",
                " (1), ('FORMAT')",
            ),
            (
                "INSERT INTO TABLE FUNCTION null('a String') FORMAT TSV\r\n\nx",
                "INSERT INTO TABLE FUNCTION null('a String') ",
                "TSV",
                "\nx",
            ),
        ];
        for (text, sql, format, data) in cases {
            assert_eq!(insert(text), (sql.to_owned(), format.to_owned(), data.to_owned()));
        }
    }

    #[test]
    fn a_head_cut_anywhere_asks_for_more() {
        let text = b"INSERT INTO db.t (a, `b)`) SETTINGS x = 'FORMAT' FORMAT RowBinary\n";
        for cut in 0..text.len() {
            assert_eq!(head(&text[..cut], false), Head::More, "cut at {cut}");
        }
        assert!(
            matches!(head(&[&text[..], b"\0"].concat(), false), Head::Insert { data, .. } if data == text.len())
        );
    }

    #[test]
    fn other_statements_run_whole() {
        for text in [
            "SELECT 1",
            "INSERT INTO t SELECT 1 FORMAT TSV",
            "INSERT INTO t WITH x AS (SELECT 1) SELECT 2",
            "CREATE TABLE t (a UInt8)",
            "",
        ] {
            assert_eq!(head(text.as_bytes(), true), Head::Whole, "{text}");
        }
    }

    #[test]
    fn an_outfile_is_put_where_it_belongs() {
        let spliced = |text: &str| String::from_utf8(with_outfile(text.as_bytes(), "p", "TSV")).unwrap();
        assert_eq!(spliced("SELECT 1; -- x"), "SELECT 1\nINTO OUTFILE 'p' APPEND\nFORMAT TSV\n");
        assert_eq!(
            spliced("SELECT 1 FORMAT CSV SETTINGS a = 1"),
            "SELECT 1 \nINTO OUTFILE 'p' APPEND\nFORMAT CSV\n SETTINGS a = 1"
        );
        assert_eq!(
            spliced("SELECT format AS format FROM t"),
            "SELECT format AS format FROM t\nINTO OUTFILE 'p' APPEND\nFORMAT TSV\n"
        );
    }

    #[test]
    fn formats_and_words_are_found() {
        assert_eq!(format_clause(b"SELECT format('x') FORMAT JSON -- FORMAT CSV").as_deref(), Some("JSON"));
        assert_eq!(format_clause(b"SELECT 'FORMAT JSON'"), None);
        assert_eq!(format_clause(b"SELECT 1 AS format FROM t"), None);
        assert_eq!(format_clause(b"SELECT 1 format CSV SETTINGS a = 1;").as_deref(), Some("CSV"));
        assert_eq!(first_word(b"/* x */ (select 1)"), "SELECT");
        assert!(has_word(b"SELECT File ('x')", "file") && !has_word(b"SELECT file_name, profile", "file"));
    }
}
