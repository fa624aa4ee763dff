//! `fettle sql` against the real engine, served by `fettle clickhouse serve`.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::{err, fettle, out, Running};

struct Engine {
    running: Running,
    url: String,
    directory: tempfile::TempDir,
}

impl Engine {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data").display().to_string();
        let mut running =
            Running::start(fettle(&["clickhouse", "serve", "--path", &path, "--listen", "127.0.0.1:0"]));
        let line = running.line("ClickHouse ");
        let url = line.split_whitespace().last().unwrap().to_owned();
        Self { running, url, directory }
    }

    /// As a person, who may only read.
    fn sql(&self, arguments: &[&str]) -> Command {
        let mut command = fettle(&["sql", "--url", &self.url, "--database", "default"]);
        command.args(arguments);
        command
    }

    /// As the user that writes.
    fn write(&self, arguments: &[&str]) -> Command {
        let password = std::fs::read_to_string(self.directory.path().join("data/writer.password")).unwrap();
        let mut command = self.sql(&["--user", "fettle"]);
        command.args(arguments).env("FETTLE_SQL_PASSWORD", password.trim());
        command
    }
}

/// Runs it with this on its standard input.
fn piped(mut command: Command, input: &str) -> std::process::Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn questions_are_answered_as_tables_formats_and_errors() {
    let engine = Engine::start();
    let output = engine.sql(&["SELECT number AS n, 'text' AS word FROM numbers(3)"]).output().unwrap();
    let (table, timing) = (out(&output), err(&output));
    assert!(output.status.success(), "{timing}");
    assert!(table.contains(" n   word") && table.contains(" 2   text"), "{table}");
    assert!(timing.contains("3 rows in "), "{timing}");

    let output = engine.sql(&["--json", "SELECT 1 AS a"]).output().unwrap();
    assert_eq!(out(&output).trim(), r#"{"a":1}"#);
    let output = engine.sql(&["--format", "CSV", "SELECT 1, 'b'"]).output().unwrap();
    assert_eq!(out(&output).trim(), r#"1,"b""#);
    let output = engine.sql(&["SELECT 1 AS a, 2 AS b FORMAT TSVWithNames"]).output().unwrap();
    assert_eq!(out(&output), "a\tb\n1\t2\n");

    let output = engine.sql(&["SELECT * FROM no_such_table"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = err(&output);
    assert!(said.contains("(code 60)") && said.contains("no_such_table"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");

    // What is wrong is told without the question, which may be a page.
    for (question, named) in [
        ("SELECT nothing_like_it + 41 FROM numbers(3) WHERE number < 40", "nothing_like_it"),
        ("SELECT number FROMM numbers(3) WHERE number < 40", "numbers"),
        ("SELECT toUInt8(concat('x', toString(number))) FROM numbers(3) WHERE number < 40", "x0"),
    ] {
        let output = engine.sql(&[question]).output().unwrap();
        let said = err(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(named) && !said.contains("WHERE number") && !said.contains("< 40"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }

    let output = engine.sql(&["SELECT number FROM numbers(20000)"]).output().unwrap();
    assert!(err(&output).contains("10,000 rows, the first of more"), "{}", err(&output));
}

#[test]
fn files_and_rows_come_through_a_pipe() {
    let engine = Engine::start();
    let questions = "CREATE TABLE t (n UInt32, s String) ENGINE = MergeTree ORDER BY n; -- a comment;\n\
                     INSERT INTO t VALUES (1, 'a;b');\nINSERT INTO t FORMAT CSV\n2,c\n3,\"d;e\"\n";
    let output = piped(engine.write(&["--quiet"]), questions);
    assert!(output.status.success(), "{}", err(&output));
    let output = piped(engine.write(&["INSERT INTO t FORMAT CSV"]), "4,f\n5,g\n");
    assert!(output.status.success(), "{}", err(&output));
    let output = engine.sql(&["--format", "CSV", "SELECT * FROM t ORDER BY n"]).output().unwrap();
    assert_eq!(out(&output), "1,\"a;b\"\n2,\"c\"\n3,\"d;e\"\n4,\"f\"\n5,\"g\"\n");
    let output = engine.sql(&["INSERT INTO t VALUES (6, 'h')"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a person could write: {}", out(&output));
}

#[test]
fn the_engine_stops_in_order_and_keeps_its_data() {
    let mut engine = Engine::start();
    let sql = "CREATE TABLE kept (n UInt32) ENGINE = MergeTree ORDER BY n; INSERT INTO kept VALUES (7)";
    let output = piped(engine.write(&[]), sql);
    assert!(output.status.success(), "{}", err(&output));
    engine.running.signal(Signal::TERM);
    assert_eq!(engine.running.wait(), Some(0));
    let path = engine.directory.path().join("data").display().to_string();
    engine.running =
        Running::start(fettle(&["clickhouse", "serve", "--path", &path, "--listen", "127.0.0.1:0"]));
    let line = engine.running.line("ClickHouse ");
    engine.url = line.split_whitespace().last().unwrap().to_owned();
    let output = engine.sql(&["--format", "CSV", "SELECT * FROM kept"]).output().unwrap();
    assert_eq!(out(&output).trim(), "7", "{}", err(&output));
}
