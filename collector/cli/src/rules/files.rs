//! Rules from files and folders.

use std::path::{Path, PathBuf};

use fettle_alert::rules::{Problem, RuleSet, DEFAULT_PACK, DEFAULT_PACK_NAME, MOST_BYTES};

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {cause}; check the path and its permissions", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A folder holds no rules.
    #[error("{} holds no .yaml or .yml file; name a folder with rules", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// A file is larger than any that people write.
    #[error("{} is larger than 1 MiB; split it", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The rules are wrong.
    #[error("the rules have {} {}; `fettle rules check` lists them, the first is {}", problems.len(), if problems.len() == 1 { "fault" } else { "faults" }, problems.first().map(ToString::to_string).unwrap_or_default())]
    Wrong {
        /// What is wrong.
        problems: Vec<Problem>,
    },
    /// There is no such rule.
    #[error("there is no rule {name:?}; {hint}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        hint: String,
    },
}

/// A file's name and text.
pub(crate) type Named = (String, String);

/// The files that these paths stand for; of a folder its rules, by name. Files of tests are left out.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Named>, RulesError> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |cause| RulesError::Unreadable { path: path.clone(), cause };
        if !path.is_dir() {
            files.push(read_one(path)?);
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
            if is_yaml && !name.starts_with('.') && !name.contains(".tests.") && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(RulesError::Empty { path: path.clone() });
        }
        found.sort();
        for file in found {
            files.push(read_one(&file)?);
        }
    }
    Ok(files)
}

/// One file.
pub(crate) fn read_one(path: &Path) -> Result<Named, RulesError> {
    let unreadable = |cause| RulesError::Unreadable { path: path.to_owned(), cause };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MOST_BYTES as u64 {
        return Err(RulesError::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok((path.display().to_string(), text))
}

/// The default pack with these files.
pub(crate) fn load(files: &[Named]) -> Result<RuleSet, RulesError> {
    RuleSet::load(files).map_err(|problems| RulesError::Wrong { problems })
}

/// The text of a file that rules came from.
pub(crate) fn text_of<'a>(name: &str, files: &'a [Named]) -> Option<&'a str> {
    if name == DEFAULT_PACK_NAME {
        return Some(DEFAULT_PACK);
    }
    files.iter().find(|(file, _)| file == name).map(|(_, text)| text.as_str())
}
