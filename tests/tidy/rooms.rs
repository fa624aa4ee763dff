//! Who may know what: the design's table of rooms, as rules over the paths a file names.
//!
//! A room is a directory (or a file) right below a crate's `src`. Rooms hand each other plain data
//! that `handoff.rs` names, and `pipeline.rs` calls them in order; a room that names another one
//! has reached past both. Only production code counts: a test may look where it likes.

use crate::code::{paths, NamedPath};
use crate::tokens::{tokens, without_tests};
use crate::tree::{Complaints, File};

/// The rooms of each crate that has some.
const ROOMS: [(&str, &[&str]); 4] = [
    ("agent/src/", &["sample", "encode", "spool", "publish", "check", "supervise", "act"]),
    ("collector/analysis/src/", &["detect", "forecast", "predict", "health"]),
    ("collector/alert/src/", &["rules", "manage"]),
    ("collector/src/", &["ingest", "store", "orders", "audit", "api"]),
];

/// What must not be named in some places, and why.
struct Ban {
    places: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

/// I/O, tasks, the clock and randomness: what a pure room gets with its input instead.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "tokio",
    "async_nats",
    "clickhouse",
    "reqwest",
    "axum",
    "rand",
];

const BANS: [Ban; 6] = [
    Ban {
        places: &[
            "shared/src/",
            "agent/src/encode",
            "agent/src/sample/budget",
            "agent/src/sample/entities",
            "agent/src/sample/keyed",
            "agent/src/sample/keylist",
            "agent/src/sample/number",
            "agent/src/sample/schedule",
            "agent/src/publish/flow",
            "agent/src/spool/ranges",
            "agent/src/act/admission",
            "collector/cli/src/sql/statements",
            "collector/cli/src/up/backoff",
            "collector/cli/src/incidents/csv",
            "collector/analysis/src/",
            "collector/history/src/",
            "collector/src/ingest/admission",
            "collector/src/store/assemble",
            "collector/src/store/ddl",
            "collector/src/store/native",
            "collector/src/store/windows",
            "collector/alert/src/",
            "collector/decide/src/",
        ],
        never: IMPURE,
        why: "this room is pure: I/O, tasks, time and chance come in with the input",
    },
    Ban {
        places: &["agent/src/sample", "agent/src/encode", "agent/src/spool"],
        never: &["async_nats", "tokio"],
        why: "sampling and spooling must go on whatever the network does",
    },
    Ban {
        places: &["agent/src/", "collector/src/ingest", "collector/src/orders"],
        never: &["clickhouse", "axum", "libloading"],
        why: "only store and audit speak to ClickHouse, and the agent carries nothing of the collector",
    },
    Ban {
        places: &["collector/src/store", "collector/src/audit"],
        never: &["async_nats"],
        why: "the store must work the same whoever delivers",
    },
    Ban {
        places: &["collector/src/api"],
        never: &["async_nats", "clickhouse", "std::fs"],
        why: "the api reads through the store's handle and acts through the pipeline's",
    },
    Ban {
        places: &["collector/engine/src/"],
        never: &["async_nats", "fettle_shared", "fettle_collector"],
        why: "the engine is ClickHouse for anyone; it knows nothing of Fettle",
    },
];

/// A room names no other room of its crate.
pub fn room_knows_room(file: &File) -> Complaints {
    let Some((crate_root, rooms, own)) = room_of(&file.path) else { return Vec::new() };
    let mut found = Vec::new();
    for path in production_paths(file) {
        for other in rooms.iter().filter(|room| **room != own) {
            let by_crate = path.begins(&format!("crate::{other}"));
            let by_super = path.words[0] == "super" && path.holds(&format!("super::{other}"));
            if by_crate || (by_super && !has_own_part(file, crate_root, own, other)) {
                let line = path.line;
                found.push(format!(
                    "{}:{line} room {own} names room {other}; pass it by handoff.rs",
                    file.path
                ));
            }
        }
    }
    found
}

/// A place names nothing that its rule forbids.
pub fn place_keeps_its_ban(file: &File) -> Complaints {
    let stands_in = |place: &&&str| {
        let rest = file.path.strip_prefix(**place);
        rest.is_some_and(|rest| place.ends_with('/') || rest.starts_with(['/', '.', '_']))
    };
    let broken: Vec<&Ban> =
        BANS.iter().filter(|ban| ban.places.iter().any(|place| stands_in(&place))).collect();
    if broken.is_empty() || !file.is_rust() || file.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in production_paths(file) {
        for ban in &broken {
            for word in ban.never.iter().filter(|word| names(&path, word)) {
                found.push(format!("{}:{} names {word}; {}", file.path, path.line, ban.why));
            }
        }
    }
    found
}

