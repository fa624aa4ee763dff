//! The clients of others — Python's and Node's — against `fettle clickhouse serve`, as one test.
//!
//! `tests/clients/run` fetches the clients and runs their suites; it is a script of its own so that
//! it can be run by hand. Here its words are shown only when it fails.

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn python_and_node_clients_are_answered_as_by_clickhouse() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/run");
    let fettle = fettle_tests::binaries::fettle("fettle");
    let bin = fettle.parent().expect("a file is in a directory");
    let output = Command::new(&script)
        .env("FETTLE_BIN_DIR", bin)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}", script.display()));
    assert!(
        output.status.success(),
        "{} failed ({}):\n{}{}",
        script.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
