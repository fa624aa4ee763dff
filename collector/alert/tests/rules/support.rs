//! Seconds by hand.

use fettle_alert::handoff::{Finding, Severity, Standing};
use fettle_alert::rules::{Evaluator, RuleSet, Settings};
use fettle_analysis::second::{EntitySecond, FamilySecond, HostSecond, KeyValue, Reduced};
use fettle_shared::catalogue::catalogue;

/// The second everything begins at.
pub const START: u32 = 1_700_000_000;

/// Only these rules, without the default pack.
pub fn rules(text: &str) -> RuleSet {
    let text = format!("default_pack: false\nrules:\n{text}");
    RuleSet::load(&[("test.yaml".into(), text)]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// An entity's key, and its values by metric.
pub type Entity<'a> = (&'a [&'a str], &'a [(&'a str, f64)]);

pub fn evaluator(text: &str) -> Evaluator {
    Evaluator::new(&rules(text), Settings::default())
}

/// One host's second with one family; each entity by its key and named values.
pub fn second(host: &str, at: u32, family: &str, entities: &[Entity<'_>]) -> HostSecond {
    HostSecond { host: host.into(), second: START + at, families: vec![one_family(family, entities)] }
}

pub fn one_family(family: &str, entities: &[Entity<'_>]) -> FamilySecond {
    let position = catalogue().families.iter().position(|known| known.name == family).unwrap();
    let known = &catalogue().families[position];
    let entities = entities.iter().map(|(key, named)| {
        let mut values = vec![Reduced::NONE; known.metrics.len()];
        for (name, value) in *named {
            let place = known.metric_index(name).unwrap();
            values[place] = Reduced { min: *value, mean: *value, max: *value, last: *value, count: 1 };
        }
        let key = key.iter().map(|part| match part.parse() {
            Ok(number) => KeyValue::Int(number),
            Err(_) => KeyValue::Text((*part).into()),
        });
        EntitySecond { key: key.collect(), values: values.into() }
    });
    let mut entities: Vec<EntitySecond> = entities.collect();
    entities.sort_by(|a, b| a.key.cmp(&b.key));
    FamilySecond { family: position, entities }
}

/// What stands in a finding, in short.
pub fn short(findings: &[Finding]) -> Vec<(Standing, Severity)> {
    findings.iter().map(|finding| (finding.standing, finding.severity)).collect()
}

pub fn us(at: u32) -> i64 {
    i64::from(START + at) * 1_000_000
}
