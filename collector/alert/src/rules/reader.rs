//! Reads a mapping key by key, and at its end complains about the keys that nobody asked for.

use crate::handoff::{Labels, Severity};

use super::problem::{probably, Place, Problems};
use super::quantity::duration_us;
use super::select::{Matcher, Pattern};
use super::tree::{Content, Key, Node};

/// Longest text of a name, in characters.
const MOST_NAME: usize = 100;
/// Most items in a list of patterns.
const MOST_PATTERNS: usize = 1000;

/// A mapping that is being read.
pub(crate) struct Reader<'a, 'p> {
    entries: &'a [(Key, Node)],
    asked: Vec<&'static str>,
    /// What the mapping is, in words: `rule disk_full`.
    what: String,
    pub(crate) at: Place,
    pub(crate) problems: &'p mut Problems,
}

impl<'a, 'p> Reader<'a, 'p> {
    /// Begins with a node that has to be a mapping.
    pub(crate) fn new(node: &'a Node, what: impl Into<String>, problems: &'p mut Problems) -> Option<Self> {
        let what = what.into();
        match &node.content {
            Content::Map(entries) => Some(Self { entries, asked: Vec::new(), what, at: node.at, problems }),
            _ => {
                let said = format!("{what} is {} here; write it as keys and values", node.kind());
                problems.add(node.at, said);
                None
            }
        }
    }

    /// The value of a key; an empty one counts as a problem.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.asked.push(name);
        let (key, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        if node.content == Content::Null {
            self.problems.add(key.at, format!("{name} has no value; give it one or take it away"));
            return None;
        }
        Some(node)
    }

    /// Says that a key is missing.
    pub(crate) fn miss(&mut self, name: &str, hint: &str) {
        let said = format!("{} has no {name}; {hint}", self.what);
        self.problems.add(self.at, said);
    }

    /// A problem of the whole mapping.
    pub(crate) fn complain(&mut self, said: impl Into<String>) {
        let said = format!("{}: {}", self.what, said.into());
        self.problems.add(self.at, said);
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        let node = self.take(name)?;
        let text = node.scalar();
        if text.is_none() {
            self.problems.add(node.at, format!("{name} is {}; write text", node.kind()));
        }
        text
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let node = self.take(name)?;
        match node.content {
            Content::Bool(flag) => Some(flag),
            _ => {
                self.problems.add(node.at, format!("{name} is {}; write true or false", node.kind()));
                None
            }
        }
    }

    /// A duration in µs.
    pub(crate) fn duration(&mut self, name: &'static str) -> Option<i64> {
        let node = self.take(name)?;
        duration_of(name, node, self.problems)
    }

    /// A share from 0 to 1, or percent.
    pub(crate) fn probability(&mut self, name: &'static str) -> Option<f64> {
        let node = self.take(name)?;
        probability_of(name, node, self.problems)
    }

