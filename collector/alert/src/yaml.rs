//! YAML as a tree whose every node knows its line and column: what all files that people write in YAML are read
//! from.
//!
//! Files of rules and of policies are read from this tree and not by derived deserialization, because that stops at the
//! first error and speaks of Rust's types: here a file's errors are all found, each at its place, in words about what it
//! is for. Settings, which have a fixed form, are read into their types ([`read`]).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

mod typed;

pub use typed::{read, Placed};

/// The largest file that is read, in bytes.
pub const MOST_BYTES: usize = 1 << 20;
/// The deepest nesting that is read.
const MOST_DEPTH: usize = 32;

/// A place in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1; 0 where it is unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 where it is unknown.
    pub column: u32,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub at: Place,
    /// What stands there.
    pub content: Content,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the file's order; no key stands twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Where it stands.
    pub at: Place,
    /// Its name.
    pub name: String,
}

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NotRead {
    /// Where.
    pub at: Place,
    /// One sentence that says what to do.
    pub what: String,
}

impl Node {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "yes or no",
            Content::Number(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// A scalar as its text; numbers as they would be written.
    pub fn scalar(&self) -> Option<String> {
        match &self.content {
            Content::Text(text) => Some(text.clone()),
            Content::Number(number) => Some(number.to_string()),
            Content::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Lays another mapping's keys over this one's.
    pub fn overlay(&mut self, other: &Node) {
        let (Content::Map(own), Content::Map(theirs)) = (&mut self.content, &other.content) else { return };
        for (key, node) in theirs {
            match own.iter_mut().find(|(mine, _)| mine.name == key.name) {
                Some(entry) => *entry = (key.clone(), node.clone()),
                None => own.push((key.clone(), node.clone())),
            }
        }
    }

    /// A text that is the same for the same content wherever it stands.
    pub fn canonical(&self, out: &mut String) {
        use fmt::Write as _;
        match &self.content {
            Content::Null => out.push('~'),
            Content::Bool(value) => out.push(if *value { 'y' } else { 'n' }),
            Content::Number(number) => {
                let _ = write!(out, "#{number:?}");
            }
            Content::Text(text) => {
                let _ = write!(out, "{text:?}");
            }
            Content::List(items) => {
                out.push('[');
                for item in items {
                    item.canonical(out);
                    out.push(',');
                }
                out.push(']');
            }
            Content::Map(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| a.0.name.cmp(&b.0.name));
                out.push('{');
                for (key, node) in sorted {
                    let _ = write!(out, "{:?}:", key.name);
                    node.canonical(out);
                    out.push(',');
                }
                out.push('}');
            }
        }
    }
}

/// Reads a file's text. An empty file is `Null`.
///
/// # Errors
/// It is larger than [`MOST_BYTES`], nested too deep, no YAML, or a key stands twice in a mapping.
pub fn parse(text: &str) -> Result<Node, NotRead> {
    if text.len() > MOST_BYTES {
        let what = "the file is larger than 1 MiB; split it".to_owned();
        return Err(NotRead { at: Place::default(), what });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MOST_DEPTH, flow_nesting_limit: MOST_DEPTH, max_aliases: 1000 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options).map(node).map_err(|error| {
        let at = error.location();
        let at = at.map_or_else(Place::default, |location| place(location.line(), location.column()));
        NotRead { at, what: said(&error) }
    })
}

/// The parser's words, as one line without its own account of the place.
fn said(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    let first = match first.find(" at line ").or_else(|| first.find(" (line ")) {
        Some(cut) => &first[..cut],
        None => first,
    };
    format!("this is not the YAML that is expected: {first}; correct it here or just before")
}

fn place(line: u64, column: u64) -> Place {
    Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}

fn node(raw: Spanned<Raw>) -> Node {
    let at = place(raw.referenced.line(), raw.referenced.column());
    let content = match raw.value {
        Raw::Null => Content::Null,
        Raw::Bool(value) => Content::Bool(value),
        Raw::Number(number) => Content::Number(number),
        Raw::Text(text) => Content::Text(text),
        Raw::List(items) => Content::List(items.into_iter().map(node).collect()),
        Raw::Map(entries) => Content::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let at = place(key.referenced.line(), key.referenced.column());
                    (Key { at, name: key.value }, node(value))
                })
                .collect(),
        ),
    };
    Node { at, content }
}

enum Raw {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_and_key_knows_its_place() {
        let text = "rules:\n  - name: a\n    above: {high: 90, critical: 95%}\n    enabled: true\n";
        let root = parse(text).unwrap();
        let Content::List(rules) = &root.get("rules").unwrap().content else { panic!("a list") };
        assert_eq!(rules[0].at, Place { line: 2, column: 5 });
        let above = rules[0].get("above").unwrap();
        let Content::Map(levels) = &above.content else { panic!("a mapping") };
        assert_eq!(levels[1].0.at, Place { line: 3, column: 23 });
        assert_eq!(levels[1].1.at, Place { line: 3, column: 33 });
        assert_eq!(levels[1].1.content, Content::Text("95%".into()));
        assert_eq!(levels[0].1.content, Content::Number(90.0));
        assert_eq!(rules[0].get("enabled").unwrap().content, Content::Bool(true));
    }

    #[test]
    fn what_is_no_yaml_is_refused_at_its_place() {
        for text in ["a: [1, 2", "a: b: c", "a: 1\na: 2\n", "a: &x *x", "a: .nan"] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.at.line > 0, "{text}: {wrong:?}");
            assert_eq!(wrong.what.lines().count(), 1);
        }
    }

    #[test]
    fn nesting_and_size_are_bounded() {
        for text in ["[".repeat(100_000), "a: ".repeat(50), "x".repeat(MOST_BYTES + 1)] {
            assert!(parse(&text).is_err());
        }
    }
}
