//! Gives back the pages of libchdb that only its start needed.
//!
//! Opening the engine registers thousands of functions, and the kernel maps 64 KiB around each page
//! touched: 290 MB of the library's code and constants are resident afterwards, of which steady
//! running needs a fraction. They are clean pages of a file, so dropping them costs a page fault
//! each, from the page cache, for those that are needed again.
#![allow(unsafe_code)]

use std::path::Path;

/// A mapping as `/proc/self/smaps` lists it (proc_pid_smaps(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
}

/// Drops the clean, read-only pages of `library` from this process.
pub(crate) fn release_library_pages(library: &Path) {
    let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    let Ok(library) = library.canonicalize() else { return };
    for mapping in clean_mappings(&smaps, &library.to_string_lossy()) {
        // SAFETY: the range is a mapping of this process that cannot be written and holds no private
        // copy of any page (Anonymous: 0), so every page that is dropped reads the same again from
        // the file. The library is never unloaded, so the range stays what it is.
        let result = unsafe {
            libc::madvise(
                mapping.start as *mut libc::c_void,
                mapping.end - mapping.start,
                libc::MADV_DONTNEED,
            )
        };
        if result != 0 {
            tracing::debug!(error = %std::io::Error::last_os_error(), "pages of the library stay resident");
        }
    }
}

/// The read-only mappings of `file` in which no page is private to this process.
fn clean_mappings(smaps: &str, file: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(mapping) = header(line, file) {
            current = mapping;
        } else if line.strip_prefix("Anonymous:").is_some_and(|rest| rest.trim() == "0 kB") {
            found.extend(current.take());
        }
    }
    found
}

/// `Some` when the line begins a mapping; inside, the mapping if it is a read-only one of `file`.
fn header(line: &str, file: &str) -> Option<Option<Mapping>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let permissions = fields.next()?;
    let path = fields.skip(3).collect::<Vec<_>>().join(" ");
    let wanted = path == file && matches!(permissions, "r-xp" | "r--p");
    Some(wanted.then_some(Mapping { start, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_read_only_mappings_of_the_file_are_taken() {
        let smaps = "\
1000-2000 r-xp 00000000 fe:00 7 /lib/a.so
Rss: 4 kB
Anonymous:             0 kB
2000-3000 r--p 00000000 fe:00 7 /lib/a.so
Anonymous:             4 kB
3000-4000 rw-p 00000000 fe:00 7 /lib/a.so
Anonymous:             0 kB
4000-5000 r--p 00000000 fe:00 8 /lib/b.so
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Anonymous:             0 kB
";
        assert_eq!(clean_mappings(smaps, "/lib/a.so"), [Mapping { start: 0x1000, end: 0x2000 }]);
    }
}
