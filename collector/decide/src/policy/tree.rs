//! A YAML text as a tree whose every value knows its line and column. Policies are read from this tree by
//! hand, and not straight into structures, so that one reading finds all faults of a file and can say of
//! each where it stands; a derived reader stops at the first.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A fault of a text, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line, from 1; 0: nobody knows.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// One sentence that says what to do.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The value.
    pub value: Value,
}

/// What stands there.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, its keys with their places.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// A fault at this place.
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { line: self.line, column: self.column, what: what.into() }
    }
}

/// Reads the text.
///
/// # Errors
/// It is no YAML, or a key stands twice in a map.
pub fn read(text: &str) -> Result<Node, Fault> {
    match serde_saphyr::from_str::<Spanned<Raw>>(text) {
        Ok(root) => Ok(settle(root)),
        Err(error) => {
            let place = error.location();
            Err(Fault {
                line: place.map_or(0, |place| place.line()),
                column: place.map_or(0, |place| place.column()),
                what: one_line(&error.without_snippet().to_string()),
            })
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or("this is no YAML").trim().to_owned()
}

/// A value as the YAML reader hands it over.
#[derive(Debug)]
enum Raw {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn settle(raw: Spanned<Raw>) -> Node {
    let place = raw.referenced;
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(value) => Value::Number(value),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(settle).collect()),
        Raw::Map(pairs) => Value::Map(
            pairs
                .into_iter()
                .map(|(key, value)| {
                    let (line, column) = (key.referenced.line(), key.referenced.column());
                    (Node { line, column, value: Value::Text(key.value) }, settle(value))
                })
                .collect(),
        ),
    };
    Node { line: place.line(), column: place.column(), value }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Raw::Map(pairs))
    }
}

/// Reads values out of nodes and keeps every fault it meets.
#[derive(Debug, Default)]
pub struct Reader {
    /// Faults so far.
    pub faults: Vec<Fault>,
}

/// A map's values by key.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [(Node, Node)]);

impl<'a> Fields<'a> {
    /// The value of this key, if it stands there and is not null.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.pairs().find(|(name, _)| *name == key).map(|(_, node)| node)
    }

    /// Keys and values, without those that are null.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        self.0.iter().filter_map(|(key, node)| match (&key.value, &node.value) {
            (_, Value::Null) => None,
            (Value::Text(name), _) => Some((name.as_str(), node)),
            _ => None,
        })
    }
}

impl Reader {
    /// Keeps a fault of this node.
    pub fn fault(&mut self, node: &Node, what: impl Into<String>) {
        self.faults.push(node.fault(what));
    }

    /// A map with these keys and no others; with no keys given, any may stand there.
    pub fn map<'a>(&mut self, node: &'a Node, what: &str, known: &[&str]) -> Option<Fields<'a>> {
        let Value::Map(pairs) = &node.value else {
            self.fault(node, format!("write {what} as a map of keys and values"));
            return None;
        };
        for (key, _) in pairs {
            if let Value::Text(name) = &key.value {
                if !known.is_empty() && !known.contains(&name.as_str()) {
                    let list = known.join(", ");
                    self.fault(key, format!("`{name}` is unknown in {what}; it may have: {list}"));
                }
            }
        }
        Some(Fields(pairs))
    }

    /// A list; a single value counts as a list of one.
    pub fn list<'a>(&mut self, node: &'a Node) -> Vec<&'a Node> {
        match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Null => Vec::new(),
            _ => vec![node],
        }
    }

    /// Text; a number or a truth value counts as its text.
    pub fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => {
                self.fault(node, format!("write {what} as text"));
                None
            }
        }
    }

    /// Texts of a list.
    pub fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        self.list(node).into_iter().filter_map(|item| self.text(item, what)).collect()
    }

    /// A number from `least` to `most`.
    pub fn number(&mut self, node: &Node, what: &str, least: f64, most: f64) -> Option<f64> {
        match &node.value {
            Value::Number(number) if (least..=most).contains(number) => Some(*number),
            _ => {
                self.fault(node, format!("write {what} as a number from {least} to {most}"));
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub fn whole(&mut self, node: &Node, what: &str, least: u32, most: u32) -> Option<u32> {
        let number = self.number(node, what, f64::from(least), f64::from(most))?;
        if number.fract() != 0.0 {
            self.fault(node, format!("write {what} as a whole number"));
            return None;
        }
        Some(number as u32)
    }

    /// A truth value.
    pub fn truth(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        self.fault(node, format!("write {what} as true or false"));
        None
    }

    /// A time such as `15s`, `10m`, `1h` or `2d`, in µs; at most 366 days.
    pub fn duration_us(&mut self, node: &Node, what: &str) -> Option<i64> {
        let text = match &node.value {
            Value::Text(text) => text.as_str(),
            Value::Number(number) if *number == 0.0 => "0s",
            _ => "",
        };
        let read = duration_us(text);
        if read.is_none() {
            self.fault(node, format!("write {what} as a time with its unit, such as 15s, 10m, 1h or 2d"));
        }
        read
    }

    /// One of these names.
    pub fn choice<T: Copy>(&mut self, node: &Node, what: &str, names: &[(&str, T)]) -> Option<T> {
        if let Value::Text(text) = &node.value {
            if let Some((_, value)) = names.iter().find(|(name, _)| name == text) {
                return Some(*value);
            }
        }
        let list: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        self.fault(node, format!("write {what} as one of: {}", list.join(", ")));
        None
    }
}

/// A time with its unit, in µs; none when it is none or longer than 366 days.
pub fn duration_us(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: i64 = text[..digits].parse().ok()?;
    let unit_us = match &text[digits..] {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.checked_mul(unit_us).filter(|us| *us <= 366 * 86_400_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let root = read("a:\n  - 1\n  - b: true\n").unwrap();
        let Value::Map(pairs) = &root.value else { panic!("a map") };
        let Value::List(items) = &pairs[0].1.value else { panic!("a list") };
        assert_eq!((items[0].line, items[0].column), (2, 5));
        let Value::Map(inner) = &items[1].value else { panic!("a map") };
        assert_eq!((inner[0].0.line, inner[0].0.column), (3, 5));
        assert_eq!((inner[0].1.line, inner[0].1.column), (3, 8));
    }

    #[test]
    fn a_text_that_is_no_yaml_and_a_double_key_are_faults_with_a_place() {
        for (text, line) in [("a: [1, 2", 1), ("a: 1\na: 2\n", 2)] {
            let fault = read(text).unwrap_err();
            assert!(fault.line >= line, "{fault}");
            assert!(!fault.what.contains('\n'));
        }
    }

    #[test]
    fn times_have_units_and_bounds() {
        for (text, us) in
            [("15s", 15_000_000), ("250ms", 250_000), ("10m", 600_000_000), ("2d", 172_800_000_000)]
        {
            assert_eq!(duration_us(text), Some(us));
        }
        for text in ["", "15", "s", "-1s", "1.5s", "400d", "99999999999999999999s"] {
            assert_eq!(duration_us(text), None, "{text}");
        }
    }
}
