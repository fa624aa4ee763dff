//! The rules of the house, as a test: a rule that fails the suite tires no reviewer.
//!
//! Each rule is a function from a file to complaints, tested on small bad examples beside it, so
//! that a rule that could not fail would itself fail. What a compiler or a lint can say is left to
//! them: here stands what they cannot know, such as which room may name which.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/house.rs"]
mod house;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/tokens.rs"]
mod tokens;
#[path = "tidy/tree.rs"]
mod tree;

use tree::{Complaints, File};

/// Fails with every complaint at once, one a line.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn each_file(rule: impl Fn(&File) -> Complaints) {
    none(&tree::files().iter().flat_map(rule).collect::<Vec<_>>());
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tree::root().join(path)).expect("Cargo's files are in the clone")
}

#[test]
fn files_open_with_a_header() {
    each_file(house::header);
}

#[test]
fn files_are_short() {
    each_file(house::file_length);
}

#[test]
fn functions_are_short() {
    each_file(house::function_length);
}

#[test]
fn files_are_named_for_their_idea() {
    each_file(house::name);
}

#[test]
fn nothing_is_unfinished() {
    each_file(house::unfinished);
}

#[test]
fn unsafe_stands_only_where_the_list_allows_it() {
    each_file(house::unsafe_code);
    none(&house::unsafe_list(&tree::files()));
}

#[test]
fn no_file_holds_a_path_of_one_machine() {
    each_file(house::machine_paths);
}

#[test]
fn production_code_sleeps_no_thread() {
    each_file(house::blocking_sleep);
}

#[test]
fn rooms_name_no_other_room() {
    each_file(rooms::room_knows_room);
}

#[test]
fn rooms_know_only_what_they_may() {
    each_file(rooms::place_keeps_its_ban);
}

#[test]
fn crates_reach_only_what_they_may() {
    none(&crates::reach(&read("Cargo.lock")));
}

#[test]
fn dependencies_are_named_once_with_their_reason() {
    let manifests = tree::files().into_iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    none(&manifests.flat_map(|file| crates::from_the_root(&file.path, &file.text)).collect::<Vec<_>>());
    none(&crates::reasons(&read("Cargo.toml")));
}
