//! Reads values out of a YAML tree ([`fettle_alert::yaml`]) and keeps every fault it meets with the place where it
//! stands: policies are read by hand, and not straight into structures, so that one reading finds all faults of
//! a file; a derived reader stops at the first.

use fettle_alert::yaml::{self, Key, Place};
pub use fettle_alert::yaml::{Content, Node};

/// A fault of a text, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line, from 1; 0: nobody knows.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// One sentence that says what to do.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

impl Fault {
    /// A fault at this place.
    fn at(place: Place, what: impl Into<String>) -> Self {
        Self { line: place.line, column: place.column, what: what.into() }
    }
}

/// Reads the text.
///
/// # Errors
/// It is no YAML, is too large or nested too deep, or a key stands twice in a map.
pub fn read(text: &str) -> Result<Node, Fault> {
    yaml::parse(text).map_err(|wrong| Fault::at(wrong.at, wrong.what))
}

/// Reads values out of nodes and keeps every fault it meets.
#[derive(Debug, Default)]
pub struct Reader {
    /// Faults so far.
    pub faults: Vec<Fault>,
}

/// A map's values by key.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [(Key, Node)]);

impl<'a> Fields<'a> {
    /// The value of this key, if it stands there and is not null.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.pairs().find(|(name, _)| *name == key).map(|(_, node)| node)
    }

    /// Keys and values, without those that are null.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let there = self.0.iter().filter(|(_, node)| node.content != Content::Null);
        there.map(|(key, node)| (key.name.as_str(), node))
    }
}

impl Reader {
    /// Keeps a fault of this node.
    pub fn fault(&mut self, node: &Node, what: impl Into<String>) {
        self.faults.push(Fault::at(node.at, what));
    }

    /// A map with these keys and no others; with no keys given, any may stand there.
    pub fn map<'a>(&mut self, node: &'a Node, what: &str, known: &[&str]) -> Option<Fields<'a>> {
        let Content::Map(pairs) = &node.content else {
            self.fault(node, format!("write {what} as a map of keys and values"));
            return None;
        };
        for (key, _) in pairs {
            let name = key.name.as_str();
            if !known.is_empty() && !known.contains(&name) {
                let list = known.join(", ");
                let what = format!("`{name}` is unknown in {what}; it may have: {list}");
                self.faults.push(Fault::at(key.at, what));
            }
        }
        Some(Fields(pairs))
    }

    /// A list; a single value counts as a list of one.
    pub fn list<'a>(&mut self, node: &'a Node) -> Vec<&'a Node> {
        match &node.content {
            Content::List(items) => items.iter().collect(),
            Content::Null => Vec::new(),
            _ => vec![node],
        }
    }

    /// Text; a number or a truth value counts as its text.
    pub fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.content {
            Content::Text(text) => Some(text.clone()),
            Content::Number(number) => Some(number.to_string()),
            Content::Bool(value) => Some(value.to_string()),
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
        match &node.content {
            Content::Number(number) if (least..=most).contains(number) => Some(*number),
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
        if let Content::Bool(value) = node.content {
            return Some(value);
        }
        self.fault(node, format!("write {what} as true or false"));
        None
    }

    /// A time such as `15s`, `10m`, `1h` or `2d`, in µs; at most 366 days.
    pub fn duration_us(&mut self, node: &Node, what: &str) -> Option<i64> {
        let text = match &node.content {
            Content::Text(text) => text.as_str(),
            Content::Number(number) if *number == 0.0 => "0s",
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
        if let Content::Text(text) = &node.content {
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
