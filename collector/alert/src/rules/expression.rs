//! Arithmetic over metrics: a small language in which every expression has an end and a cost known beforehand.
//!
//! Numbers, `family.metric`, `host.cpus`, `+ - * /`, comparisons (1 or 0), `and or not`, `min max abs if`. An
//! expression becomes a list of steps for a stack of fixed depth; no loops, no calls, no text. A value
//! that is missing, not a number or infinite makes the result "no value", never an alarm. A general language
//! (CEL) was set aside: it brings dynamic types, and a step here costs a few nanoseconds a second and entity.

use fettle_shared::catalogue::Catalogue;

use super::problem::probably;
use super::quantity::{Dimension, Unit};

/// The longest expression, in bytes.
const MOST_BYTES: usize = 2000;
/// The deepest stack.
const MOST_DEPTH: usize = 32;

/// A metric as the catalogue's positions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MetricAt {
    pub(crate) family: usize,
    pub(crate) metric: usize,
}

/// What an expression is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Metric(MetricAt),
    /// CPUs of the host.
    Cpus,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Number(f64),
    Load(usize),
    Negate,
    Not,
    Abs,
    Add,
    Subtract,
    Multiply,
    Divide,
    Min,
    Max,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    If,
}

/// An expression, ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    steps: Vec<Step>,
    pub(crate) operands: Vec<Operand>,
    pub(crate) unit: Unit,
}

impl Expression {
    /// Reads an expression; the error is a sentence.
    pub(crate) fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("the expression is longer than {MOST_BYTES} characters; shorten it"));
        }
        let tokens = tokens(text)?;
        let mut parser =
            Parser { tokens: &tokens, at: 0, depth: 0, catalogue, steps: Vec::new(), operands: Vec::new() };
        let unit = parser.any_of()?;
        if let Some(token) = parser.peek() {
            return Err(format!(
                "{token:?} is not expected in the expression; put an operator such as + before it or take it away"
            ));
        }
        if parser.operands.is_empty() {
            return Err("the expression names no metric; name one such as memory.available_bytes".into());
        }
        Ok(Self { steps: parser.steps, operands: parser.operands, unit })
    }

    /// The value, given the operands' values; `None` if one is missing or the result is not finite.
    #[inline]
    pub(crate) fn value(&self, mut operand: impl FnMut(usize) -> Option<f64>) -> Option<f64> {
        if let [Step::Load(at)] = self.steps[..] {
            return operand(at).filter(|value| value.is_finite());
        }
        let mut stack = [0.0f64; MOST_DEPTH];
        let mut top = 0usize;
        for step in &self.steps {
            let pushed = match step {
                Step::Number(number) => Some(*number),
                Step::Load(at) => Some(operand(*at)?),
                _ => None,
            };
            if let Some(value) = pushed {
                *stack.get_mut(top)? = value;
                top += 1;
                continue;
            }
            let arity = step.arity();
            let first = top.checked_sub(arity)?;
            stack[first] = step.apply(&stack[first..top]);
            top = first + 1;
        }
        Some(stack[0]).filter(|value| value.is_finite())
    }
}

impl Step {
    fn arity(self) -> usize {
        match self {
            Self::Number(_) | Self::Load(_) => 0,
            Self::Negate | Self::Not | Self::Abs => 1,
            Self::If => 3,
            _ => 2,
        }
    }

