//! From YAML to trials.

use fettle_analysis::forecast::Resource;
use fettle_analysis::second::KeyValue;
use fettle_shared::catalogue::{catalogue, EntityType, Family};

use crate::handoff::{Labels, Standing};
use crate::rules::evaluator::SqlRow;
use crate::rules::expression::metric_named;
use crate::rules::other_kinds::resource_word;
use crate::rules::problem::{Problem, Problems};
use crate::rules::quantity::Unit;
use crate::rules::reader::{Reader, SEVERITIES};
use crate::rules::signals::{AnomalySignal, ForecastSignal, PredictionSignal, SeriesName};
use crate::rules::tree::{parse, Content, Node};

use super::notation::Values;
use super::{Expect, ExpectedAlert, Series, Signal, Trial, TrialFile, MOST_SECONDS};

/// The host that a trial is about where it names none.
const HOST: &str = "host-1";

/// Reads a file of trials.
///
/// # Errors
/// Every problem that was found, by line and column.
pub fn read(file: &str, text: &str) -> Result<TrialFile, Vec<Problem>> {
    let mut problems = Problems::of(file);
    let found = read_file(text, &mut problems);
    let said = problems.into_found();
    match found {
        Some(found) if said.is_empty() => Ok(found),
        _ => Err(said),
    }
}

fn read_file(text: &str, problems: &mut Problems) -> Option<TrialFile> {
    let root = parse(text, problems)?;
    let mut reader = Reader::new(&root, "a file of tests", problems)?;
    let rules = reader.texts("rules").unwrap_or_default().into_iter().map(|(_, path)| path).collect();
    let items = list(&mut reader, "tests");
    if items.is_none() {
        reader.miss("tests", "write a list of them");
    }
    let trials = items.into_iter().flatten().filter_map(|node| trial(node, reader.problems)).collect();
    reader.done();
    Some(TrialFile { rules, trials })
}

fn list<'a>(reader: &mut Reader<'a, '_>, name: &'static str) -> Option<&'a [Node]> {
    let node = reader.take(name)?;
    match &node.content {
        Content::List(items) => Some(items),
        _ => {
            reader.problems.add(node.at, format!("{name} is {}; write a list", node.kind()));
            None
        }
    }
}

