//! From a tree to a rule: what all kinds have in common, and the ladder of levels.

use std::collections::BTreeSet;

use fettle_shared::catalogue::Catalogue;

use crate::handoff::Severity;

use super::level::{Compare, Ladder, Level};
use super::problem::{Place, Problems};
use super::quantity::{quantity, Unit};
use super::reader::{duration_of, is_name, severity_word, word_of, Reader, SEVERITIES};
use super::rule::{Kind, Rule};
use super::template::Templates;
use super::tree::{Content, Node};
use super::{kinds, other_kinds};

/// What a kind contributes to its rule.
pub(crate) struct Particular {
    pub(crate) kind: Kind,
    pub(crate) ladder: Ladder,
    /// Names of the labels its findings have, without the rule's own; `None`: nobody can know.
    pub(crate) labels: Option<BTreeSet<String>>,
    /// Names that its templates may use besides the common ones.
    pub(crate) facts: &'static [&'static str],
    /// The summary where the rule has none.
    pub(crate) summary: &'static str,
}

#[derive(Clone, Copy)]
enum Which {
    Threshold,
    Anomaly,
    Forecast,
    Prediction,
    Absence,
    Sql,
}

/// Keys that some kind has.
const KINDS_KEYS: [&str; 31] = [
    "above",
    "at_least",
    "at_most",
    "below",
    "by",
    "clear",
    "clear_for",
    "columns",
    "equals",
    "expr",
    "for",
    "forget_after",
    "group",
    "interval",
    "metric",
    "metrics",
    "not",
    "of",
    "probability",
    "query",
    "reduce",
    "resource",
    "select",
    "severity",
    "silent",
    "stale_after",
    "value",
    "window",
    "within",
    "labels",
    "name",
];

/// Settles one rule. Whatever is wrong is added to `problems`; `None` if anything was.
pub(crate) fn rule(node: &Node, file: &str, catalogue: &Catalogue, problems: &mut Problems) -> Option<Rule> {
    let before = problems.count();
    let name = node.get("name").and_then(Node::scalar);
    let what = name.as_ref().map_or_else(|| "the rule".to_owned(), |name| format!("rule {name}"));
    let mut reader = Reader::new(node, what, problems)?;
    let name = name_of(&mut reader, node);
    let kind = kind_of(&mut reader, node);
    let enabled = reader.flag("enabled").unwrap_or(true);
    let labels = reader.labels("labels");
    let hosts = reader.matcher("hosts");
    let runbook = reader.text("runbook");
    let action = reader.text("action");
    let summary = reader.text("summary");
    let description = reader.text("description");
    // Without a kind nobody knows which keys there are.
    let particular = match kind? {
        Which::Threshold => kinds::threshold(&mut reader, catalogue),
        Which::Anomaly => other_kinds::anomaly(&mut reader, catalogue),
        Which::Forecast => other_kinds::forecast(&mut reader, catalogue),
        Which::Prediction => other_kinds::prediction(&mut reader),
        Which::Absence => other_kinds::absence(&mut reader, catalogue),
        Which::Sql => other_kinds::sql(&mut reader, name.as_deref().unwrap_or_default()),
    };
    if particular.is_none() {
        // It may have stopped before it had asked for everything.
        reader.also(&KINDS_KEYS);
    }
    reader.done();
    let particular = particular?;
    let known = particular.labels.map(|mut known| {
        for label in labels.keys().filter(|label| known.contains(*label)) {
            let said = format!("label {label:?} is given by what the rule looks at; choose another name");
            problems.add(node.get("labels").map_or(node.at, |node| node.at), said);
        }
        known.extend(labels.keys().cloned());
        known
    });
    let summary = summary.unwrap_or_else(|| particular.summary.to_owned());
    let description = description.unwrap_or_default();
    let templates = Templates::new(&summary, &description, known.as_ref(), particular.facts)
        .map_err(|(key, said)| problems.add(node.get(key).map_or(node.at, |node| node.at), said))
        .ok();
    let mut canonical = String::new();
    node.canonical(&mut canonical);
    (problems.count() == before).then_some(())?;
    Some(Rule {
        name: name?,
        enabled,
        labels,
        runbook,
        action,
        file: file.to_owned(),
        line: node.at.line,
        hosts,
        templates: templates?,
        kind: particular.kind,
        ladder: particular.ladder,
        digest: crate::handoff::fingerprint(&canonical, &crate::handoff::Labels::new()),
    })
}

