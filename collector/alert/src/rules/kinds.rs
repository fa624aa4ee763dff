//! What a threshold rule has of its own in a file; the other kinds are in [`super::other_kinds`].

use std::collections::BTreeSet;

use fettle_shared::catalogue::{Catalogue, Family, MetricKind, Pace};

use super::expression::{metric_named, Expression, Operand};
use super::level::Compare;
use super::problem::Problems;
use super::quantity::{Dimension, Unit};
use super::reader::{matcher_of, word_of, Reader};
use super::rule::{Field, Group, Kind, Take, Threshold};
use super::select::Matcher;
use super::settle::{comparison, ladder, quantity_of, Particular};
use super::tree::{Content, Node};
use super::window::{Over, Reduce};

pub(crate) const SECOND_US: i64 = 1_000_000;

pub(crate) fn threshold(reader: &mut Reader<'_, '_>, catalogue: &Catalogue) -> Option<Particular> {
    let expression = expression(reader, catalogue);
    let select = reader.take("select");
    let group = reader.take("group");
    let window = window(reader);
    let compared = comparison(reader);
    if compared.is_none() {
        reader.miss("limit", "write one such as above: 90 or below: {high: 10%, critical: 5%}");
    }
    let (text, expression) = expression?;
    let position = main_family(reader, &expression, catalogue)?;
    let family = &catalogue.families[position];
    let columns: Vec<String> = family.entity.iter().map(|column| column.name.clone()).collect();
    let select = select.map(|node| columns_selected(node, family, reader.problems)).unwrap_or_default();
    let group = match group {
        Some(node) => Some(group_of(node, family, reader.problems)?),
        None => None,
    };
    let (reduce, seconds) = window?;
    let mut unit = expression.unit.clone();
    if matches!(&group, Some(group) if group.take == Take::Count) {
        unit = Unit::Unknown;
    }
    let is_rate = matches!(unit, Unit::Known { per_second: true, .. });
    let unit = match reduce {
        Reduce::Rate => unit.timed(true),
        Reduce::Increase => unit.timed(false),
        _ => unit,
    };
    let (word, compare, node) = compared?;
    let ladder = ladder(reader, (word, compare, node), |node, problems| quantity_of(node, &unit, problems))?;
    let speaks_early = match reduce {
        Reduce::Last | Reduce::Increase => true,
        Reduce::Max => compare.is_upward(),
        Reduce::Min => matches!(compare, Compare::Below | Compare::AtMost),
        Reduce::Mean | Reduce::P95 | Reduce::Rate => false,
    };
    let over = Over { reduce, seconds, is_rate, speaks_early, pace: pace(family) };
    let mut labels: BTreeSet<String> = ["host".to_owned(), "family".to_owned()].into();
    match &group {
        Some(group) => labels.extend(group.by.iter().map(|&at| columns[at].clone())),
        None => labels.extend(columns.iter().cloned()),
    }
    if single_metric(&expression) {
        labels.insert("metric".into());
    }
    let fields = fields(&expression, reduce, catalogue);
    let family_name = family.name.clone();
    let threshold = Threshold {
        expression,
        text,
        family: position,
        family_name,
        fields,
        columns,
        select,
        over,
        group,
        unit,
    };
    Some(Particular {
        kind: Kind::Threshold(threshold),
        ladder,
        labels: Some(labels),
        facts: &[],
        summary: "{{ rule }} on {{ host }}: {{ value|number }} {{ unit }}",
    })
}

/// Whether the expression is one metric and nothing else.
pub(crate) fn single_metric(expression: &Expression) -> bool {
    expression.operands.len() == 1 && matches!(expression.operands[0], Operand::Metric(_))
}

/// Which figure of a second each operand gives. A counter's mean is its rate over the whole second.
fn fields(expression: &Expression, reduce: Reduce, catalogue: &Catalogue) -> Vec<Field> {
    let is_single = single_metric(expression);
    let field = |operand: &Operand| match (operand, reduce) {
        (_, Reduce::Min) if is_single => Field::Min,
        (_, Reduce::Max) if is_single => Field::Max,
        (Operand::Metric(at), Reduce::Last | Reduce::Rate | Reduce::Increase) => {
            match catalogue.families[at.family].metrics[at.metric].kind {
                MetricKind::Gauge => Field::Last,
                MetricKind::Counter => Field::Mean,
            }
        }
        _ => Field::Mean,
    };
    expression.operands.iter().map(field).collect()
}

/// Seconds between two samples of a family, at least one.
pub(crate) fn pace(family: &Family) -> u32 {
    match family.pace {
        Pace::Fast => 1,
        Pace::Every(interval) => u32::try_from(interval.as_secs()).unwrap_or(3600).max(1),
    }
}

fn expression(reader: &mut Reader<'_, '_>, catalogue: &Catalogue) -> Option<(String, Expression)> {
    let (metric, expr) = (reader.take("metric"), reader.take("expr"));
    let (name, node) = match (metric, expr) {
        (Some(node), None) => ("metric", node),
        (None, Some(node)) => ("expr", node),
        (Some(_), Some(node)) => {
            reader.problems.add(node.at, "metric and expr exclude each other; keep one");
            return None;
        }
        (None, None) => {
            reader.miss("metric", "name one such as memory.available_bytes, or write an expr");
            return None;
        }
    };
    let text = node.scalar().unwrap_or_default();
    let parsed = if name == "metric" {
        metric_named(catalogue, &text).and_then(|_| Expression::parse(&text, catalogue))
    } else {
        Expression::parse(&text, catalogue)
    };
    match parsed {
        Ok(expression) => Some((text, expression)),
        Err(said) => {
            reader.problems.add(node.at, said);
            None
        }
    }
}

