//! A file of rules as a tree ([`crate::yaml`]), with what is wrong among the file's other problems.

use super::problem::Problems;
use crate::yaml;

pub use crate::yaml::MOST_BYTES;
pub(crate) use crate::yaml::{Content, Key, Node};

/// Reads a file's text. An empty file is `Null`.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    yaml::parse(text).map_err(|wrong| problems.add(wrong.at, wrong.what)).ok()
}