fn name_of(reader: &mut Reader<'_, '_>, node: &Node) -> Option<String> {
    match reader.text("name") {
        Some(name) if is_name(&name) => Some(name),
        Some(name) => {
            let at = node.get("name").map_or(node.at, |node| node.at);
            let said =
                format!("{name:?} is no name of a rule; begin with a letter, then letters, digits and _");
            reader.problems.add(at, said);
            None
        }
        None => {
            reader.miss("name", "give it one, such as disk_full");
            None
        }
    }
}

fn kind_of(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Which> {
    let kind = reader.word(
        "kind",
        &[
            ("threshold", Which::Threshold),
            ("anomaly", Which::Anomaly),
            ("forecast", Which::Forecast),
            ("prediction", Which::Prediction),
            ("absence", Which::Absence),
            ("sql", Which::Sql),
        ],
    );
    if node.get("kind").is_none() {
        reader.miss("kind", "write threshold, anomaly, forecast, prediction, absence or sql");
    }
    kind
}

/// The comparison and its limits: `above: 90`, or `above: {high: 90, critical: 95}`.
pub(crate) fn comparison<'a>(reader: &mut Reader<'a, '_>) -> Option<(&'static str, Compare, &'a Node)> {
    let words = [
        ("above", Compare::Above),
        ("at_least", Compare::AtLeast),
        ("below", Compare::Below),
        ("at_most", Compare::AtMost),
        ("equals", Compare::Equals),
        ("not", Compare::Not),
    ];
    let mut found: Option<(&'static str, Compare, &Node)> = None;
    for (word, compare) in words {
        if let Some(node) = reader.take(word) {
            if let Some((first, ..)) = found {
                reader.problems.add(node.at, format!("{first} and {word} exclude each other; keep one"));
            } else {
                found = Some((word, compare, node));
            }
        }
    }
    found
}

/// Reads the levels of a rule: limits from `node`, then `severity`, `for` and `clear`.
pub(crate) fn ladder(
    reader: &mut Reader<'_, '_>,
    (word, compare, node): (&'static str, Compare, &Node),
    mut limit: impl FnMut(&Node, &mut Problems) -> Option<f64>,
) -> Option<Ladder> {
    let mut limits = Vec::new();
    let by_severity = matches!(node.content, Content::Map(_));
    if let Content::Map(entries) = &node.content {
        let severity = reader.take("severity");
        if let Some(severity) = severity {
            let said = format!("{word} names its severities itself; take severity away");
            reader.problems.add(severity.at, said);
        }
        for (key, value) in entries {
            let severity = named_severity(word, &key.name, key.at, reader.problems);
            limits.push((severity?, value.at, limit(value, reader.problems)?));
        }
        limits.sort_by_key(|(severity, ..)| *severity);
    } else {
        let severity = severity(reader);
        limits.push((severity?, node.at, limit(node, reader.problems)?));
    }
    if limits.is_empty() {
        reader.problems.add(node.at, format!("{word} has no level; write one such as high: 90"));
        return None;
    }
    for pair in limits.windows(2) {
        let ((milder, ..), (worse, at, _)) = (&pair[0], &pair[1]);
        let rises = if compare.is_upward() { pair[1].2 > pair[0].2 } else { pair[1].2 < pair[0].2 };
        if !rises || matches!(compare, Compare::Equals | Compare::Not) {
            let said = format!(
                "{word} for {} does not go beyond that for {}; the worse the severity, the further its limit",
                severity_word(*worse),
                severity_word(*milder)
            );
            reader.problems.add(*at, said);
            return None;
        }
    }
    let waits = waits(reader, &limits, by_severity);
    let clears = clears(reader, compare, &limits, by_severity, limit);
    let clear_for_us = reader.duration("clear_for").unwrap_or(0);
    let levels = limits
        .iter()
        .zip(waits.into_iter().zip(clears))
        .map(|(&(severity, _, enter), (for_us, clear))| Level { severity, enter, clear, for_us })
        .collect();
    Some(Ladder { compare, levels, clear_for_us })
}

/// `severity` of a rule with one level.
pub(crate) fn severity(reader: &mut Reader<'_, '_>) -> Option<Severity> {
    let found = reader.take("severity");
    match found {
        Some(node) => word_of("severity", node, &SEVERITIES, reader.problems),
        None => {
            reader.miss("severity", "write low, medium, high or critical");
            None
        }
    }
}

fn named_severity(what: &str, name: &str, at: Place, problems: &mut Problems) -> Option<Severity> {
    let found = SEVERITIES.iter().find(|(word, _)| *word == name).map(|(_, severity)| *severity);
    if found.is_none() {
        problems.add(at, format!("{what} names {name:?}; the levels are low, medium, high and critical"));
    }
    found
}

type Limit = (Severity, Place, f64);

/// `for`: one duration, or one a level.
fn waits(reader: &mut Reader<'_, '_>, limits: &[Limit], by_severity: bool) -> Vec<i64> {
    let mut waits = vec![0; limits.len()];
    let Some(node) = reader.take("for") else { return waits };
    match &node.content {
        Content::Map(entries) if by_severity => {
            for (key, value) in entries {
                let place = level_named("for", &key.name, key.at, limits, reader.problems);
                let wait = duration_of("for", value, reader.problems);
                if let (Some(place), Some(wait)) = (place, wait) {
                    waits[place] = wait;
                }
            }
        }
        _ => waits.fill(duration_of("for", node, reader.problems).unwrap_or(0)),
    }
    waits
}

/// `clear`: where each level ends; by itself it ends where it begins.
fn clears(
    reader: &mut Reader<'_, '_>,
    compare: Compare,
    limits: &[Limit],
    by_severity: bool,
    mut limit: impl FnMut(&Node, &mut Problems) -> Option<f64>,
) -> Vec<f64> {
    let mut clears: Vec<f64> = limits.iter().map(|(.., enter)| *enter).collect();
    let Some(node) = reader.take("clear") else { return clears };
    if matches!(compare, Compare::Equals | Compare::Not) {
        reader.problems.add(node.at, "clear has no meaning with equals and not; use clear_for");
        return clears;
    }
    let mut set = |place: usize, node: &Node, problems: &mut Problems| {
        let Some(clear) = limit(node, problems) else { return };
        let enter = limits[place].2;
        let is_right = if compare.is_upward() { clear <= enter } else { clear >= enter };
        if is_right {
            clears[place] = clear;
        } else {
            let side = if compare.is_upward() { "above" } else { "below" };
            problems.add(
                node.at,
                format!("clear lies {side} the limit, so it would end at once; choose one on the other side"),
            );
        }
    };
    match (&node.content, limits.len()) {
        (Content::Map(entries), _) if by_severity => {
            for (key, value) in entries {
                if let Some(place) = level_named("clear", &key.name, key.at, limits, reader.problems) {
                    set(place, value, reader.problems);
                }
            }
        }
        (_, 1) => set(0, node, reader.problems),
        _ => reader
            .problems
            .add(node.at, "clear is one value for several levels; write one a level, such as high: 85"),
    }
    clears
}

fn level_named(
    what: &str,
    name: &str,
    at: Place,
    limits: &[Limit],
    problems: &mut Problems,
) -> Option<usize> {
    let severity = named_severity(what, name, at, problems)?;
    let place = limits.iter().position(|(level, ..)| *level == severity);
    if place.is_none() {
        problems.add(at, format!("{what} names {name}, which is no level of this rule; take it away"));
    }
    place
}

/// A limit in the unit of what it is compared with.
pub(crate) fn quantity_of(node: &Node, unit: &Unit, problems: &mut Problems) -> Option<f64> {
    let said = match (&node.content, node.scalar()) {
        (Content::Bool(_), _) | (_, None) => format!("a limit is {}; write a number", node.kind()),
        (_, Some(text)) => match quantity(&text, unit) {
            Ok(value) => return Some(value),
            Err(said) => said,
        },
    };
    problems.add(node.at, said);
    None
}