/// The family whose entities are looked at: the one with keys, of which there may be one only.
fn main_family(reader: &mut Reader<'_, '_>, expression: &Expression, catalogue: &Catalogue) -> Option<usize> {
    let mut families: Vec<usize> = Vec::new();
    for operand in &expression.operands {
        if let Operand::Metric(at) = operand {
            if !families.contains(&at.family) {
                families.push(at.family);
            }
        }
    }
    let keyed: Vec<usize> =
        families.iter().copied().filter(|&at| !catalogue.families[at].entity.is_empty()).collect();
    match (&keyed[..], families.first()) {
        ([one], _) => Some(*one),
        ([], Some(first)) => Some(*first),
        ([], None) => {
            reader.complain("the expression has no metric besides host.cpus; name one");
            None
        }
        ([a, b, ..], _) => {
            let names = [a, b].map(|at| catalogue.families[*at].name.as_str());
            reader.complain(format!(
                "{} and {} have different entities, which nobody can pair; use one of them",
                names[0], names[1]
            ));
            None
        }
    }
}

pub(crate) fn columns_selected(
    node: &Node,
    family: &Family,
    problems: &mut Problems,
) -> Vec<(usize, Matcher)> {
    let Content::Map(entries) = &node.content else {
        problems.add(node.at, format!("select is {}; write key columns and patterns", node.kind()));
        return Vec::new();
    };
    let mut select = Vec::new();
    for (key, value) in entries {
        match column_named(&key.name, family) {
            Ok(column) => {
                let matcher = matcher_of(&key.name, value, problems);
                if !matcher.is_open() {
                    select.push((column, matcher));
                }
            }
            Err(said) => problems.add(key.at, said),
        }
    }
    select
}

fn column_named(name: &str, family: &Family) -> Result<usize, String> {
    let names: Vec<&str> = family.entity.iter().map(|column| column.name.as_str()).collect();
    if let Some(column) = names.iter().position(|known| *known == name) {
        return Ok(column);
    }
    Err(if names.is_empty() {
        format!("{} is about the host as a whole and has no key columns; take {name:?} away", family.name)
    } else {
        format!("{} has no key column {name:?}; there are {}", family.name, names.join(", "))
    })
}

fn group_of(node: &Node, family: &Family, problems: &mut Problems) -> Option<Group> {
    let words = [
        ("sum", Take::Sum),
        ("mean", Take::Mean),
        ("min", Take::Min),
        ("max", Take::Max),
        ("count", Take::Count),
    ];
    if !matches!(node.content, Content::Map(_)) {
        return Some(Group { take: word_of("group", node, &words, problems)?, by: Vec::new() });
    }
    let mut reader = Reader::new(node, "group", problems)?;
    let take = reader.word("take", &words);
    if take.is_none() && node.get("take").is_none() {
        reader.miss("take", "write sum, mean, min, max or count");
    }
    let by = columns_listed(&mut reader, "by", family);
    reader.done();
    Some(Group { take: take?, by: by.unwrap_or_default() })
}

pub(crate) fn columns_listed(
    reader: &mut Reader<'_, '_>,
    key: &'static str,
    family: &Family,
) -> Option<Vec<usize>> {
    let mut columns = Vec::new();
    for (at, name) in reader.texts(key)? {
        match column_named(&name, family) {
            Ok(column) if columns.contains(&column) => {}
            Ok(column) => columns.push(column),
            Err(said) => reader.problems.add(at, said),
        }
    }
    columns.sort_unstable();
    Some(columns)
}

fn window(reader: &mut Reader<'_, '_>) -> Option<(Reduce, u32)> {
    let reduce = reader.word(
        "reduce",
        &[
            ("last", Reduce::Last),
            ("min", Reduce::Min),
            ("max", Reduce::Max),
            ("mean", Reduce::Mean),
            ("p95", Reduce::P95),
            ("rate", Reduce::Rate),
            ("increase", Reduce::Increase),
        ],
    );
    let node = reader.take("window");
    let window = reader.duration("window");
    match (reduce, node, window) {
        (None, None, _) => Some((Reduce::Last, 1)),
        (Some(Reduce::Last), None, _) => Some((Reduce::Last, 1)),
        (Some(_), None, _) => {
            reader.miss("window", "say over which time it is reduced, such as window: 5m");
            None
        }
        (None, Some(node), _) => {
            reader
                .problems
                .add(node.at, "window needs reduce; write last, min, max, mean, p95, rate or increase");
            None
        }
        (Some(reduce), Some(node), Some(us)) => {
            if us % SECOND_US != 0 || !(SECOND_US..=3600 * SECOND_US).contains(&us) {
                reader.problems.add(node.at, "window is not 1s to 1h in whole seconds; choose one that is");
                return None;
            }
            Some((reduce, u32::try_from(us / SECOND_US).unwrap_or(1)))
        }
        (_, _, None) => None,
    }
}

/// Whether values of this unit are shares; the display of values rests on it.
pub(crate) fn unit_words(unit: &Unit) -> String {
    match unit {
        Unit::Unknown | Unit::Constant(_) | Unit::Times(..) => String::new(),
        Unit::Known { dimension: Dimension::Ratio, .. } => String::new(),
        Unit::Known { dimension: Dimension::Percent, .. } => "%".into(),
        known => known.words(),
    }
}
