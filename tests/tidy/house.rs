//! Rules that hold for every file, whatever it does: header, size, name, nothing unfinished, no
//! `unsafe` where the list below does not allow it, no path of the machine it was written on.

use crate::code::functions;
use crate::tokens::{starts_with, tokens, without_tests};
use crate::tree::{Complaints, File};

/// Most lines of one file.
pub const FILE_LINES_MAX: usize = 500;
/// Most lines of one function, from its `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "manager.rs", "misc.rs", "stuff.rs"];

/// The files that may say `unsafe`, and why each must.
pub const UNSAFE_FILES: [(&str, &str); 6] = [
    ("collector/engine/src/binding.rs", "binds libchdb's C interface, loaded at run time"),
    ("collector/engine/src/footprint.rs", "gives the library's pages back to the system: madvise"),
    ("collector/src/footprint.rs", "sets parameters of the C allocator: mallopt"),
    ("collector/cli/src/doctor/adjtimex.rs", "makes one system call that no safe crate wraps"),
    ("agent/tests/steady_state.rs", "an allocator that counts, to prove that scans allocate nothing"),
    ("shared/tests/model/allocation.rs", "an allocator that counts, to prove that decoding is bounded"),
];

/// A file opens by saying what it is for.
pub fn header(file: &File) -> Complaints {
    if !file.is_rust() || file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}:1 does not open with a `//!` header that says what it is for", file.path)]
}

/// A file is short enough to read at one sitting.
pub fn file_length(file: &File) -> Complaints {
    let lines = file.text.lines().count();
    if !file.is_rust() || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{} has {lines} lines; split it by idea, {FILE_LINES_MAX} is the most", file.path)]
}

/// A function is short enough to see at once.
pub fn function_length(file: &File) -> Complaints {
    if !file.is_rust() {
        return Vec::new();
    }
    functions(&tokens(&file.text))
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
        .map(|function| {
            let (name, lines) = (&function.name, function.lines);
            format!(
                "{}:{} fn {name} has {lines} lines; {FUNCTION_LINES_MAX} is the most",
                file.path, function.line
            )
        })
        .collect()
}

/// A file is named for its idea.
pub fn name(file: &File) -> Complaints {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if !EMPTY_NAMES.contains(&name) {
        return Vec::new();
    }
    vec![format!("{} is named for nothing; name it for the idea inside", file.path)]
}

/// Nothing is left for later, and no test is switched off.
pub fn unfinished(file: &File) -> Complaints {
    if !file.is_rust() {
        return Vec::new();
    }
    let all = tokens(&file.text);
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let rest = &all[at..];
        for macro_name in ["todo", "unimplemented", "dbg"] {
            if starts_with(rest, &[macro_name, "!"]) {
                found.push(format!("{}:{} has {macro_name}!; finish it", file.path, token.line));
            }
        }
        if starts_with(rest, &["#", "[", "ignore"]) {
            found
                .push(format!("{}:{} switches a test off; make it pass or remove it", file.path, token.line));
        }
    }
    found
}

/// `unsafe` stands only where the list allows it.
pub fn unsafe_code(file: &File) -> Complaints {
    if !file.is_rust() || UNSAFE_FILES.iter().any(|(path, _)| *path == file.path) {
        return Vec::new();
    }
    tokens(&file.text)
        .iter()
        .filter(|token| token.is("unsafe"))
        .map(|token| {
            format!("{}:{} says unsafe and is not in the list in tests/tidy/house.rs", file.path, token.line)
        })
        .collect()
}

/// The list of files that may say `unsafe` holds no file that does not.
pub fn unsafe_list(files: &[File]) -> Complaints {
    let needed = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.is_some_and(|file| tokens(&file.text).iter().any(|token| token.is("unsafe")))
    };
    UNSAFE_FILES
        .iter()
        .filter(|(path, _)| !needed(path))
        .map(|(path, _)| {
            format!("{path} is in the list of files that may say unsafe and does not; take it out")
        })
        .collect()
}

/// No path of the machine it was written on: it would be another one's error.
pub fn machine_paths(file: &File) -> Complaints {
    // Put together here, so that this file does not hold what it looks for.
    let needles = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for needle in needles {
            let stands_alone = |at: usize| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '*'))
            };
            if line.match_indices(needle).any(|(at, _)| stands_alone(at)) {
                found.push(format!("{}:{} holds a path of one machine ({needle})", file.path, number + 1));
            }
        }
    }
    found
}