    fn apply(self, on: &[f64]) -> f64 {
        let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
        let (a, b) = (on[0], on.get(1).copied().unwrap_or(0.0));
        match self {
            Self::Number(number) => number,
            Self::Load(_) => a,
            Self::Negate => -a,
            Self::Not => flag(a == 0.0),
            Self::Abs => a.abs(),
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Min => a.min(b),
            Self::Max => a.max(b),
            Self::Equal => flag(a == b),
            Self::Unequal => flag(a != b),
            Self::Less => flag(a < b),
            Self::LessEqual => flag(a <= b),
            Self::Greater => flag(a > b),
            Self::GreaterEqual => flag(a >= b),
            Self::And => flag(a != 0.0 && b != 0.0),
            Self::Or => flag(a != 0.0 || b != 0.0),
            Self::If => {
                if a == 0.0 {
                    on[2]
                } else {
                    b
                }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 14] = ["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", ",", "%"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = if first.is_ascii_digit() || first == '.' {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_').unwrap_or(rest.len());
            let number = rest[..end].replace('_', "");
            let number = number.parse::<f64>().ok().filter(|n| n.is_finite());
            found.push(Token::Number(number.ok_or_else(|| {
                format!("{:?} is no number; write it without a unit in an expression", &rest[..end])
            })?));
            end
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_').unwrap_or(rest.len());
            found.push(Token::Name(rest[..end].to_owned()));
            end
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            if *sign == "%" {
                return Err(
                    "% has no meaning in an expression; multiply by 100 and compare with a percentage".into(),
                );
            }
            found.push(Token::Sign(sign));
            sign.len()
        } else {
            return Err(format!("{first:?} has no meaning in an expression; take it away"));
        };
        rest = rest[taken..].trim_start();
    }
    Ok(found)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    catalogue: &'a Catalogue,
    steps: Vec<Step>,
    operands: Vec<Operand>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<String> {
        self.tokens.get(self.at).map(|token| match token {
            Token::Number(number) => number.to_string(),
            Token::Name(name) => name.clone(),
            Token::Sign(sign) => (*sign).to_owned(),
        })
    }

    fn sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Sign(sign)) if signs.contains(sign) => {
                self.at += 1;
                Some(sign)
            }
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Name(name)) if name == word);
        self.at += usize::from(is);
        is
    }

    fn any_of(&mut self) -> Result<Unit, String> {
        let mut unit = self.all_of()?;
        while self.word("or") {
            self.all_of()?;
            self.steps.push(Step::Or);
            unit = Unit::Unknown;
        }
        Ok(unit)
    }

    fn all_of(&mut self) -> Result<Unit, String> {
        let mut unit = self.comparison()?;
        while self.word("and") {
            self.comparison()?;
            self.steps.push(Step::And);
            unit = Unit::Unknown;
        }
        Ok(unit)
    }

    fn comparison(&mut self) -> Result<Unit, String> {
        if self.word("not") {
            self.deeper()?;
            self.comparison()?;
            self.depth -= 1;
            self.steps.push(Step::Not);
            return Ok(Unit::Unknown);
        }
        let left = self.sum()?;
        let Some(sign) = self.sign(&["==", "!=", "<=", ">=", "<", ">"]) else { return Ok(left) };
        let right = self.sum()?;
        same(&left, &right, "compares")?;
        self.steps.push(match sign {
            "==" => Step::Equal,
            "!=" => Step::Unequal,
            "<=" => Step::LessEqual,
            ">=" => Step::GreaterEqual,
            "<" => Step::Less,
            _ => Step::Greater,
        });
        Ok(Unit::Unknown)
    }

    fn sum(&mut self) -> Result<Unit, String> {
        let mut unit = self.product()?;
        while let Some(sign) = self.sign(&["+", "-"]) {
            let right = self.product()?;
            unit = same(&unit, &right, if sign == "+" { "adds" } else { "subtracts" })?;
            self.steps.push(if sign == "+" { Step::Add } else { Step::Subtract });
        }
        Ok(unit)
    }

    fn product(&mut self) -> Result<Unit, String> {
        let mut unit = self.factor()?;
        while let Some(sign) = self.sign(&["*", "/"]) {
            let right = self.factor()?;
            unit = if sign == "*" { times(&unit, &right) } else { over(&unit, &right) };
            self.steps.push(if sign == "*" { Step::Multiply } else { Step::Divide });
        }
        Ok(unit)
    }

    fn factor(&mut self) -> Result<Unit, String> {
        if self.sign(&["-"]).is_some() {
            self.deeper()?;
            let unit = self.factor()?;
            self.depth -= 1;
            self.steps.push(Step::Negate);
            return Ok(if let Unit::Constant(number) = unit { Unit::Constant(-number) } else { unit });
        }
        if self.sign(&["("]).is_some() {
            return self.inside();
        }
        let Some(token) = self.tokens.get(self.at) else {
            return Err("the expression ends too early; complete it".into());
        };
        self.at += 1;
        match token {
            Token::Number(number) => {
                self.push(Step::Number(*number))?;
                Ok(Unit::Constant(*number))
            }
            Token::Name(name) => match name.as_str() {
                "min" | "max" | "abs" | "if" => self.function(name),
                _ => self.metric(name),
            },
            Token::Sign(sign) => Err(format!(
                "{sign:?} is not expected there in the expression; put a number or a metric before it"
            )),
        }
    }

    fn inside(&mut self) -> Result<Unit, String> {
        self.deeper()?;
        let unit = self.any_of()?;
        self.depth -= 1;
        if self.sign(&[")"]).is_none() {
            return Err("a ( of the expression has no ); add it".into());
        }
        Ok(unit)
    }

    fn function(&mut self, name: &str) -> Result<Unit, String> {
        let (count, step) = match name {
            "min" => (2, Step::Min),
            "max" => (2, Step::Max),
            "abs" => (1, Step::Abs),
            _ => (3, Step::If),
        };
        if self.sign(&["("]).is_none() {
            return Err(format!("{name} takes its values in parentheses; write {name}(…)"));
        }
        self.deeper()?;
        let mut units = Vec::new();
        for at in 0..count {
            units.push(self.any_of()?);
            let end = if at + 1 == count { ")" } else { "," };
            if self.sign(&[end]).is_none() {
                return Err(format!("{name} takes {count} values; write {end:?} after value {}", at + 1));
            }
        }
        self.depth -= 1;
        self.steps.push(step);
        match &units[..] {
            [one] => Ok(one.clone()),
            [.., left, right] => same(left, right, "chooses between"),
            [] => Ok(Unit::Unknown),
        }
    }

    fn metric(&mut self, name: &str) -> Result<Unit, String> {
        let (operand, unit) = if name == "host.cpus" {
            (Operand::Cpus, Unit::Unknown)
        } else {
            let at = metric_named(self.catalogue, name)?;
            let family = &self.catalogue.families[at.family];
            (Operand::Metric(at), Unit::of(&family.metrics[at.metric]))
        };
        let at = match self.operands.iter().position(|known| *known == operand) {
            Some(at) => at,
            None => {
                self.operands.push(operand);
                self.operands.len() - 1
            }
        };
        self.push(Step::Load(at))?;
        Ok(unit)
    }

    fn push(&mut self, step: Step) -> Result<(), String> {
        self.steps.push(step);
        // The height is the pushes so far less what the operators took.
        let height: isize = self.steps.iter().map(|step| 1 - step.arity().cast_signed()).sum();
        if height > MOST_DEPTH.cast_signed() {
            return Err("the expression is nested too deeply; make it simpler".into());
        }
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err("the expression is nested too deeply; make it simpler".into());
        }
        Ok(())
    }
}

