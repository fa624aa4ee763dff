//! Summaries and descriptions: small templates that can read a finding and nothing else.
//!
//! They are checked when a rule is loaded: names nobody will give are refused then, not met at night. Rendering
//! has a limit of steps and of length, so no template can hold up the line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fettle_analysis::words::duration_words;
use minijinja::{context, Environment, UndefinedBehavior};
use serde_json::Value as Json;

/// Most steps one template may take.
const FUEL: u64 = 20_000;
/// Longest template, in bytes.
const MOST_SOURCE: usize = 10_000;
/// Longest result of a summary, in characters.
const MOST_SUMMARY: usize = 300;
/// Longest result of a description, in characters.
const MOST_DESCRIPTION: usize = 4_000;
/// Longest text of one label or fact that is put into a template.
const MOST_VALUE: usize = 1_000;

/// What a kind of rule knows besides labels and value, by name.
pub(crate) type Facts = BTreeMap<String, Json>;

/// What a template is rendered with.
pub(crate) struct Scene<'a> {
    pub(crate) rule: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) value: f64,
    pub(crate) severity: &'a str,
    /// The level's limit.
    pub(crate) limit: f64,
    pub(crate) unit: &'a str,
    /// How long the condition has held, seconds.
    pub(crate) held_s: f64,
    pub(crate) facts: &'a Facts,
}

/// The compiled templates of one rule.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    environment: Arc<Environment<'static>>,
}

/// Names every template may use.
const ALWAYS: [&str; 8] = ["rule", "labels", "host", "value", "severity", "limit", "unit", "held_s"];

impl Templates {
    /// Compiles and checks. `labels` are the names there will be, or `None` where nobody can know;
    /// `facts` the other names. The error says which template and what to do.
    pub(crate) fn new(
        summary: &str,
        description: &str,
        labels: Option<&BTreeSet<String>>,
        facts: &[&str],
    ) -> Result<Self, (&'static str, String)> {
        let mut environment = environment();
        for (name, source) in [("summary", summary), ("description", description)] {
            if source.len() > MOST_SOURCE {
                return Err((name, format!("the {name} is longer than {MOST_SOURCE} bytes; shorten it")));
            }
            environment.add_template_owned(name, source.to_owned()).map_err(|error| {
                (name, format!("the {name} does not parse: {}; correct it", said(&error)))
            })?;
            let template =
                environment.get_template(name).map_err(|error| (name, format!("the {name}: {error}")))?;
            for used in template.undeclared_variables(true) {
                check_name(&used, labels, facts).map_err(|why| (name, format!("the {name}: {why}")))?;
            }
        }
        let checked = Self { environment: Arc::new(environment) };
        checked.try_out(labels, facts)?;
        Ok(checked)
    }

    /// Renders with made-up values, which finds filters used on what they cannot take.
    fn try_out(
        &self,
        labels: Option<&BTreeSet<String>>,
        facts: &[&str],
    ) -> Result<(), (&'static str, String)> {
        let labels: BTreeMap<String, String> =
            labels.into_iter().flatten().map(|name| (name.clone(), "sample".to_owned())).collect();
        let facts: Facts = facts
            .iter()
            .map(|name| {
                let text = matches!(*name, "words" | "resource");
                ((*name).to_owned(), if text { Json::from("sample") } else { Json::from(0.5) })
            })
            .collect();
        let scene = Scene {
            rule: "sample",
            labels: &labels,
            value: 1.5,
            severity: "high",
            limit: 1.0,
            unit: "bytes",
            held_s: 60.0,
            facts: &facts,
        };
        for name in ["summary", "description"] {
            self.render_one(name, &scene).map_err(|error| {
                (name, format!("the {name} cannot be filled in: {}; correct it", said(&error)))
            })?;
        }
        Ok(())
    }

    /// Summary and description; a template that fails is answered by the bare facts.
    pub(crate) fn render(&self, scene: &Scene<'_>) -> (String, String) {
        let summary = self.render_one("summary", scene).unwrap_or_else(|error| {
            format!("{}: value {} (its summary failed: {})", scene.rule, scene.value, said(&error))
        });
        let description = self
            .render_one("description", scene)
            .unwrap_or_else(|error| format!("The description of {} failed: {}", scene.rule, said(&error)));
        (one_line(&summary), shortened(description.trim(), MOST_DESCRIPTION))
    }

