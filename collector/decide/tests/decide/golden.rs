//! Golden output: each `DIRECTORY/NAME.script` is run, and what comes of it compared with `NAME.out` beside it.
//! `FETTLE_BLESS=1 cargo test -p fettle-decide` writes the outputs anew; the diff is then for a person to read.

use std::path::{Path, PathBuf};

/// Runs the scripts of a directory of the tests, of which there are at least so many.
pub(crate) fn compare(directory: &str, least: usize, run: impl Fn(&str) -> String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "script"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= least, "the scripts were not found");
    let mut wrong = Vec::new();
    for path in scripts {
        let got = run(&std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("out");
        if std::env::var_os("FETTLE_BLESS").is_some() {
            std::fs::write(&golden, &got).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != got {
            wrong.push(format!("{}:\n{got}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "not as in the golden output:\n{}", wrong.join("\n"));
}