/// The metric of a full name.
pub(crate) fn metric_named(catalogue: &Catalogue, name: &str) -> Result<MetricAt, String> {
    let Some((family_name, metric_name)) = name.split_once('.') else {
        return Err(format!(
            "{name:?} is no metric; name it as family.metric, such as memory.available_bytes"
        ));
    };
    let Some(family) = catalogue.families.iter().position(|family| family.name == family_name) else {
        let known = catalogue.families.iter().map(|family| family.name.as_str());
        return Err(match probably(family_name, known) {
            Some(meant) => format!("there is no family {family_name:?}; did you mean {meant}?"),
            None => format!("there is no family {family_name:?}; `fettle metrics list` shows them"),
        });
    };
    let metrics = &catalogue.families[family].metrics;
    match metrics.iter().position(|metric| metric.name == metric_name) {
        Some(metric) => Ok(MetricAt { family, metric }),
        None => Err(match probably(metric_name, metrics.iter().map(|metric| metric.name.as_str())) {
            Some(meant) => {
                format!("{family_name} has no metric {metric_name:?}; did you mean {family_name}.{meant}?")
            }
            None => format!(
                "{family_name} has no metric {metric_name:?}; `fettle metrics list --family {family_name}` shows them"
            ),
        }),
    }
}

/// Both must be of one kind; the result is of that kind.
fn same(left: &Unit, right: &Unit, verb: &str) -> Result<Unit, String> {
    match (left, right) {
        (
            Unit::Known { dimension: a, per_second: p, .. },
            Unit::Known { dimension: b, per_second: q, .. },
        ) => {
            if a == b && p == q {
                Ok(left.clone())
            } else {
                Err(format!(
                    "the expression {verb} {} and {}; bring both to one unit",
                    left.words(),
                    right.words()
                ))
            }
        }
        (Unit::Known { .. }, Unit::Constant(_)) => Ok(left.clone()),
        (Unit::Constant(_), Unit::Known { .. }) => Ok(right.clone()),
        (Unit::Constant(_), Unit::Constant(_)) => Ok(Unit::Constant(f64::NAN)),
        _ => Ok(Unit::Unknown),
    }
}

fn times(left: &Unit, right: &Unit) -> Unit {
    match (left, right) {
        (Unit::Constant(a), Unit::Constant(b)) => Unit::Constant(a * b),
        (Unit::Constant(number), Unit::Known { dimension: Dimension::Ratio, .. })
        | (Unit::Known { dimension: Dimension::Ratio, .. }, Unit::Constant(number))
            if *number == 100.0 =>
        {
            Unit::percent()
        }
        (Unit::Constant(number), Unit::Known { dimension, per_second, .. })
        | (Unit::Known { dimension, per_second, .. }, Unit::Constant(number)) => {
            Unit::Times(*number, *dimension, *per_second)
        }
        _ => Unit::Unknown,
    }
}

fn over(left: &Unit, right: &Unit) -> Unit {
    match (left, right) {
        (Unit::Constant(a), Unit::Constant(b)) => Unit::Constant(a / b),
        (
            Unit::Known { dimension: a, per_second: p, .. },
            Unit::Known { dimension: b, per_second: q, .. },
        ) if a == b && p == q => Unit::ratio(),
        (Unit::Times(number, a, p), Unit::Known { dimension: b, per_second: q, .. })
            if *number == 100.0 && a == b && p == q =>
        {
            Unit::percent()
        }
        _ => Unit::Unknown,
    }
}

#[cfg(test)]
mod tests;
