//! The folder of the data and the place of the answer. What was read is never written over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::EvalError;

/// A folder of evaluation data. Remembers which files were read.
pub(super) struct Data {
    root: PathBuf,
    form: &'static str,
    read: BTreeSet<PathBuf>,
}

impl Data {
    /// The folder `root`, of the form that the evaluation `form` reads.
    pub(super) fn open(root: &Path, form: &'static str) -> Result<Self, EvalError> {
        if !root.is_dir() {
            return Err(EvalError::NoFolder { path: root.to_owned() });
        }
        Ok(Self { root: root.to_owned(), form, read: BTreeSet::new() })
    }

    /// Where a file of the folder lies.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// True if the folder has a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// The content of a file in the folder.
    pub(super) fn text(&mut self, name: &str) -> Result<String, EvalError> {
        let path = self.path(name);
        let text = fs::read_to_string(&path).map_err(|source| self.unreadable(&path, source))?;
        self.read.insert(fs::canonicalize(&path).unwrap_or(path));
        Ok(text)
    }

    /// The folder's CSV files by their path within it, in order, those in folders below it too; what lies
    /// in `except` (an earlier answer) is left out.
    pub(super) fn csv_files(&self, below: bool, except: &Path) -> Result<Vec<String>, EvalError> {
        let except = fs::canonicalize(except).ok();
        let (mut files, mut waiting) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(inner) = waiting.pop() {
            let folder = self.root.join(&inner);
            let entries = fs::read_dir(&folder).map_err(|source| self.unreadable(&folder, source))?;
            for entry in entries {
                let entry = entry.map_err(|source| self.unreadable(&folder, source))?;
                let (path, name) = (entry.path(), inner.join(entry.file_name()));
                if path.is_dir() {
                    let is_answer = except.is_some() && fs::canonicalize(&path).ok() == except;
                    if below && !is_answer {
                        waiting.push(name);
                    }
                } else if name.extension().is_some_and(|extension| extension == "csv") {
                    files.extend(name.to_str().map(str::to_owned));
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Refuses a file for the answer that is a folder or holds data that was read; asked before long work.
    pub(super) fn spare(&self, out: &Path) -> Result<(), EvalError> {
        if out.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(EvalError::Unwritable { path: out.to_owned(), source });
        }
        if fs::canonicalize(out).is_ok_and(|path| self.read.contains(&path)) {
            return Err(EvalError::Overwrites { path: out.to_owned() });
        }
        Ok(())
    }

    /// Writes an answer, making its folder when there is none.
    pub(super) fn write(&self, out: &Path, text: &str) -> Result<(), EvalError> {
        let unwritable = |path: &Path| {
            let path = path.to_owned();
            move |source| EvalError::Unwritable { path, source }
        };
        self.spare(out)?;
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(unwritable(folder))?;
        }
        fs::write(out, text).map_err(unwritable(out))
    }

    /// The folder has nothing of its form.
    pub(super) fn nothing(&self, what: &'static str) -> EvalError {
        EvalError::Nothing { path: self.root.clone(), what, form: self.form }
    }

    /// A line of a file is of another form.
    pub(super) fn line(&self, name: &str, line: usize, why: impl Into<String>) -> EvalError {
        EvalError::Line { path: self.path(name), line, why: why.into() }
    }

    /// A file is of another form.
    pub(super) fn file(&self, name: &str, why: impl Into<String>) -> EvalError {
        EvalError::File { path: self.path(name), why: why.into() }
    }

    fn unreadable(&self, path: &Path, source: std::io::Error) -> EvalError {
        EvalError::Unreadable { path: path.to_owned(), source, form: self.form }
    }
}

/// The line, counted from 1, on which the `row`th row after the header stands; empty lines are no rows.
pub(super) fn line_of_row(text: &str, row: usize) -> usize {
    let mut filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    filled.nth(row).map_or(row + 1, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_count_as_lines_and_not_as_rows() {
        assert_eq!(line_of_row("head\na\nb\n", 2), 3);
        assert_eq!(line_of_row("\nhead\n\na\n\nb\n", 2), 6);
    }
}
