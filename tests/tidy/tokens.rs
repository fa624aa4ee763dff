//! A small lexer for Rust: just enough to tell code from comments, strings and characters.
//!
//! The rules look at tokens and never at raw text, so a word in a comment or a brace in a string
//! cannot mislead them. A parser crate would know more, but the rules ask nothing more than names,
//! paths and matching braces, and this compiles in a blink. What it cannot read it passes over as
//! punctuation: `rustc` complains about such a file better than we could.

/// What a token is, as far as the rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name or keyword, a raw one without its `r#`.
    Word,
    /// A string or character literal of any sort, or a lifetime.
    Literal,
    /// One character of punctuation, except `::`, which is one token.
    Mark,
}

/// One token and the line it starts on, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text as written.
    pub text: &'a str,
    /// The line its first character is on.
    pub line: usize,
}

impl Token<'_> {
    /// True if this is the punctuation or the word `text`.
    pub fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

/// All tokens of `source`, comments and white space left out.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1 };
    let mut found = Vec::new();
    while let Some(token) = lexer.next() {
        found.push(token);
    }
    found
}

/// The tokens without those of items under `#[cfg(test)]`: what runs in production.
pub fn without_tests<'a>(all: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        if starts_with(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(all, at + 7);
        } else {
            kept.push(all[at]);
            at += 1;
        }
    }
    kept
}

/// True if the next tokens are exactly these.
pub fn starts_with(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.is(text))
}

/// The index just past the bracket that closes the one at `open`, or the end.
pub fn past_closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.is("(") || token.is("[") || token.is("{") {
            depth += 1;
        } else if token.is(")") || token.is("]") || token.is("}") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return index + 1;
            }
        }
    }
    tokens.len()
}

/// The index just past the item that starts at `at`: after its `;`, or after its braces.
fn end_of_item(tokens: &[Token<'_>], mut at: usize) -> usize {
    while at < tokens.len() {
        if tokens[at].is(";") {
            return at + 1;
        }
        let braces = tokens[at].is("{");
        if braces || tokens[at].is("(") || tokens[at].is("[") {
            at = past_closing(tokens, at);
            if braces {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let rest = &self.source[self.at..];
        let first = rest.chars().next()?;
        let (kind, length) = if let Some(length) = literal_length(rest) {
            (Kind::Literal, length)
        } else if first.is_alphanumeric() || first == '_' {
            (Kind::Word, word_length(rest))
        } else if rest.starts_with("::") {
            (Kind::Mark, 2)
        } else {
            (Kind::Mark, first.len_utf8())
        };
        let text = &rest[..length];
        let token = Token { kind, text: text.strip_prefix("r#").unwrap_or(text), line: self.line };
        self.pass(length);
        Some(token)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.source[self.at..];
            let blank = rest.len() - rest.trim_start().len();
            let length = if blank > 0 { blank } else { comment_length(rest) };
            if length == 0 {
                return;
            }
            self.pass(length);
        }
    }

    fn pass(&mut self, length: usize) {
        self.line += self.source[self.at..self.at + length].matches('\n').count();
        self.at += length;
    }
}

/// The length of the word at the start, with `r#` if it is a raw one.
fn word_length(rest: &str) -> usize {
    let prefix = if rest.starts_with("r#") { 2 } else { 0 };
    let word = &rest[prefix..];
    prefix + word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len())
}

/// The length of the comment at the start, 0 if there is none. Block comments nest.
fn comment_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if !rest.starts_with("/*") {
        return 0;
    }
    let (bytes, mut depth, mut at) = (rest.as_bytes(), 0usize, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the string, character or lifetime at the start.
fn literal_length(rest: &str) -> Option<usize> {
    let unprefixed = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - unprefixed.len();
    if prefix > 1 {
        return None;
    }
    if unprefixed.starts_with('"') {
        return Some(prefix + quoted_length(unprefixed, '"'));
    }
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = &raw[hashes + 1..];
            let length = body.find(&end).map_or(body.len(), |at| at + end.len());
            return Some(prefix + 1 + hashes + 1 + length);
        }
        return None;
    }
    unprefixed.starts_with('\'').then(|| prefix + character_length(unprefixed))
}

/// `'a'`, `'\n'` and `'\u{1f600}'` are characters; `'a` without a closing quote is a lifetime.
fn character_length(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted_length(rest, '\''),
        (Some(one), Some('\'')) => 2 + one.len_utf8(),
        _ => 1 + word_length(&rest[1..]),
    }
}

/// The length of a literal that opens and closes with `quote` and escapes with a backslash.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_strings_and_characters_hide_their_braces() {
        let source =
            "a /* { /* } */ { */ b // {\n \"{\\\"{\" '{' '\\'' r#\"{\"{\"# b\"}\" c\"{\" 'life r#type ::";
        let found = texts(source);
        assert_eq!(found[..2], ["a", "b"]);
        assert_eq!(found[found.len() - 3..], ["'life", "type", "::"]);
        assert!(!tokens(source).iter().any(|token| token.is("{") || token.is("}")));
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let found = tokens("\"a\nb\" /*\n*/ x\ny");
        assert_eq!(found.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn a_broken_file_ends_the_lexer_and_not_the_test() {
        for source in ["\"open", "/* open", "r#\"open", "'", "b'", "r#", "'\\"] {
            tokens(source);
        }
    }

    #[test]
    fn items_under_cfg_test_are_left_out_and_nothing_else() {
        let source = "a #[cfg(test)] mod t { b [c] } d #[cfg(test)] use e::f; g #[cfg(test)] #[x(1)] fn h() -> [u8; 2] { i } j";
        let kept = without_tests(&tokens(source));
        assert_eq!(kept.iter().map(|token| token.text).collect::<Vec<_>>(), ["a", "d", "g", "j"]);
    }
}
