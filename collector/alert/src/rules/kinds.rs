//! What each kind of rule has of its own in a file.

use std::collections::{BTreeMap, BTreeSet};

use fettle_analysis::forecast::Resource;
use fettle_shared::catalogue::{Catalogue, Family, MetricKind, Pace};

use super::expression::{metric_named, Expression, Operand};
use super::level::{Compare, Ladder, Level};
use super::problem::{probably, Problems};
use super::quantity::{Dimension, Unit};
use super::reader::{duration_of, matcher_of, probability_of, word_of, Reader, SEVERITIES};
use super::rule::{
    Absence, AnomalyRule, Field, ForecastRule, Group, Kind, PredictionRule, SqlRule, Take, Threshold,
};
use super::select::Matcher;
use super::settle::{comparison, ladder, quantity_of, severity, Particular};
use super::tree::{Content, Node};
use super::window::{Over, Reduce};

const SECOND_US: i64 = 1_000_000;

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

fn columns_selected(node: &Node, family: &Family, problems: &mut Problems) -> Vec<(usize, Matcher)> {
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

fn columns_listed(reader: &mut Reader<'_, '_>, key: &'static str, family: &Family) -> Option<Vec<usize>> {
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

pub(crate) fn anomaly(reader: &mut Reader<'_, '_>, catalogue: &Catalogue) -> Option<Particular> {
    let is_host = reader.word("of", &[("host", true), ("series", false)]);
    if is_host.is_none() {
        reader.miss("of", "write host or series");
    }
    let metrics_at = reader.take("metrics");
    let metrics = reader.matcher("metrics");
    let select = free_select(reader, catalogue);
    let at_least = reader.word("at_least", &SEVERITIES);
    if at_least.is_none() {
        reader.miss("at_least", "write from which severity of an anomaly on: low, medium, high or critical");
    }
    let fixed = reader.word("severity", &SEVERITIES);
    let for_us = reader.duration("for").unwrap_or(0);
    let quiet_us = reader.duration("clear_for").unwrap_or(60 * SECOND_US);
    let (is_host, at_least) = (is_host?, at_least?);
    if is_host && (metrics_at.is_some() || !select.is_empty()) {
        reader.complain("metrics and select are about series; take them away or write of: series");
        return None;
    }
    let level = |severity, from| Level { severity, enter: rank(from), clear: rank(from), for_us };
    let levels = match fixed {
        Some(severity) => vec![level(severity, at_least)],
        None => SEVERITIES
            .iter()
            .filter(|(_, severity)| *severity >= at_least)
            .map(|&(_, severity)| level(severity, severity))
            .collect(),
    };
    Some(Particular {
        kind: Kind::Anomaly(AnomalyRule { is_host, metrics, select, quiet_us }),
        ladder: Ladder { compare: Compare::AtLeast, levels, clear_for_us: 0 },
        labels: is_host.then(|| ["host".to_owned()].into()),
        facts: &["score", "words"],
        summary: "{{ host }} behaves oddly: {{ words }}",
    })
}

/// A severity as a value on a ladder.
pub(crate) fn rank(severity: crate::handoff::Severity) -> f64 {
    f64::from(severity as u8)
}

/// `select` of rules whose findings are about entities of any family.
fn free_select(reader: &mut Reader<'_, '_>, catalogue: &Catalogue) -> BTreeMap<String, Matcher> {
    let Some(node) = reader.take("select") else { return BTreeMap::new() };
    let Content::Map(entries) = &node.content else {
        reader.problems.add(node.at, format!("select is {}; write key columns and patterns", node.kind()));
        return BTreeMap::new();
    };
    let known: BTreeSet<&str> = catalogue
        .families
        .iter()
        .flat_map(|family| family.entity.iter().map(|column| column.name.as_str()))
        .collect();
    let mut select = BTreeMap::new();
    for (key, value) in entries {
        if known.contains(key.name.as_str()) {
            select.insert(key.name.clone(), matcher_of(&key.name, value, reader.problems));
        } else {
            let said = match probably(&key.name, known.iter().copied()) {
                Some(meant) => format!("no family has a key column {:?}; did you mean {meant}?", key.name),
                None => format!("no family has a key column {:?}; take it away", key.name),
            };
            reader.problems.add(key.at, said);
        }
    }
    select
}

/// A resource's word, as it is written in rules.
pub(crate) fn resource_word(resource: Resource) -> &'static str {
    match resource {
        Resource::Disk => "disk",
        Resource::Inodes => "inodes",
        Resource::Memory => "memory",
        Resource::Swap => "swap",
        Resource::Descriptors => "descriptors",
        Resource::ProcessMemory => "process_memory",
        Resource::Conntrack => "conntrack",
    }
}

pub(crate) fn forecast(reader: &mut Reader<'_, '_>, catalogue: &Catalogue) -> Option<Particular> {
    let words = Resource::ALL.map(resource_word);
    let named = reader.texts("resource");
    if named.is_none() {
        reader.miss("resource", "write disk, inodes, memory, swap, descriptors, process_memory or conntrack");
    }
    for (at, text) in named.iter().flatten() {
        if text != "*" && !words.contains(&text.as_str()) {
            let said = format!("there is no resource {text:?}; there are {} and *", words.join(", "));
            reader.problems.add(*at, said);
        }
    }
    let resources = reader.matcher("resource");
    let select = free_select(reader, catalogue);
    let probability = reader.probability("probability").unwrap_or(0.8);
    let quiet_us = reader.duration("stale_after").unwrap_or(1800 * SECOND_US);
    let Some(within) = reader.take("within") else {
        reader.miss("within", "say how soon, such as within: {high: 24h, critical: 4h}");
        return None;
    };
    let seconds = |node: &Node, problems: &mut Problems| {
        duration_of("within", node, problems).map(|us| us as f64 / 1e6)
    };
    let ladder = ladder(reader, ("within", Compare::Below, within), seconds)?;
    Some(Particular {
        kind: Kind::Forecast(ForecastRule { resources, select, probability, quiet_us }),
        ladder,
        labels: None,
        facts: &["eta_s", "low_s", "high_s", "probability", "resource", "words"],
        summary: "{{ resource }} on {{ host }}: {{ words }}",
    })
}

pub(crate) fn prediction(reader: &mut Reader<'_, '_>) -> Option<Particular> {
    let quiet_us = reader.duration("stale_after").unwrap_or(900 * SECOND_US);
    let Some(node) = reader.take("probability") else {
        reader.miss("probability", "say from which on, such as probability: {high: 70%, critical: 90%}");
        return None;
    };
    let share = |node: &Node, problems: &mut Problems| probability_of("probability", node, problems);
    let ladder = ladder(reader, ("probability", Compare::AtLeast, node), share)?;
    Some(Particular {
        kind: Kind::Prediction(PredictionRule { quiet_us }),
        ladder,
        labels: Some(["host".to_owned()].into()),
        facts: &["probability", "horizon_s", "words"],
        summary:
            "{{ host }} will fail within {{ horizon_s|duration }} with a probability of {{ value|percent }}",
    })
}

pub(crate) fn absence(reader: &mut Reader<'_, '_>, catalogue: &Catalogue) -> Option<Particular> {
    let of = reader.take("of");
    let of_text = reader.text("of");
    let select = reader.take("select");
    let forget_us = reader.duration("forget_after");
    let silent = reader.take("silent");
    if of.is_none() {
        reader.miss("of", "write host, or the name of a family such as component");
    }
    if silent.is_none() {
        reader.miss("silent", "say for how long, such as silent: 30s");
    }
    let (of, of_text) = (of?, of_text?);
    let family = match of_text.as_str() {
        "host" => None,
        name => match catalogue.families.iter().position(|family| family.name == name) {
            Some(family) => Some(family),
            None => {
                let known = catalogue.families.iter().map(|family| family.name.as_str()).chain(["host"]);
                let said = match probably(name, known) {
                    Some(meant) => format!("there is no family {name:?}; did you mean {meant}?"),
                    None => format!("there is no family {name:?}; write host or a family's name"),
                };
                reader.problems.add(of.at, said);
                return None;
            }
        },
    };
    let settled = family.map(|at| &catalogue.families[at]);
    let by = settled.and_then(|family| columns_listed(reader, "by", family));
    if let (None, Some(select)) = (settled, select) {
        reader.problems.add(select.at, "select is about a family's entities; for hosts use hosts");
    }
    if settled.is_some_and(|family| family.entity.is_empty()) {
        reader.problems.add(of.at, format!("{of_text} is about the host as a whole; write of: host"));
        return None;
    }
    let seconds = |node: &Node, problems: &mut Problems| {
        duration_of("silent", node, problems).map(|us| us as f64 / 1e6)
    };
    let ladder = ladder(reader, ("silent", Compare::AtLeast, silent?), seconds)?;
    let columns: Vec<String> =
        settled.iter().flat_map(|family| family.entity.iter().map(|column| column.name.clone())).collect();
    let select = match (settled, select) {
        (Some(family), Some(node)) => columns_selected(node, family, reader.problems),
        _ => Vec::new(),
    };
    let by = by.unwrap_or_else(|| (0..columns.len()).collect());
    let mut labels: BTreeSet<String> = ["host".to_owned()].into();
    labels.extend(by.iter().map(|&at| columns[at].clone()));
    if family.is_some() {
        labels.insert("family".into());
    }
    let forget_us = forget_us.unwrap_or(if family.is_some() { 3600 } else { 7 * 86_400 } * SECOND_US);
    Some(Particular {
        kind: Kind::Absence(Absence { family, family_name: of_text, columns, select, by, forget_us }),
        ladder,
        labels: Some(labels),
        facts: &[],
        summary: "nothing from {{ host }} for {{ value|duration }}",
    })
}

pub(crate) fn sql(reader: &mut Reader<'_, '_>, name: &str) -> Option<Particular> {
    let node = reader.take("query");
    let query = reader.text("query");
    if node.is_none() {
        reader.miss("query", "write a SELECT whose rows are what is wrong");
    }
    let interval_at = reader.take("interval");
    let interval_us = reader.duration("interval").unwrap_or(60 * SECOND_US);
    if let Some(node) = interval_at.filter(|_| !(5 * SECOND_US..=86_400 * SECOND_US).contains(&interval_us)) {
        reader.problems.add(node.at, "interval is not 5s to 24h; choose one that is");
    }
    let value = reader.text("value").unwrap_or_else(|| "value".into());
    let labels =
        reader.texts("columns").map(|names| names.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    let compared = comparison(reader);
    let plain = |node: &Node, problems: &mut Problems| quantity_of(node, &Unit::Unknown, problems);
    let ladder = match compared {
        Some(compared) => ladder(reader, compared, plain),
        // Every row is wrong: no value equals what is no number.
        None => {
            let severity = severity(reader);
            let for_us = reader.duration("for").unwrap_or(0);
            let clear_for_us = reader.duration("clear_for").unwrap_or(0);
            severity.map(|severity| {
                let level = Level { severity, enter: f64::NAN, clear: f64::NAN, for_us };
                Ladder { compare: Compare::Not, levels: vec![level], clear_for_us }
            })
        }
    };
    let query = query?;
    if let Err(said) = is_question(&query) {
        reader.problems.add(node?.at, said);
        return None;
    }
    let known = labels.as_ref().map(|labels| labels.iter().cloned().collect());
    Some(Particular {
        kind: Kind::Sql(SqlRule { name: name.to_owned(), query, interval_us, value, labels }),
        ladder: ladder?,
        labels: known,
        facts: &[],
        summary: "{{ rule }}: {{ value|number }}",
    })
}

/// One statement that reads.
fn is_question(query: &str) -> Result<(), String> {
    let text = query.trim().trim_end_matches(';').trim();
    let first =
        text.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default();
    if !["select", "with"].contains(&first.to_ascii_lowercase().as_str()) {
        return Err("the query does not begin with SELECT or WITH; a rule may only read".into());
    }
    if text.contains(';') {
        return Err("the query holds a ; in its middle; write one statement".into());
    }
    Ok(())
}

/// Whether values of this unit are shares; the display of values rests on it.
pub(crate) fn unit_words(unit: &Unit) -> String {
    match unit {
        Unit::Unknown | Unit::Constant(_) | Unit::Known { dimension: Dimension::Ratio, .. } => String::new(),
        Unit::Known { dimension: Dimension::Percent, .. } => "%".into(),
        known => known.words(),
    }
}
