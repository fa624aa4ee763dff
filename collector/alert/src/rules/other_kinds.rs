//! What the kinds besides thresholds have of their own in a file.

use std::collections::{BTreeMap, BTreeSet};

use fettle_analysis::forecast::Resource;
use fettle_shared::catalogue::Catalogue;

use super::kinds::{columns_listed, columns_selected, SECOND_US};
use super::level::{Compare, Ladder, Level};
use super::problem::{probably, Problems};
use super::quantity::Unit;
use super::reader::{duration_of, matcher_of, probability_of, Reader, SEVERITIES};
use super::rule::{Absence, AnomalyRule, ForecastRule, Kind, PredictionRule, SqlRule};
use super::select::Matcher;
use super::settle::{comparison, ladder, quantity_of, severity, Particular};
use super::tree::{Content, Node};

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
