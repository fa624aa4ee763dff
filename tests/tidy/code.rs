//! What the rules ask of a file's tokens: the length of its functions, and the paths it names.

use crate::tokens::{past_closing, Token};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`.
    pub line: usize,
    /// Lines from its `fn` to its closing brace, both counted.
    pub lines: usize,
}

/// Every function that has a body, nested ones too.
pub fn functions(tokens: &[Token<'_>]) -> Vec<Function> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let is_name = tokens.get(at + 1).is_some_and(|name| !name.is("("));
        if !tokens[at].is("fn") || !is_name {
            continue;
        }
        if let Some(open) = body(tokens, at + 2) {
            let close = past_closing(tokens, open) - 1;
            let lines = tokens[close].line - tokens[at].line + 1;
            found.push(Function { name: tokens[at + 1].text.to_owned(), line: tokens[at].line, lines });
        }
    }
    found
}

/// The opening brace of the body of the function whose name ends before `at`; none for a mere declaration.
fn body(tokens: &[Token<'_>], mut at: usize) -> Option<usize> {
    while at < tokens.len() {
        if tokens[at].is("{") {
            return Some(at);
        }
        if tokens[at].is(";") {
            return None;
        }
        at = if tokens[at].is("(") || tokens[at].is("[") { past_closing(tokens, at) } else { at + 1 };
    }
    None
}

/// A path such as `std::fs::read`, written out or from the braces of a `use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    /// Its words.
    pub words: Vec<String>,
    /// The line of its last word.
    pub line: usize,
}

impl NamedPath {
    /// True if these words stand next to each other anywhere in the path.
    pub fn holds(&self, words: &str) -> bool {
        let words: Vec<&str> = words.split("::").collect();
        self.words.windows(words.len()).any(|window| window == words)
    }

    /// True if the path begins with these words.
    pub fn begins(&self, words: &str) -> bool {
        words.split("::").enumerate().all(|(at, word)| self.words.get(at).is_some_and(|own| own == word))
    }
}

/// Every path in the tokens; a single word is a path of one.
pub fn paths(tokens: &[Token<'_>]) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(tokens, at, &[], &mut found);
    }
    found
}

/// Reads the path or the one token at `at`, below `prefix`; gives the index after it.
fn path(tokens: &[Token<'_>], at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let mut words = prefix.to_vec();
    let mut at = at;
    loop {
        let Some(token) = tokens.get(at).filter(|token| token.kind == crate::tokens::Kind::Word) else {
            return at + 1;
        };
        words.push(token.text.to_owned());
        if !tokens.get(at + 1).is_some_and(|next| next.is("::")) {
            found.push(NamedPath { words, line: token.line });
            return at + 1;
        }
        if tokens.get(at + 2).is_some_and(|next| next.is("{")) {
            let end = past_closing(tokens, at + 2);
            let mut inside = at + 3;
            while inside + 1 < end {
                inside = path(&tokens[..end - 1], inside, &words, found);
            }
            return end;
        }
        if !tokens.get(at + 2).is_some_and(|next| next.kind == crate::tokens::Kind::Word) {
            found.push(NamedPath { words, line: token.line });
            return at + 2;
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokens;

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let source = "trait T { fn declared(&self) -> [u8; 3]; }\n\
                      fn outer(f: fn(u8) -> u8) -> [u8; { 3 }] {\n\"}\";\n// }\nfn inner() { '}'; }\n\n}\nstruct S;";
        let found = functions(&tokens(source));
        let summary: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(summary, [("outer", 2, 6), ("inner", 5, 1)]);
    }

    #[test]
    fn paths_are_read_through_use_braces() {
        let found = paths(&tokens("use a::{b::{self, c}, d as e, f::*}; x.y(g::h::<T>())"));
        let all: Vec<String> = found.iter().map(|path| path.words.join("::")).collect();
        for wanted in ["a::b::self", "a::b::c", "a::d", "a::f", "g::h"] {
            assert!(all.iter().any(|path| path == wanted), "{wanted} is not in {all:?}");
        }
    }

    #[test]
    fn words_are_matched_whole() {
        let path = &paths(&tokens("std::fs::read"))[0];
        assert!(path.holds("fs::read") && path.begins("std::fs"));
        assert!(!path.holds("fs::rea") && !path.begins("fs"));
    }
}
