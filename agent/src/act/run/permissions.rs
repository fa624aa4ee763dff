//! Putting owner and mode back. The entry is opened without following a link, as a mere place (O_PATH), so that
//! it need not be readable; owner and mode are set through that descriptor. A file with a second name is refused:
//! whoever can write to the directory could have linked somebody else's file there.

use std::os::fd::AsRawFd;

use rustix::fs::{chmod, chownat, fstat, AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::threads::Stop;
use super::tree::open_plain;
use super::Report;
use crate::host_file::Permissions;
use crate::run_as::{self, User};

/// All that a mode may have: read, write, execute, sticky.
const MODE_MAX: u32 = 0o1777;

/// Sets them.
pub(super) fn run(entry: &Permissions, dry: bool, stop: &Stop) -> Result<Report, String> {
    let path = entry.path.display();
    if entry.mode & !MODE_MAX != 0 {
        return Err(format!("mode {:o} of {path} has a set-id bit; correct the host's file", entry.mode));
    }
    let user = entry.user.as_deref().map(User::find).transpose()?.map(|user| Uid::from_raw(user.uid));
    let group = entry.group.as_deref().map(run_as::group).transpose()?.map(Gid::from_raw);
    let place = open_plain(&entry.path, OFlags::PATH)?;
    let unseen = |error| format!("{path} cannot be looked at: {error}");
    let stat = fstat(&place).map_err(unseen)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {}
        FileType::RegularFile if stat.st_nlink == 1 => {}
        FileType::RegularFile => {
            return Err(format!("{path} has {} names; remove the others first", stat.st_nlink))
        }
        _ => return Err(format!("{path} is neither a file nor a directory; correct the host's file")),
    }
    let before = format!("{:o} {} {}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
    let wanted = format!(
        "{:o} {} {}",
        entry.mode,
        user.map_or(stat.st_uid, |uid| uid.as_raw()),
        group.map_or(stat.st_gid, |gid| gid.as_raw())
    );
    if dry {
        return Ok(Report::says(format!("would set {path} from {before} to {wanted}")));
    }
    stop.check()?;
    if user.is_some() || group.is_some() {
        chownat(&place, "", user, group, AtFlags::EMPTY_PATH)
            .map_err(|error| format!("the owner of {path} cannot be set: {error}; run the agent as root"))?;
    }
    // The one way to the mode of an O_PATH descriptor before Linux 6.6; it leads to the opened entry itself.
    let by_descriptor = format!("/proc/self/fd/{}", place.as_raw_fd());
    chmod(by_descriptor, Mode::from_raw_mode(entry.mode)).map_err(|error| {
        format!("the mode of {path} cannot be set: {error}; run the agent as its owner or root")
    })?;
    let after = fstat(&place).map_err(unseen)?;
    let after = format!("{:o} {} {}", after.st_mode & 0o7777, after.st_uid, after.st_gid);
    if after != wanted {
        return Err(format!("{path} has {after} after it was set to {wanted}; see to its file system"));
    }
    Ok(Report::says(format!("set {path} from {before} to {wanted}")).with("mode_user_group", before))
}
