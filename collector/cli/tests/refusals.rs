//! What is wrong is said in one sentence with its remedy, and the exit code is not 0.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::{err, fettle, free_address, out};

/// Asserts that it fails with one line that holds all these words.
fn refused(command: &mut Command, words: &[&str]) {
    let output = command.output().unwrap();
    let said = err(&output);
    assert_ne!(output.status.code(), Some(0), "it went well: {}", out(&output));
    assert_eq!(said.trim().lines().count(), 1, "more than one line: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// `fettle up` with free addresses, except those that are given.
fn up(state: &std::path::Path, given: &[&str]) -> Command {
    let mut arguments = vec!["up".to_owned(), "--state-dir".to_owned(), state.display().to_string()];
    arguments.extend(given.iter().map(|&word| word.to_owned()));
    for flag in ["--http", "--sql", "--nats", "--agent-metrics"] {
        if !given.contains(&flag) {
            arguments.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
        }
    }
    fettle(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_port_in_use_is_named_with_its_holder_and_the_flag() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let own = format!("(pid {})", std::process::id());
    for flag in ["--http", "--sql", "--nats", "--agent-metrics"] {
        refused(&mut up(state.path(), &[flag, &address]), &[&address, &own, flag]);
    }
}

#[test]
fn one_address_for_two_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let address = free_address();
    refused(&mut up(state.path(), &["--http", &address, "--sql", &address]), &[&address, "--http", "--sql"]);
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let state = tempfile::tempdir().unwrap();
    refused(&mut up(state.path(), &["--nats", "192.0.2.1:4222"]), &["192.0.2.1:4222", "--nats"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_flag() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&mut up(&file.join("state"), &[]), &["file/state", "--state-dir"]);
    // Proc refuses even root, to whom permissions say nothing.
    refused(&mut up(std::path::Path::new("/proc/fettle"), &[]), &["/proc/fettle", "--state-dir"]);
}

#[test]
fn a_missing_library_and_a_missing_server_are_named_with_the_remedy() {
    let state = tempfile::tempdir().unwrap();
    let nowhere = state.path().join("nowhere").display().to_string();
    let mut command = up(state.path(), &[]);
    refused(command.env("FETTLE_NATS_SERVER", &nowhere), &["FETTLE_NATS_SERVER", &nowhere]);
    // Any file will do for the server: the library is looked for before anything starts.
    let mut command = up(state.path(), &[]);
    command.env("FETTLE_NATS_SERVER", "/proc/self/exe").env("FETTLE_LIBCHDB", &nowhere);
    refused(&mut command, &["FETTLE_LIBCHDB", &nowhere]);
}

#[test]
fn a_server_that_does_not_run_is_given_up_with_its_last_words() {
    if !support::siblings_are_built() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let broken = state.path().join("nats-server");
    std::fs::write(&broken, "#!/bin/sh\necho these are the last words >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = up(&state.path().join("state"), &[]);
    refused(command.env("FETTLE_NATS_SERVER", &broken), &["nats", "these are the last words", "nats.log"]);
}

#[test]
fn sql_without_a_server_says_how_to_start_one() {
    let url = format!("http://{}", free_address());
    refused(&mut fettle(&["sql", "--url", &url, "SELECT 1"]), &[&url, "fettle up", "--url"]);
    refused(&mut fettle(&["sql", "--url", "nonsense", "SELECT 1"]), &["nonsense", "http://"]);
    refused(&mut fettle(&["sql", "--url", &url]), &["no question"]);
}

#[test]
fn an_unknown_family_is_refused_with_those_there_are() {
    refused(&mut fettle(&["metrics", "list", "--family", "nonsense"]), &["nonsense", "process", "disk"]);
}
