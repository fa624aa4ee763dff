//! Back to the last good version: a release link to the release that was good, else to the newest one before the
//! present; a file to the newest kept copy that differs from it. The new version is in place at once, by rename.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, fsync, openat, renameat, statat, unlinkat, AtFlags, Dir, FileType, Mode, OFlags};

use super::link::Link;
use super::threads::Stop;
use super::tree::{open_parent, open_plain, why};
use super::versions::{copies, copy, digest, directory, fill, good_releases, open_file, FILE_MAX};
use super::Report;
use crate::host_file::RollBack;

/// Rolls an entry back; once it is stopped nothing is put in place any more.
pub(super) fn run(
    versions: &Path,
    component: &str,
    entry: &str,
    what: &RollBack,
    dry: bool,
    stop: &Stop,
) -> Result<Report, String> {
    let kept = directory(versions, component, entry);
    match what {
        RollBack::Link { link, releases } => roll_link(&kept, link, releases, dry, stop),
        RollBack::File { path, .. } => roll_file(&kept, path, dry, stop),
    }
}

fn roll_link(kept: &Path, path: &Path, releases: &Path, dry: bool, stop: &Stop) -> Result<Report, String> {
    let link = Link::open(path)?;
    let present = link.target.clone();
    let present_name = present.as_deref().and_then(Path::file_name);
    let directory = open_plain(releases, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let all = list(&directory, releases)?;
    let chosen = choose(&all, &good_releases(kept), present_name).ok_or_else(|| {
        format!("{} has no release before the present one; put an older one there", releases.display())
    })?;
    let target = keep_form(&link.directory, present.as_deref(), &directory, releases).join(&chosen);
    let was = present.as_deref().map_or("nothing".into(), Path::to_string_lossy).into_owned();
    if dry {
        return Ok(Report::says(format!(
            "would switch {} from {was} to {}",
            path.display(),
            target.display()
        )));
    }
    stop.check()?;
    link.point_to(&target)?;
    let report = Report::says(format!("switched {} from {was} to {}", path.display(), target.display()));
    Ok(if present.is_some() { report.with("target", was) } else { report })
}

/// The releases by time of change, oldest first: files and directories, no links.
fn list(directory: &OwnedFd, path: &Path) -> Result<Vec<OsString>, String> {
    let mut found = Vec::new();
    let entries = Dir::read_from(directory).map_err(|error| why(path, error))?;
    for entry in entries.flatten() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if matches!(FileType::from_raw_mode(stat.st_mode), FileType::Directory | FileType::RegularFile) {
            found.push((stat.st_mtime, stat.st_mtime_nsec, name.to_owned()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, _, name)| name).collect())
}

/// The newest good release that is not the present one, else the newest before the present.
fn choose(all: &[OsString], good: &[OsString], present: Option<&OsStr>) -> Option<OsString> {
    let is_there = |name: &&OsString| all.contains(name) && Some(name.as_os_str()) != present;
    if let Some(good) = good.iter().find(is_there) {
        return Some(good.clone());
    }
    let place = all.iter().position(|name| Some(name.as_os_str()) == present);
    all[..place.unwrap_or(all.len())].last().cloned()
}

/// The directory part of the new target: as it was, if it names the releases; a relative link stays one.
fn keep_form(beside: &OwnedFd, present: Option<&Path>, releases: &OwnedFd, path: &Path) -> PathBuf {
    let is_same = |parent: &&Path| {
        let named = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let opened = openat(beside, named, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let place = |fd: &OwnedFd| fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino));
        opened.is_ok_and(|opened| place(&opened).is_some() && place(&opened) == place(releases))
    };
    present.and_then(Path::parent).filter(is_same).unwrap_or(path).to_owned()
}

fn roll_file(kept: &Path, path: &Path, dry: bool, stop: &Stop) -> Result<Report, String> {
    let (parent, name) = open_parent(path)?;
    let present = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
            return Err(format!("{} is no plain file; correct the host's file", path.display()))
        }
        // What is replaced is kept; a file that was blown up would fill the agent's own disk.
        Ok(stat) if u64::try_from(stat.st_size).unwrap_or(0) > FILE_MAX => {
            return Err(format!(
            "{} has {} bytes, and what a roll-back replaces is kept up to {FILE_MAX}; put it back by hand",
            path.display(),
            stat.st_size
        ))
        }
        Ok(_) => Some(open_file(path)?),
        Err(rustix::io::Errno::NOENT) => None,
        Err(error) => return Err(why(path, error)),
    };
    let mut present = present;
    let unread = |error| format!("{} cannot be read: {error}", path.display());
    let now = present.as_mut().map(digest).transpose().map_err(unread)?;
    let differs = |copy: &&PathBuf| File::open(copy).and_then(|mut file| digest(&mut file)).ok() != now;
    let copies = copies(kept);
    let Some(good) = copies.iter().rev().find(differs) else {
        return Err(format!("no other version of {} was kept while the component was well", path.display()));
    };
    let version = good.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if dry {
        return Ok(Report::says(format!("would put {} back to version {version}", path.display())));
    }
    stop.check()?;
    if let Some(present) = &mut present {
        copy(present, &kept.join("replaced"), FILE_MAX)?;
    }
    let mut source = File::open(good).map_err(unread)?;
    put(&parent, name, &mut source, stop)
        .map_err(|error| format!("{} cannot be put back: {error}; see to its directory", path.display()))?;
    let said = Report::says(format!("put {} back to version {version}", path.display()));
    Ok(match now {
        Some(now) => said
            .with("content_xxh3", format!("{now:032x}"))
            .with("kept_at", kept.join("replaced").to_string_lossy()),
        None => said,
    })
}

/// Writes beside, then renames over; when it was stopped meanwhile it leaves what is there.
fn put(parent: &OwnedFd, name: &OsStr, source: &mut File, stop: &Stop) -> std::io::Result<()> {
    let mut beside = name.to_owned();
    beside.push(format!(".fettle-{}", std::process::id()));
    let _ = unlinkat(parent, &beside, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, &beside, flags, Mode::from_raw_mode(0o600))?);
    let done = fill(source, &mut file, u64::MAX)
        .and_then(|()| stop.check().map_err(std::io::Error::other))
        .and_then(|()| Ok(renameat(parent, &beside, parent, name)?));
    if done.is_err() {
        let _ = unlinkat(parent, &beside, AtFlags::empty());
    }
    let _ = fsync(parent);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_release_goes_before_a_newer_one_and_the_present_is_none() {
        let names = |list: &[&str]| -> Vec<OsString> { list.iter().map(OsString::from).collect() };
        let all = names(&["1", "2", "3", "4"]);
        let chosen = |good: &[&str], present: Option<&str>| {
            choose(&all, &names(good), present.map(OsStr::new)).and_then(|name| name.into_string().ok())
        };
        assert_eq!(chosen(&["2"], Some("4")).as_deref(), Some("2"));
        assert_eq!(chosen(&["4", "1"], Some("4")).as_deref(), Some("1"));
        assert_eq!(chosen(&["gone"], Some("4")).as_deref(), Some("3"));
        assert_eq!(chosen(&[], Some("2")).as_deref(), Some("1"), "never forward to an untried one");
        assert_eq!(chosen(&[], Some("1")), None);
        assert_eq!(chosen(&[], None).as_deref(), Some("4"));
    }
}
