//! What is wrong with a file, and where: each problem is one sentence that says what to do.

use std::fmt;

pub(crate) use crate::yaml::Place;

/// Something wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as it was named to the reader.
    pub file: String,
    /// Line, from 1; 0 where the place is unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 where the place is unknown.
    pub column: u32,
    /// One sentence that says what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
        }
    }
}

impl std::error::Error for Problem {}

/// The most problems that are collected of one load; what follows is usually an echo of the first.
const MOST: usize = 100;

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Problems {
    file: String,
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: Place, message: impl Into<String>) {
        if self.found.len() < MOST {
            let file = self.file.clone();
            self.found.push(Problem { file, line: at.line, column: at.column, message: message.into() });
        }
    }

    /// How many there are so far: a caller compares it to know whether a part was without fault.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn into_found(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }
}

/// Of the words there are, the one that was probably meant.
pub(crate) fn probably<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|other| (distance(word, other, most), other))
        .filter(|(far, _)| *far <= most)
        .min_by_key(|(far, _)| *far)
        .map(|(_, other)| other)
}

/// Letters added, dropped, changed or exchanged with their neighbour (Damerau's distance, in its restricted form), or
/// more than `most` as soon as that is certain.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let a: Vec<char> = a.chars().take(100).collect();
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(row[j - 1] + 1).min(above[j] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        let known = ["threshold", "anomaly", "sql"];
        assert_eq!(probably("treshold", known), Some("threshold"));
        assert_eq!(probably("anomoly", known), Some("anomaly"));
        assert_eq!(probably("fro", ["of", "for"]), Some("for"));
        assert_eq!(probably("banana", known), None);
        assert_eq!(probably("", known), None);
    }
}