/// Waiting a fixed time in production code is a guess; the few that are meant are named here.
pub fn blocking_sleep(file: &File) -> Complaints {
    if !file.is_rust() || file.is_test() {
        return Vec::new();
    }
    crate::code::paths(&without_tests(&tokens(&file.text)))
        .iter()
        .filter(|path| path.holds("thread::sleep"))
        .map(|path| format!("{}:{} sleeps a thread; wait for the condition instead", file.path, path.line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> File {
        File { path: "agent/src/x.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_file_without_header_is_found() {
        assert!(header(&rust("//! Says what it is for.\n")).is_empty());
        assert_eq!(header(&rust("// Not a header.\n")).len(), 1);
        assert_eq!(header(&rust("use a;\n//! Too late.\n")).len(), 1);
    }

    #[test]
    fn long_files_and_functions_are_found_with_name_and_length() {
        assert!(file_length(&rust(&"x\n".repeat(FILE_LINES_MAX))).is_empty());
        assert_eq!(file_length(&rust(&"x\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
        let function = |lines: usize| format!("\nfn long() {{{}}}", "\n".repeat(lines - 1));
        assert!(function_length(&rust(&function(FUNCTION_LINES_MAX))).is_empty());
        let found = function_length(&rust(&function(FUNCTION_LINES_MAX + 1)));
        assert_eq!(found, ["agent/src/x.rs:2 fn long has 71 lines; 70 is the most"]);
    }

    #[test]
    fn empty_names_are_found() {
        let file = |path: &str| File { path: path.to_owned(), text: String::new() };
        assert_eq!(name(&file("agent/src/utils.rs")).len(), 1);
        assert_eq!(name(&file("agent/src/manager.rs")).len(), 1);
        assert!(name(&file("agent/src/commonplace.rs")).is_empty());
    }

    #[test]
    fn what_is_unfinished_is_found_in_code_and_not_in_prose() {
        assert_eq!(unfinished(&rust("fn f() { todo!() }")).len(), 1);
        assert_eq!(unfinished(&rust("#[test]\n#[ignore = \"flaky\"]\nfn f() {}")).len(), 1);
        assert!(
            unfinished(&rust("// todo!()\nconst T: &str = \"todo!() #[ignore]\"; fn ignore() {}")).is_empty()
        );
    }

    #[test]
    fn unsafe_is_found_outside_the_list_and_a_stale_list_is_found_too() {
        assert_eq!(unsafe_code(&rust("fn f() {\nunsafe { g() }\n}")).len(), 1);
        assert!(unsafe_code(&rust("#![allow(unsafe_code)] // unsafe\nfn f() {}")).is_empty());
        let listed = File { path: UNSAFE_FILES[0].0.to_owned(), text: "unsafe { g() }".to_owned() };
        assert!(unsafe_code(&listed).is_empty());
        assert_eq!(unsafe_list(&[]).len(), UNSAFE_FILES.len());
        assert_eq!(unsafe_list(&[listed]).len(), UNSAFE_FILES.len() - 1);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(
            machine_paths(&rust(concat!("\nlet a = \"/wo", "rk/main\";"))),
            [concat!("agent/src/x.rs:2 holds a path of one machine (/wo", "rk/)")]
        );
        assert_eq!(machine_paths(&rust(concat!("cd /ro", "ot/x"))).len(), 1);
        assert!(machine_paths(&rust(concat!("$DIR/wo", "rk and state/wo", "rk/x"))).is_empty());
    }

    #[test]
    fn sleeping_threads_are_found_in_production_code_only() {
        let sleep = "use std::thread;\nfn f() { thread::sleep(d) }";
        assert_eq!(blocking_sleep(&rust(sleep)).len(), 1);
        assert!(blocking_sleep(&rust(&format!("#[cfg(test)]\nmod tests {{ {sleep} }}"))).is_empty());
        let test = File { path: "agent/src/x/tests.rs".to_owned(), text: sleep.to_owned() };
        assert!(blocking_sleep(&test).is_empty());
    }
}