fn trial(node: &Node, problems: &mut Problems) -> Option<Trial> {
    let name = node.get("name").and_then(Node::scalar);
    let what = name.as_ref().map_or_else(|| "the test".to_owned(), |name| format!("test {name:?}"));
    let mut reader = Reader::new(node, what, problems)?;
    let name = reader.text("name");
    if name.is_none() {
        reader.miss("name", "say what it shows");
    }
    let rule = reader.text("rule");
    let host = reader.text("host").unwrap_or_else(|| HOST.to_owned());
    let series: Vec<Series> = list(&mut reader, "series")
        .into_iter()
        .flatten()
        .filter_map(|node| one_series(node, &host, reader.problems))
        .collect();
    let mut signals = Vec::new();
    type Read = fn(&Node, &str, &mut Problems) -> Option<(u32, Signal)>;
    let kinds: [(&'static str, Read); 4] =
        [("anomalies", anomaly), ("forecasts", forecast), ("predictions", prediction), ("sql", sql)];
    for (key, read) in kinds {
        let items = list(&mut reader, key);
        signals.extend(items.into_iter().flatten().filter_map(|node| read(node, &host, reader.problems)));
    }
    signals.sort_by_key(|(at, _)| *at);
    let expects = list(&mut reader, "expect");
    if expects.is_none() {
        reader.miss("expect", "say which alerts there must be when");
    }
    let expects = expects
        .into_iter()
        .flatten()
        .filter_map(|node| expect(node, rule.as_deref(), reader.problems))
        .collect();
    let line = reader.at.line;
    reader.done();
    Some(Trial { name: name?, line, rule, series, signals, expects })
}

fn one_series(node: &Node, host: &str, problems: &mut Problems) -> Option<Series> {
    let mut reader = Reader::new(node, "a series", problems)?;
    let host = reader.text("host").unwrap_or_else(|| host.to_owned());
    let metric = reader.text("metric");
    let values_at = reader.take("values");
    let values = reader.text("values");
    let entity = reader.take("entity");
    if metric.is_none() {
        reader.miss("metric", "name one such as memory.available_bytes");
    }
    if values_at.is_none() {
        reader.miss("values", "write them like 0x60 95x2m");
    }
    reader.done();
    let metric = metric?;
    let at = match metric_named(catalogue(), &metric) {
        Ok(at) => at,
        Err(said) => {
            problems.add(node.get("metric")?.at, said);
            return None;
        }
    };
    let family = &catalogue().families[at.family];
    let key = match entity {
        Some(entity) => key_of(entity, family, problems)?,
        None => key_of(&Node { at: node.at, content: Content::Map(Vec::new()) }, family, problems)?,
    };
    let unit = Unit::of(&family.metrics[at.metric]).timed(false);
    match Values::parse(&values?, &unit) {
        Ok(values) => Some(Series { host, family: at.family, metric: at.metric, key, values }),
        Err(said) => {
            problems.add(values_at?.at, said);
            None
        }
    }
}

/// The entity's key; columns that are not named are empty.
fn key_of(node: &Node, family: &Family, problems: &mut Problems) -> Option<Vec<KeyValue>> {
    let Content::Map(entries) = &node.content else {
        problems.add(node.at, format!("entity is {}; write key columns and values", node.kind()));
        return None;
    };
    let is_unknown = |name: &str| family.entity.iter().all(|column| column.name != name);
    if let Some((key, _)) = entries.iter().find(|(key, _)| is_unknown(&key.name)) {
        let names: Vec<&str> = family.entity.iter().map(|column| column.name.as_str()).collect();
        let said =
            format!("{} has no key column {:?}; there are: {}", family.name, key.name, names.join(", "));
        problems.add(key.at, said);
        return None;
    }
    let mut key = Vec::new();
    for column in &family.entity {
        let text = node.get(&column.name).and_then(Node::scalar).unwrap_or_default();
        key.push(match column.kind {
            EntityType::Text => KeyValue::Text(text.into()),
            _ if text.is_empty() => KeyValue::Int(0),
            _ => match text.parse() {
                Ok(number) => KeyValue::Int(number),
                Err(_) => {
                    problems.add(node.at, format!("{} is {text:?}; write a whole number", column.name));
                    return None;
                }
            },
        });
    }
    Some(key)
}

/// When it happens, in seconds.
fn time(reader: &mut Reader<'_, '_>) -> Option<u32> {
    let node = reader.take("at");
    let us = reader.duration("at");
    let Some(node) = node else {
        reader.miss("at", "say when, such as at: 90s");
        return None;
    };
    let seconds = u32::try_from(us? / 1_000_000).unwrap_or(u32::MAX);
    if seconds > MOST_SECONDS {
        reader.problems.add(node.at, "at is later than a day; choose an earlier time");
        return None;
    }
    Some(seconds)
}

fn seconds(reader: &mut Reader<'_, '_>, name: &'static str) -> Option<f64> {
    reader.duration(name).map(|us| us as f64 / 1e6)
}

fn anomaly(node: &Node, host: &str, problems: &mut Problems) -> Option<(u32, Signal)> {
    let mut reader = Reader::new(node, "an anomaly", problems)?;
    let at = time(&mut reader);
    let host = reader.text("host").unwrap_or_else(|| host.to_owned());
    let severity = reader.word("severity", &SEVERITIES);
    let score = reader.probability("score").unwrap_or(0.9);
    let words = reader.text("words").unwrap_or_else(|| "as given by the test".into());
    let metric = reader.text("metric");
    let entity = reader.labels("entity");
    if severity.is_none() {
        reader.miss("severity", "write low, medium, high or critical");
    }
    reader.done();
    let series = match metric {
        None => None,
        Some(name) => match metric_named(catalogue(), &name) {
            Ok(_) => {
                let (family, metric) = name.split_once('.')?;
                Some(SeriesName { family: family.to_owned(), metric: metric.to_owned(), entity })
            }
            Err(said) => {
                problems.add(node.get("metric")?.at, said);
                return None;
            }
        },
    };
    Some((at?, Signal::Anomaly(AnomalySignal { host, at_us: 0, severity: severity?, score, series, words })))
}

fn forecast(node: &Node, host: &str, problems: &mut Problems) -> Option<(u32, Signal)> {
    let mut reader = Reader::new(node, "a forecast", problems)?;
    let at = time(&mut reader);
    let host = reader.text("host").unwrap_or_else(|| host.to_owned());
    let words = Resource::ALL.map(|resource| (resource_word(resource), resource));
    let resource = reader.word("resource", &words);
    if resource.is_none() && node.get("resource").is_none() {
        reader.miss("resource", "write disk, inodes, memory, swap, descriptors, process_memory or conntrack");
    }
    let entity = reader.labels("entity");
    let eta_s = seconds(&mut reader, "eta");
    let (low_s, high_s) = (seconds(&mut reader, "low").or(eta_s), seconds(&mut reader, "high").or(eta_s));
    let probability = reader.probability("probability").unwrap_or(0.9);
    let words = reader.text("words").unwrap_or_else(|| "as given by the test".into());
    reader.done();
    let resource = resource?;
    let signal =
        ForecastSignal { host, at_us: 0, resource, entity, eta_s, low_s, high_s, probability, words };
    Some((at?, Signal::Forecast(signal)))
}

fn prediction(node: &Node, host: &str, problems: &mut Problems) -> Option<(u32, Signal)> {
    let mut reader = Reader::new(node, "a prediction", problems)?;
    let at = time(&mut reader);
    let host = reader.text("host").unwrap_or_else(|| host.to_owned());
    let probability = reader.probability("probability");
    let horizon_s = seconds(&mut reader, "horizon").unwrap_or(1800.0);
    let words = reader.text("words").unwrap_or_else(|| "as given by the test".into());
    if probability.is_none() {
        reader.miss("probability", "write one such as 80%");
    }
    reader.done();
    let probability = probability?;
    Some((at?, Signal::Prediction(PredictionSignal { host, at_us: 0, probability, horizon_s, words })))
}

fn sql(node: &Node, _host: &str, problems: &mut Problems) -> Option<(u32, Signal)> {
    let mut reader = Reader::new(node, "an answer", problems)?;
    let at = time(&mut reader);
    let rule = reader.text("rule");
    if rule.is_none() {
        reader.miss("rule", "name the SQL rule that is answered");
    }
    let mut rows = Vec::new();
    for row in list(&mut reader, "rows").into_iter().flatten() {
        let Content::Map(entries) = &row.content else {
            reader.problems.add(row.at, format!("a row is {}; write columns and values", row.kind()));
            continue;
        };
        let json = |node: &Node| match &node.content {
            Content::Number(number) => serde_json::Value::from(*number),
            Content::Bool(flag) => serde_json::Value::from(*flag),
            _ => serde_json::Value::from(node.scalar().unwrap_or_default()),
        };
        rows.push(entries.iter().map(|(key, value)| (key.name.clone(), json(value))).collect::<SqlRow>());
    }
    reader.done();
    Some((at?, Signal::Sql { rule: rule?, rows }))
}

fn expect(node: &Node, rule: Option<&str>, problems: &mut Problems) -> Option<Expect> {
    let mut reader = Reader::new(node, "an expectation", problems)?;
    let at = time(&mut reader);
    let line = reader.at.line;
    let alerts = list(&mut reader, "alerts");
    if alerts.is_none() && node.get("alerts").is_none() {
        reader.miss("alerts", "list them, or write alerts: [] for none");
    }
    let alerts =
        alerts.into_iter().flatten().filter_map(|node| expected(node, rule, reader.problems)).collect();
    reader.done();
    Some(Expect { at: at?, line, alerts })
}

fn expected(node: &Node, rule: Option<&str>, problems: &mut Problems) -> Option<ExpectedAlert> {
    let mut reader = Reader::new(node, "an alert", problems)?;
    let rule = reader.text("rule").or_else(|| rule.map(str::to_owned));
    if rule.is_none() {
        reader.miss("rule", "name it here or for the whole test");
    }
    let labels: Labels = reader.labels("labels");
    let severity = reader.word("severity", &SEVERITIES);
    let standings = [("firing", Standing::Firing), ("pending", Standing::Pending)];
    let standing = reader.word("standing", &standings).unwrap_or(Standing::Firing);
    let summary = reader.text("summary");
    reader.done();
    Some(ExpectedAlert { rule: rule?, labels, severity, standing, summary })
}
