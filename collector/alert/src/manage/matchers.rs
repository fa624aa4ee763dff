//! Which alerts are meant: patterns over labels.
//!
//! A pattern is a text with `*` for any run of characters; alternatives stand between `|`; a leading `!`
//! turns it round. `rule` and `severity` can be named like labels; a label that is absent reads as an
//! empty text. Rejected: regular expressions, for a route is read at night by someone tired.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::handoff::{Labels, Severity};

/// Patterns by label; all must hold. None: every alert is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Matchers(pub BTreeMap<String, String>);

impl Matchers {
    /// Whether an alert of this rule, severity and these labels is meant.
    pub fn hold(&self, rule: &str, severity: Severity, labels: &Labels) -> bool {
        self.0.iter().all(|(name, pattern)| {
            let value = match name.as_str() {
                "rule" => rule,
                "severity" => word(severity),
                label => labels.get(label).map_or("", String::as_str),
            };
            matches(pattern, value)
        })
    }
}

/// A severity as it is written in YAML, in labels of groups and in rows.
pub fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn matches(pattern: &str, value: &str) -> bool {
    if let Some(turned) = pattern.strip_prefix('!') {
        return !matches(turned, value);
    }
    pattern.split('|').any(|one| glob(one.as_bytes(), value.as_bytes()))
}

/// `*` stands for any run of bytes. Goes back to the last star only, so it takes time of pattern × value.
fn glob(pattern: &[u8], value: &[u8]) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, v));
            p += 1;
        } else if pattern.get(p) == Some(&value[v]) {
            (p, v) = (p + 1, v + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, v) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, value: &str) -> bool {
        let labels = Labels::from([("host".to_owned(), value.to_owned())]);
        Matchers(BTreeMap::from([("host".to_owned(), pattern.to_owned())])).hold("r", Severity::Low, &labels)
    }

    #[test]
    fn patterns_take_stars_alternatives_and_a_leading_not() {
        for (pattern, value, expected) in [
            ("web-1", "web-1", true),
            ("web-1", "web-10", false),
            ("web-*", "web-10", true),
            ("*-1*0", "web-100", true),
            ("*a*b", "aab-b-a", false),
            ("db|web*", "web-1", true),
            ("!db|web*", "web-1", false),
            ("!db", "web-1", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(holds(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn rule_and_severity_are_matched_like_labels_and_an_absent_label_is_empty() {
        let of =
            |name: &str, pattern: &str| Matchers(BTreeMap::from([(name.to_owned(), pattern.to_owned())]));
        let none = Labels::new();
        assert!(of("rule", "disk_*").hold("disk_full", Severity::Low, &none));
        assert!(of("severity", "high|critical").hold("x", Severity::Critical, &none));
        assert!(!of("severity", "high|critical").hold("x", Severity::Low, &none));
        assert!(
            !of("team", "?*").hold("x", Severity::Low, &none)
                && of("team", "!db").hold("x", Severity::Low, &none)
        );
    }
}
