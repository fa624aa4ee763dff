//! The files the rules look at: everything in the clone that people wrote.

use std::path::{Path, PathBuf};

/// One file of the project.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path from the root of the clone, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl File {
    /// True for Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True if nothing in it runs in production: an integration test, a test module in a file of its own,
    /// a benchmark's or an example's file.
    pub fn is_test(&self) -> bool {
        let whole = |part: &str| matches!(part, "tests" | "tests.rs" | "benches" | "examples" | "fuzz");
        self.path.ends_with("_tests.rs") || self.path.split('/').any(whole)
    }
}

/// What is broken, where, in one line.
pub type Complaints = Vec<String>;

/// The root of the clone.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' crate stands below the root").to_owned()
}

/// Every text file of the project, sorted by path. Build output and hidden directories but `.ci` and
/// `.config` are passed over, and so is what is not UTF-8.
pub fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of the clone can be read") {
            let entry = entry.expect("a directory of the clone can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("an entry of the clone has a type");
            if kind.is_dir() {
                let hidden = name.starts_with('.') && !matches!(name.as_str(), ".ci" | ".config");
                if !hidden && !matches!(name.as_str(), "target" | "node_modules" | "__pycache__") {
                    waiting.push(entry.path());
                }
            } else if kind.is_file() && name != "Cargo.lock" {
                if let Ok(text) = std::fs::read_to_string(entry.path()) {
                    let path = entry.path();
                    let relative = path.strip_prefix(&root).expect("the walk started at the root");
                    found.push(File { path: relative.to_string_lossy().into_owned(), text });
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.iter().any(|file| file.path == "tests/tidy/tree.rs"),
        "the walk did not find this very file"
    );
    found
}