    /// One of these words.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let node = self.take(name)?;
        word_of(name, node, words, self.problems)
    }

    /// Texts: one, or a list.
    pub(crate) fn texts(&mut self, name: &'static str) -> Option<Vec<(Place, String)>> {
        let node = self.take(name)?;
        let items = match &node.content {
            Content::List(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        let mut found = Vec::new();
        for item in items {
            match item.scalar() {
                Some(text) => found.push((item.at, text)),
                None => {
                    self.problems.add(item.at, format!("{name} holds {}; write text", item.kind()));
                    return None;
                }
            }
        }
        Some(found)
    }

    /// Labels: names and texts.
    pub(crate) fn labels(&mut self, name: &'static str) -> Labels {
        let Some(node) = self.take(name) else { return Labels::new() };
        let Content::Map(entries) = &node.content else {
            self.problems.add(node.at, format!("{name} is {}; write names and values", node.kind()));
            return Labels::new();
        };
        let mut labels = Labels::new();
        for (key, value) in entries {
            match (is_name(&key.name), value.scalar()) {
                (false, _) => {
                    self.problems.add(
                        key.at,
                        format!("{:?} is no name of a label; use letters, digits and _", key.name),
                    );
                }
                (_, None) => self.problems.add(value.at, format!("a label is {}; write text", value.kind())),
                (true, Some(text)) => {
                    labels.insert(key.name.clone(), text);
                }
            }
        }
        labels
    }

    pub(crate) fn matcher(&mut self, name: &'static str) -> Matcher {
        match self.take(name) {
            Some(node) => matcher_of(name, node, self.problems),
            None => Matcher::default(),
        }
    }

    /// Keys that count as asked for.
    pub(crate) fn also(&mut self, names: &[&'static str]) {
        self.asked.extend_from_slice(names);
    }

    /// Ends: whatever was not asked for is refused.
    pub(crate) fn done(self) {
        for (key, _) in self.entries {
            if self.asked.contains(&key.name.as_str()) {
                continue;
            }
            let said = match probably(&key.name, self.asked.iter().copied()) {
                Some(meant) => format!("{} has no key {:?}; did you mean {meant}?", self.what, key.name),
                None => {
                    let mut known = self.asked.clone();
                    known.sort_unstable();
                    known.dedup();
                    format!("{} has no key {:?}; there are {}", self.what, key.name, known.join(", "))
                }
            };
            self.problems.add(key.at, said);
        }
    }
}

pub(crate) const SEVERITIES: [(&str, Severity); 4] = [
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

/// The word of a severity.
pub(crate) fn severity_word(severity: Severity) -> &'static str {
    SEVERITIES[severity as usize].0
}

pub(crate) fn duration_of(name: &str, node: &Node, problems: &mut Problems) -> Option<i64> {
    let said = match node.scalar() {
        Some(text) => match duration_us(&text) {
            Ok(us) => return Some(us),
            Err(said) => said,
        },
        None => format!("it is {}; write it like 30s, 5m, 2h or 1h30m", node.kind()),
    };
    problems.add(node.at, format!("{name}: {said}"));
    None
}

pub(crate) fn probability_of(name: &str, node: &Node, problems: &mut Problems) -> Option<f64> {
    let text = node.scalar().unwrap_or_default();
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
        None => text.parse::<f64>().ok(),
    };
    match share {
        Some(share) if (0.0..=1.0).contains(&share) => Some(share),
        _ => {
            problems.add(node.at, format!("{name} is no probability; write 0.8 or 80%"));
            None
        }
    }
}

pub(crate) fn word_of<T: Copy>(
    name: &str,
    node: &Node,
    words: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let text = node.scalar();
    let found = text.as_ref().and_then(|text| words.iter().find(|(word, _)| word == text));
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let said = match &text {
            Some(text) => format!("{name} is {text:?}; write one of {}", known.join(", ")),
            None => format!("{name} is {}; write one of {}", node.kind(), known.join(", ")),
        };
        problems.add(node.at, said);
    }
    found.map(|(_, value)| *value)
}

/// A pattern, a list of them, or a mapping with `any` and `not`.
pub(crate) fn matcher_of(name: &str, node: &Node, problems: &mut Problems) -> Matcher {
    let mut matcher = Matcher::default();
    match &node.content {
        Content::Map(entries) => {
            for (key, value) in entries {
                let into = match key.name.as_str() {
                    "any" => &mut matcher.any,
                    "not" => &mut matcher.none,
                    other => {
                        problems.add(
                            key.at,
                            format!("{name} has no key {other:?}; write a pattern, a list, or any and not"),
                        );
                        continue;
                    }
                };
                patterns(name, value, into, problems);
            }
        }
        _ => patterns(name, node, &mut matcher.any, problems),
    }
    matcher
}

fn patterns(name: &str, node: &Node, into: &mut Vec<Pattern>, problems: &mut Problems) {
    let items = match &node.content {
        Content::List(items) => &items[..],
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() || items.len() > MOST_PATTERNS {
        problems
            .add(node.at, format!("{name} needs 1 to {MOST_PATTERNS} patterns; write them or take it away"));
        return;
    }
    for item in items {
        match item.scalar() {
            Some(text) => into.push(Pattern::new(&text)),
            None => problems.add(item.at, format!("{name} holds {}; write text such as web-*", item.kind())),
        }
    }
}

/// Letters, digits and underscores, beginning with a letter.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= MOST_NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