    fn render_one(&self, name: &str, scene: &Scene<'_>) -> Result<String, minijinja::Error> {
        let labels: BTreeMap<&str, String> =
            scene.labels.iter().map(|(name, value)| (name.as_str(), shortened(value, MOST_VALUE))).collect();
        let host = labels.get("host").cloned().unwrap_or_default();
        let own = context! {
            rule => scene.rule,
            host => host,
            labels => labels,
            value => scene.value,
            severity => scene.severity,
            limit => scene.limit,
            unit => scene.unit,
            held_s => scene.held_s,
        };
        let facts = minijinja::Value::from(minijinja::value::Serde(scene.facts));
        self.environment.get_template(name)?.render(context! { ..own, ..facts })
    }
}

fn check_name(used: &str, labels: Option<&BTreeSet<String>>, facts: &[&str]) -> Result<(), String> {
    let (first, rest) = used.split_once('.').map_or((used, None), |(first, rest)| (first, Some(rest)));
    if !ALWAYS.contains(&first) && !facts.contains(&first) && first != "range" {
        let mut known: Vec<&str> = ALWAYS.iter().chain(facts).copied().collect();
        known.sort_unstable();
        return Err(format!("there is no {first:?} here; there are {}", known.join(", ")));
    }
    if let (true, Some(rest), Some(labels)) = (first == "labels", rest, labels) {
        let label = rest.split('.').next().unwrap_or(rest);
        if !labels.contains(label) {
            let known: Vec<&str> = labels.iter().map(String::as_str).collect();
            return Err(format!("there is no label {label:?} here; there are {}", known.join(", ")));
        }
    }
    Ok(())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A missing label of an SQL row must not cost the whole message.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    environment.add_filter("bytes", |value: f64| bytes(value));
    environment.add_filter("duration", |seconds: f64| duration_words(seconds.max(0.0)));
    environment.add_filter("percent", |share: f64| format!("{} %", short(share * 100.0)));
    environment.add_filter("number", short);
    environment
}

/// Bytes with a unit: `1.5 GiB`.
fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut left, mut unit) = (value, 0);
    while left.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        left /= 1024.0;
        unit += 1;
    }
    format!("{} {}", short(left), UNITS[unit])
}

/// A number with about three digits: `0.0123`, `1.5`, `92.4`, `1234567`.
fn short(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 {
        text
    } else {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The library's words without its account of files and lines.
fn said(error: &minijinja::Error) -> String {
    let detail = error.detail().unwrap_or_default();
    let kind = error.kind().to_string();
    let text = if detail.is_empty() { kind } else { format!("{kind}: {detail}") };
    one_line(&text)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    shortened(&words.join(" "), MOST_SUMMARY)
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeSet<String> {
        ["host", "mount"].map(String::from).into()
    }

    fn render(summary: &str) -> String {
        let templates = Templates::new(summary, "", Some(&labels()), &["eta_s"]).unwrap();
        let labels =
            BTreeMap::from([("host".into(), "web-1".to_owned()), ("mount".into(), "/var".to_owned())]);
        let facts = Facts::from([("eta_s".to_owned(), Json::from(7200.0))]);
        let scene = Scene {
            rule: "disk",
            labels: &labels,
            value: 5.5e9,
            severity: "high",
            limit: 90.0,
            unit: "bytes",
            held_s: 90.0,
            facts: &facts,
        };
        templates.render(&scene).0
    }

    #[test]
    fn labels_values_and_filters_are_filled_in() {
        let text = "{{ labels.mount }} on {{ host }}: {{ value|bytes }} in {{ eta_s|duration }}, {{ 0.125|percent }}";
        assert_eq!(render(text), "/var on web-1: 5.12 GiB in 2 h, 12.5 %");
        assert_eq!(render("{% if value > limit %}over{% else %}under{% endif %}"), "over");
        assert_eq!(render("{{ 0.04|number }} {{ 12|number }} {{ 0|number }}"), "0.04 12 0");
    }

    #[test]
    fn faults_are_found_when_loading() {
        for (text, word) in [
            ("{{ labels.mont }}", "no label \"mont\""),
            ("{{ vaule }}", "there is no \"vaule\""),
            ("{{ value", "does not parse"),
            ("{{ value|bites }}", "bites"),
            ("{{ labels.mount|bytes }}", "cannot be filled in"),
            ("{% if false %}{{ nothing }}{% endif %}", "there is no \"nothing\""),
            ("{% include 'x' %}", "does not parse"),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
                "cannot be filled in",
            ),
        ] {
            let (part, said) = Templates::new(text, "", Some(&labels()), &[]).unwrap_err();
            assert!(part == "summary" && said.contains(word), "{text}: {said}");
        }
    }

    #[test]
    fn results_are_one_line_and_bounded() {
        assert_eq!(render("a\n  b\n"), "a b");
        assert!(render("{% for a in range(2000) %}xxxx{% endfor %}").chars().count() <= MOST_SUMMARY + 1);
    }
}