/// A crate is named by a path that begins with it; a call such as `Instant::now` anywhere in a path.
fn names(path: &NamedPath, word: &str) -> bool {
    let is_crate = word.starts_with(char::is_lowercase);
    if !is_crate {
        return path.holds(word);
    }
    // A single word is a crate only in `use tokio;`, which nobody writes; else it is a variable or a field.
    path.words.len() > 1 && path.begins(word)
}

fn production_paths(file: &File) -> Vec<NamedPath> {
    if !file.is_rust() || file.is_test() {
        return Vec::new();
    }
    paths(&without_tests(&tokens(&file.text)))
}

/// The crate's source directory, its rooms, and the room this path is in.
fn room_of(path: &str) -> Option<(&'static str, &'static [&'static str], &'static str)> {
    let (root, rooms) = ROOMS.iter().find(|(root, _)| path.starts_with(root))?;
    let inside = &path[root.len()..];
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    rooms.iter().find(|room| **room == first).map(|own| (*root, *rooms, *own))
}

/// A room may have a part of its own with another room's name, such as `publish/spool.rs`: two levels down,
/// `super` is then the room itself.
fn has_own_part(file: &File, crate_root: &str, own: &str, other: &str) -> bool {
    let own_part = [format!("{crate_root}{own}/{other}.rs"), format!("{crate_root}{own}/{other}/mod.rs")];
    let root = crate::tree::root();
    file.path.matches('/').count() > crate_root.matches('/').count()
        && own_part.iter().any(|part| root.join(part).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        room_knows_room(&file).len() + place_keeps_its_ban(&file).len()
    }

    #[test]
    fn a_room_that_names_another_is_found_however_it_is_written() {
        for text in [
            "use crate::store::Store;",
            "use crate::{handoff::Batch, store};",
            "fn f() { crate::store::open() }",
            "use super::store::Store;",
            "use super::super::store;",
        ] {
            assert_eq!(complaints("collector/src/ingest/batch.rs", text), 1, "{text}");
            assert_eq!(complaints("collector/src/ingest.rs", text), 1, "{text}");
        }
        assert_eq!(complaints("agent/src/publish/mod.rs", "use crate::spool::Spool;"), 1);
    }

    #[test]
    fn handoff_own_parts_tests_and_the_pipeline_are_allowed() {
        for text in [
            "use crate::handoff::Batch;",
            "use crate::ingest::batch::Batch;",
            "use super::batch;",
            "#[cfg(test)] mod tests { use crate::store::Store; }",
            "// use crate::store;\nlet store = 1;",
        ] {
            assert_eq!(complaints("collector/src/ingest/mod.rs", text), 0, "{text}");
        }
        assert_eq!(complaints("collector/src/pipeline.rs", "use crate::{ingest, store};"), 0);
        assert_eq!(complaints("collector/src/ingest/tests.rs", "use crate::store::Store;"), 0);
    }

    #[test]
    fn each_ban_bites_in_its_place_and_nowhere_else() {
        for ban in &BANS {
            for place in ban.places {
                let path =
                    if place.ends_with('/') { format!("{place}x.rs") } else { format!("{place}/x.rs") };
                for word in ban.never {
                    let text = format!("use {word}::thing;");
                    assert!(complaints(&path, &text) > 0, "{path} may say {text}");
                    assert!(complaints("benchmarks/src/x.rs", &text) == 0);
                }
            }
        }
    }

    #[test]
    fn time_and_chance_are_found_in_pure_rooms() {
        let path = "collector/analysis/src/detect/baseline.rs";
        assert_eq!(complaints(path, "fn f() { let t = std::time::Instant::now(); }"), 1);
        assert_eq!(complaints(path, "use std::{fs, io};"), 1);
        assert_eq!(complaints(path, "fn f(rand: u8, tokio: u8) -> u8 { rand.max(tokio) }"), 0);
        assert_eq!(complaints("agent/src/encode.rs", "use tokio::sync::mpsc;"), 2);
        assert_eq!(complaints("agent/src/encoder_of_other_things.rs", "use tokio::sync::mpsc;"), 0);
    }
}
