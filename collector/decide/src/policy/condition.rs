//! Conditions: what must be so before a strategy is tried, and what must have become so after it. One form
//! for both, `SUBJECT OPERATOR NUMBER`, for example `component.up == 1` or `component.replicas < max`, and
//! for verification how long and until when: `component.up == 1 for 3s within 15s`. A subject whose value
//! nobody knows makes the condition unknown, which is never taken for true.

use serde::{Deserialize, Serialize};

use super::tree::duration_us;

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// `alert.firing`: 1 while the alert's own condition holds.
    AlertFiring,
    /// `alert.value`: the value that the alert was decided on.
    AlertValue,
    /// `component.up`: 1 while the target is well.
    Up,
    /// `component(NAME).up`: the same of another component of the host (or `HOST/NAME`).
    UpOf(String),
    /// `component.replicas`: replicas it should have.
    Replicas,
    /// `component.release_age_s`: seconds since its release or file was changed.
    ReleaseAge,
    /// `dependencies.up`: 1 while all it depends on, however far down, is up.
    Dependencies,
    /// `previous.failed`: 1 once another strategy was tried for the incident and did not help.
    PreviousFailed,
    /// Any metric by its name in the catalogue, such as `memory.used_percent`.
    Metric(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AlertFiring => f.write_str("alert.firing"),
            Self::AlertValue => f.write_str("alert.value"),
            Self::Up => f.write_str("component.up"),
            Self::UpOf(name) => write!(f, "component({name}).up"),
            Self::Replicas => f.write_str("component.replicas"),
            Self::ReleaseAge => f.write_str("component.release_age_s"),
            Self::Dependencies => f.write_str("dependencies.up"),
            Self::PreviousFailed => f.write_str("previous.failed"),
            Self::Metric(name) => f.write_str(name),
        }
    }
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Other,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::Other),
    ("<", Operator::Less),
    (">", Operator::More),
];

/// What it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// A number.
    Number(f64),
    /// The fewest replicas the host's file allows.
    Min,
    /// The most replicas the host's file allows.
    Max,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// What it looks at.
    pub subject: Subject,
    /// How.
    pub operator: Operator,
    /// With what.
    pub bound: Bound,
}

/// Where values come from.
pub trait Facts {
    /// The subject's value, if anyone knows it.
    fn value(&self, subject: &Subject) -> Option<f64>;
    /// Fewest and most replicas.
    fn replica_bounds(&self) -> Option<(u32, u32)>;
}

