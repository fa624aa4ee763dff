//! Deleting old files below one directory. The directory is opened without following a link; every directory below
//! it is opened from it by openat2(2) so that no link, no `..` and no mount leads out; a file is looked at again
//! through its directory's descriptor right before it is unlinked, and unlinking never follows a link. The worst
//! that someone who can write there can do is to have another plain file there, of a fitting name, deleted.
//!
//! Files in use are deleted too (their space is free when they are closed); directories stay.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{statat, unlinkat, AtFlags, Dir, FileType, OFlags, Stat};

use super::threads::Stop;
use super::tree::{open_below, open_plain};
use super::Report;
use crate::host_file::CleanUp;

/// Most files and directories that are kept in mind.
const FILES_MAX: usize = 100_000;
const DIRECTORIES_MAX: usize = 100_000;
/// Names in the report.
const NAMED: usize = 20;

/// A file that may go, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    modified: (i64, u64),
    path: PathBuf,
    inode: (u64, u64),
    bytes: u64,
}

#[derive(Debug, Default)]
struct Walk {
    /// The oldest that fit, newest on top.
    oldest: BinaryHeap<Candidate>,
    /// Bytes of all plain files below the root.
    bytes: u64,
    files: u64,
    /// Directories that could not be read or are of another file system.
    closed: u64,
}

/// Cleans up; a dry run only counts.
pub(super) fn run(policy: &CleanUp, dry: bool, stop: &Stop) -> Result<Report, String> {
    let root = open_plain(&policy.root, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let before = now.saturating_sub(policy.older_than.as_secs());
    let walk = walk(&root, policy, i64::try_from(before).unwrap_or(i64::MAX), stop)?;
    let (mut files, mut bytes, mut failed, mut left) = (0, 0, 0, walk.bytes);
    let mut names = Vec::new();
    let mut last_error = String::new();
    for candidate in walk.oldest.into_sorted_vec() {
        let is_enough = policy.keep_bytes > 0 && left <= policy.keep_bytes;
        if is_enough || files >= policy.most_files || stop.is_set() {
            break;
        }
        if bytes + candidate.bytes > policy.most_bytes {
            continue;
        }
        match if dry { Ok(()) } else { delete(&root, &candidate, &policy.pattern) } {
            Ok(()) => {
                files += 1;
                bytes += candidate.bytes;
                left = left.saturating_sub(candidate.bytes);
                if names.len() < NAMED {
                    names.push(candidate.path.display().to_string());
                }
            }
            Err(error) => {
                failed += 1;
                last_error = format!("{}: {error}", candidate.path.display());
            }
        }
    }
    let verb = if dry { "would delete" } else { "deleted" };
    let mut said = format!(
        "{verb} {files} of {} files, {bytes} of {} bytes, below {}",
        walk.files,
        walk.bytes,
        policy.root.display()
    );
    if failed > 0 {
        said += &format!("; {failed} could not be, the last {last_error}");
    }
    if walk.closed > 0 {
        said += &format!("; {} directories were passed by", walk.closed);
    }
    for name in names {
        said += "\n";
        said += &name;
    }
    if files == 0 && failed > 0 {
        return Err(said);
    }
    Ok(Report::says(said).with("bytes", walk.bytes.to_string()))
}

fn walk(root: &OwnedFd, policy: &CleanUp, before: i64, stop: &Stop) -> Result<Walk, String> {
    let mut found = Walk::default();
    let most = usize::try_from(policy.most_files).unwrap_or(FILES_MAX).min(FILES_MAX);
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        if stop.is_set() {
            break;
        }
        let directory = open_below(root, &path, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(mut entries) = directory.and_then(|fd| Dir::read_from(&fd).map(|dir| (fd, dir))) else {
            found.closed += 1;
            continue;
        };
        while let Some(Ok(entry)) = entries.1.read() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Ok(stat) = statat(&entries.0, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if waiting.len() < DIRECTORIES_MAX => waiting.push(path.join(name)),
                FileType::Directory => found.closed += 1,
                FileType::RegularFile => {
                    let bytes = bytes_of(&stat);
                    found.files += 1;
                    found.bytes += bytes;
                    if stat.st_mtime < before && fits(policy.pattern.as_bytes(), name.as_bytes()) {
                        let modified = (stat.st_mtime, stat.st_mtime_nsec);
                        let inode = (stat.st_dev, stat.st_ino);
                        found.oldest.push(Candidate { modified, path: path.join(name), inode, bytes });
                        if found.oldest.len() > most {
                            found.oldest.pop();
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// What a file takes on the disk; nothing is freed while it has another name.
fn bytes_of(stat: &Stat) -> u64 {
    if stat.st_nlink > 1 {
        0
    } else {
        u64::try_from(stat.st_blocks).unwrap_or(0) * 512
    }
}

/// Deletes a file if it is still the one that was found.
fn delete(root: &OwnedFd, candidate: &Candidate, pattern: &str) -> Result<(), String> {
    let (Some(parent), Some(name)) = (candidate.path.parent(), candidate.path.file_name()) else {
        return Err("it has no name".to_owned());
    };
    let parent = if parent == Path::new("") { Path::new(".") } else { parent };
    let directory = open_below(root, parent, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|error| format!("its directory cannot be opened: {error}"))?;
    let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| error.to_string())?;
    let is_same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && (stat.st_dev, stat.st_ino) == candidate.inode
        && stat.st_mtime == candidate.modified.0
        && fits(pattern.as_bytes(), name.as_bytes());
    if !is_same {
        return Err("it has become another file".to_owned());
    }
    unlinkat(&directory, name, AtFlags::empty()).map_err(|error| error.to_string())
}

/// Whether a name fits a shell pattern (glob(7)): `*`, `?`, `[a-z]`, `[!a-z]`. As in a shell, a leading point is
/// only fitted by a point. Takes time proportional to the product of the lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        let rest = &pattern[at_pattern.min(pattern.len())..];
        if rest.first() == Some(&b'*') {
            star = Some((at_pattern, at_name));
            at_pattern += 1;
            continue;
        }
        match one(rest, name[at_name]) {
            Some(len) => {
                at_pattern += len;
                at_name += 1;
            }
            None => match &mut star {
                Some((back, taken)) => {
                    *taken += 1;
                    (at_pattern, at_name) = (*back + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

/// Whether the pattern's first element takes this byte; gives the element's length.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'\\' => (*pattern.get(1)? == byte).then_some(2),
        b'[' => set(pattern, byte),
        literal => (*literal == byte).then_some(1),
    }
}

fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let is_negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if is_negated { 2 } else { 1 };
    let mut at = first;
    let mut is_in = false;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > first {
            return (is_in != is_negated).then_some(at + 1);
        }
        let is_range = pattern.get(at + 1) == Some(&b'-') && pattern.get(at + 2).is_some_and(|b| *b != b']');
        let high = if is_range { *pattern.get(at + 2)? } else { low };
        is_in |= (low..=high).contains(&byte);
        at += if is_range { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "a.log", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("*.log*", "a.log.1", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[a", "a", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "a", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        let (pattern, name) = ("*a".repeat(200), "a".repeat(2000) + "b");
        assert!(!fits(pattern.as_bytes(), name.as_bytes()), "and soon");
    }
}
