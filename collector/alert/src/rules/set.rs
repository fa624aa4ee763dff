//! All rules in force: the default pack, changed and added to by files.

use std::collections::BTreeMap;
use std::sync::Arc;

use fettle_shared::catalogue::{catalogue, Catalogue};

use super::problem::{probably, Problem, Problems};
use super::reader::Reader;
use super::rule::Rule;
use super::settle;
use super::tree::{self, Content, Node};

/// The default pack's text.
pub const DEFAULT_PACK: &str = include_str!("../../rules/default.yaml");
/// How problems name the default pack.
pub const DEFAULT_PACK_NAME: &str = "default.yaml";
/// The most rules there may be.
pub const MOST_RULES: usize = 2_000;

/// Rules that were checked together.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    /// In the order of the files; names are unique.
    pub rules: Vec<Arc<Rule>>,
}

/// One file's share.
#[derive(Default)]
struct Part {
    rules: Vec<Node>,
    changes: Vec<Node>,
    with_pack: bool,
}

impl RuleSet {
    /// The default pack as it is shipped.
    ///
    /// # Errors
    /// Never in a program whose tests passed: one of them reads it.
    pub fn default_pack() -> Result<Self, Vec<Problem>> {
        Self::load(&[])
    }

    /// The default pack with these files (name, text) on top: `rules` adds to it, `change` lays keys over rules of
    /// the pack, `default_pack: false` leaves it out.
    ///
    /// # Errors
    /// Every problem that was found, by file and line.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        Self::load_with(files, catalogue())
    }

    fn load_with(files: &[(String, String)], catalogue: &Catalogue) -> Result<Self, Vec<Problem>> {
        let mut found = Vec::new();
        let mut parts: Vec<(String, Part)> = Vec::new();
        let pack = (DEFAULT_PACK_NAME.to_owned(), DEFAULT_PACK.to_owned());
        for (file, text) in std::iter::once(&pack).chain(files) {
            let mut problems = Problems::of(file);
            let part = read(text, &mut problems);
            found.extend(problems.into_found());
            parts.push((file.clone(), part));
        }
        if !parts.iter().all(|(_, part)| part.with_pack) {
            parts[0].1.rules.clear();
        }
        // A change is laid over its rule before the rule is settled; both places may then be at fault.
        let (first, rest) = parts.split_at_mut(1);
        let mut changed_by: BTreeMap<String, String> = BTreeMap::new();
        for (file, part) in rest.iter() {
            let mut problems = Problems::of(file);
            for change in &part.changes {
                change_rule(change, &mut first[0].1.rules, file, &mut changed_by, &mut problems);
            }
            found.extend(problems.into_found());
        }
        let mut rules: Vec<Arc<Rule>> = Vec::new();
        let mut places: BTreeMap<String, (String, u32)> = BTreeMap::new();
        for (file, part) in &parts {
            for node in &part.rules {
                let name = node.get("name").and_then(Node::scalar).unwrap_or_default();
                let file = changed_by.get(&name).filter(|_| *file == DEFAULT_PACK_NAME).unwrap_or(file);
                let mut problems = Problems::of(file);
                if let Some((other, line)) = places.get(&name).filter(|_| !name.is_empty()) {
                    let hint = if other == DEFAULT_PACK_NAME {
                        "; to alter a rule of the default pack use change"
                    } else {
                        ""
                    };
                    problems.add(
                        node.at,
                        format!("rule {name} stands already in {other} line {line}; rename one{hint}"),
                    );
                }
                if rules.len() == MOST_RULES {
                    problems.add(node.at, format!("there are more than {MOST_RULES} rules; take some away"));
                    found.extend(problems.into_found());
                    return Err(found);
                }
                places.entry(name).or_insert_with(|| (file.clone(), node.at.line));
                rules.extend(settle::rule(node, file, catalogue, &mut problems).map(Arc::new));
                found.extend(problems.into_found());
            }
        }
        if found.is_empty() {
            Ok(Self { rules })
        } else {
            Err(found)
        }
    }

    /// The rule of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// Of the names there are, the one that was probably meant.
    pub fn probably(&self, name: &str) -> Option<&str> {
        probably(name, self.rules.iter().map(|rule| rule.name.as_str()))
    }
}

fn read(text: &str, problems: &mut Problems) -> Part {
    let mut part = Part { with_pack: true, ..Part::default() };
    let Some(root) = tree::parse(text, problems) else { return part };
    if root.content == Content::Null {
        return part;
    }
    let Some(mut reader) = Reader::new(&root, "a file of rules", problems) else { return part };
    let rules = reader.take("rules");
    let changes = reader.take("change");
    part.with_pack = reader.flag("default_pack").unwrap_or(true);
    for (name, node, into) in [("rules", rules, &mut part.rules), ("change", changes, &mut part.changes)] {
        match node.map(|node| (&node.content, node)) {
            None => {}
            Some((Content::List(items), _)) => into.clone_from(items),
            Some((_, node)) => {
                let said =
                    format!("{name} is {}; write a list, each item beginning with - name:", node.kind());
                reader.problems.add(node.at, said);
            }
        }
    }
    reader.done();
    part
}

fn change_rule(
    change: &Node,
    pack: &mut [Node],
    file: &str,
    changed_by: &mut BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let Some(name) = change.get("name").and_then(Node::scalar) else {
        problems.add(change.at, "a change has no name; name the rule of the default pack that it alters");
        return;
    };
    let names: Vec<String> = pack.iter().filter_map(|node| node.get("name").and_then(Node::scalar)).collect();
    let Some(at) = names.iter().position(|known| *known == name) else {
        let said = match probably(&name, names.iter().map(String::as_str)) {
            Some(meant) => format!("the default pack has no rule {name:?}; did you mean {meant}?"),
            None => format!("the default pack has no rule {name:?}; `fettle rules list` shows them"),
        };
        problems.add(change.at, said);
        return;
    };
    if let Some(other) = changed_by.insert(name.clone(), file.to_owned()) {
        problems
            .add(change.at, format!("rule {name} is changed already in {other}; put both changes together"));
        return;
    }
    pack[at].overlay(change);
    pack[at].at = change.at;
}