impl Condition {
    /// Whether it holds; none when a value is unknown.
    pub fn holds(&self, facts: &dyn Facts) -> Option<bool> {
        let value = facts.value(&self.subject)?;
        let bound = match self.bound {
            Bound::Number(number) => number,
            Bound::Min => f64::from(facts.replica_bounds()?.0),
            Bound::Max => f64::from(facts.replica_bounds()?.1),
        };
        Some(match self.operator {
            Operator::Less => value < bound,
            Operator::AtMost => value <= bound,
            Operator::More => value > bound,
            Operator::AtLeast => value >= bound,
            Operator::Equal => value == bound,
            Operator::Other => value != bound,
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// One sentence that says how it is written.
    pub fn read(text: &str) -> Result<Self, String> {
        let form = || format!("write `{text}` as SUBJECT OPERATOR NUMBER, such as component.up == 1");
        let (at, sign, operator) = OPERATORS
            .iter()
            .filter_map(|(sign, operator)| text.find(sign).map(|at| (at, *sign, *operator)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())))
            .ok_or_else(form)?;
        let subject = read_subject(text[..at].trim()).ok_or_else(form)?;
        let bound = match text[at + sign.len()..].trim() {
            "min" if subject == Subject::Replicas => Bound::Min,
            "max" if subject == Subject::Replicas => Bound::Max,
            number => Bound::Number(number.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(form)?),
        };
        Ok(Self { subject, operator, bound })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = OPERATORS.iter().find(|(_, one)| *one == self.operator).map_or("?", |(sign, _)| sign);
        write!(f, "{} {sign} ", self.subject)?;
        match self.bound {
            Bound::Number(number) => write!(f, "{number}"),
            Bound::Min => f.write_str("min"),
            Bound::Max => f.write_str("max"),
        }
    }
}

fn read_subject(text: &str) -> Option<Subject> {
    Some(match text {
        "alert.firing" => Subject::AlertFiring,
        "alert.value" => Subject::AlertValue,
        "component.up" => Subject::Up,
        "component.replicas" => Subject::Replicas,
        "component.release_age_s" => Subject::ReleaseAge,
        "dependencies.up" => Subject::Dependencies,
        "previous.failed" => Subject::PreviousFailed,
        other => {
            if let Some(name) = other.strip_prefix("component(").and_then(|rest| rest.strip_suffix(").up")) {
                return (!name.is_empty()).then(|| Subject::UpOf(name.to_owned()));
            }
            let (family, metric) = other.split_once('.')?;
            let word =
                |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let reserved = ["alert", "component", "dependencies", "previous"].contains(&family);
            if reserved || !word(family) || !word(metric) {
                return None;
            }
            Subject::Metric(other.to_owned())
        }
    })
}

/// How fresh samples show that an action helped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// What must be so.
    pub condition: Condition,
    /// For how long without a break, µs.
    pub hold_us: i64,
    /// How soon after the action ended, µs.
    pub within_us: i64,
}

impl Verify {
    /// The default: the alert's own condition is gone within a minute.
    pub fn alert_gone() -> Self {
        let condition =
            Condition { subject: Subject::AlertFiring, operator: Operator::Equal, bound: Bound::Number(0.0) };
        Self { condition, hold_us: 0, within_us: 60_000_000 }
    }

    /// A component is up for 3 s within 15 s.
    pub fn component_up() -> Self {
        let condition =
            Condition { subject: Subject::Up, operator: Operator::Equal, bound: Bound::Number(1.0) };
        Self { condition, hold_us: 3_000_000, within_us: 15_000_000 }
    }

    /// Reads `CONDITION [for TIME] [within TIME]`.
    ///
    /// # Errors
    /// One sentence that says how it is written.
    pub fn read(text: &str) -> Result<Self, String> {
        let time = |word: &str| {
            duration_us(word).ok_or_else(|| format!("write `{}` as a time such as 15s or 2m", word.trim()))
        };
        let (rest, within_us) = match text.split_once(" within ") {
            Some((rest, word)) => (rest, time(word)?),
            None => (text, 60_000_000),
        };
        let (rest, hold_us) = match rest.split_once(" for ") {
            Some((rest, word)) => (rest, time(word)?),
            None => (rest, 0),
        };
        if hold_us >= within_us {
            return Err("give it more time within which to be so than for how long it must be so".to_owned());
        }
        if within_us > 3_600_000_000 {
            return Err("give it at most 1h within which to be so".to_owned());
        }
        let condition = Condition::read(rest.trim())?;
        if matches!(condition.subject, Subject::PreviousFailed | Subject::ReleaseAge) {
            return Err(format!("verify by something that samples show, not by {}", condition.subject));
        }
        Ok(Self { condition, hold_us, within_us })
    }
}

impl std::fmt::Display for Verify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.condition)?;
        if self.hold_us > 0 {
            write!(f, " for {}s", self.hold_us as f64 / 1e6)?;
        }
        write!(f, " within {}s", self.within_us as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_prints_as_it_was_written() {
        for text in [
            "component.up == 1 for 3s within 15s",
            "component(db).up != 0 within 60s",
            "component.replicas < max within 60s",
            "memory.used_percent <= 90.5 within 120s",
            "alert.firing == 0 within 60s",
        ] {
            assert_eq!(Verify::read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_read_says_how_to_write_it() {
        for text in [
            "component.up",
            "up == 1",
            "component.down == 1",
            "component().up == 1",
            "memory.used_percent < max",
            "memory.used_percent < NaN",
            "component.up == 1 for 20s within 15s",
            "component.up == 1 within soon",
            "previous.failed == 1",
        ] {
            assert!(Verify::read(text).is_err(), "{text}");
        }
    }
}
