//! The operator's files: rules, alerting (routes and channels), policies. Looked at every two seconds; one that has
//! changed is read once two looks in a row saw the same, because whoever writes it in place may not have finished and
//! half a file can be a good one. A file that became bad keeps what was in force and says so.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Longest file read.
const MOST_BYTES: u64 = 4 << 20;
/// Most files of a directory.
const MOST_FILES: usize = 1000;

/// Where the files are; none: what is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationsFiles {
    /// A file or a directory of rules, on top of the default pack.
    pub rules: Option<PathBuf>,
    /// Routes, channels, escalations.
    pub alerting: Option<PathBuf>,
    /// Policies.
    pub policies: Option<PathBuf>,
}

/// A file or a directory of files, and how it stood when it was read.
#[derive(Debug)]
pub(super) struct Source {
    path: Option<PathBuf>,
    /// As it was read.
    stamp: Option<Stamp>,
    /// As the last look saw it, when that is not how it was read.
    fresh: Option<Stamp>,
}

/// Its files, when each was changed, and how long each is.
type Stamp = Vec<(PathBuf, SystemTime, u64)>;

/// The name of a file and its text.
pub(super) type Text = (String, String);

impl Source {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, stamp: None, fresh: None }
    }

    /// The texts when they changed before the last look and not since (or at the first), or why they cannot be read.
    pub(super) fn changed(&mut self) -> Option<Result<Vec<Text>, String>> {
        let stamp = match self.look() {
            Ok(stamp) => stamp,
            Err(error) => {
                self.fresh = None;
                // Said once, until it changes.
                let first = self.stamp != Some(Vec::new());
                self.stamp = Some(Vec::new());
                return first.then_some(Err(error));
            }
        };
        if self.stamp.as_ref() == Some(&stamp) {
            self.fresh = None;
            return None;
        }
        let is_first = self.stamp.is_none();
        if !is_first && self.fresh.replace(stamp.clone()).as_ref() != Some(&stamp) {
            return None;
        }
        let texts = stamp.iter().map(|(path, _, _)| read(path)).collect();
        if !is_first && self.look().as_ref() != Ok(&stamp) {
            // Somebody writes again, and what was read may be half of it.
            return None;
        }
        (self.stamp, self.fresh) = (Some(stamp), None);
        Some(texts)
    }

    fn look(&self) -> Result<Stamp, String> {
        self.path.as_deref().map_or_else(|| Ok(Vec::new()), stamp)
    }
}

fn read(path: &Path) -> Result<Text, String> {
    let name = path.display().to_string();
    std::fs::read_to_string(path).map(|text| (name.clone(), text)).map_err(|e| format!("{name}: {e}"))
}

fn stamp(path: &Path) -> Result<Stamp, String> {
    let fail = |e: std::io::Error| format!("{} cannot be read ({e}); check the path", path.display());
    let mut paths = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(fail)?.take(MOST_FILES) {
            let file = entry.map_err(fail)?.path();
            if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                paths.push(file);
            }
        }
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    paths
        .into_iter()
        .map(|file| {
            let about = std::fs::metadata(&file).map_err(fail)?;
            if about.len() > MOST_BYTES {
                return Err(format!("{} is larger than {MOST_BYTES} bytes", file.display()));
            }
            let modified = about.modified().map_err(fail)?;
            Ok((file, modified, about.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_once_and_errors_said_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules");
        let mut source = Source::new(Some(path.clone()));
        assert!(source.changed().unwrap().is_err());
        assert!(source.changed().is_none());
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("b.yaml"), "b").unwrap();
        std::fs::write(path.join("a.yml"), "a").unwrap();
        std::fs::write(path.join("a.txt"), "no").unwrap();
        assert!(source.changed().is_none(), "they may be in the making");
        let texts = source.changed().unwrap().unwrap();
        assert_eq!(texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(source.changed().is_none());
        for text in ["aa", "aaa"] {
            std::fs::write(path.join("a.yml"), text).unwrap();
            assert!(source.changed().is_none(), "{text} may be half of it");
        }
        assert_eq!(source.changed().unwrap().unwrap()[0].1, "aaa");
        std::fs::write(path.join("a.yml"), "half").unwrap();
        assert!(source.changed().is_none());
        std::fs::remove_file(path.join("a.yml")).unwrap();
        assert!(source.changed().is_none());
        assert_eq!(source.changed().unwrap().unwrap().len(), 1);
        assert!(Source::new(None).changed().unwrap().unwrap().is_empty());
    }
}
