//! Processes by number and start, read from /proc: what the rooms that look after components share.
//! A process number is used again some day; number and start time together are not (proc_pid_stat(5)).

use std::os::unix::fs::MetadataExt as _;

use rustix::fd::OwnedFd;
use rustix::process::{pidfd_open, pidfd_send_signal, Pid, PidfdFlags, Signal};

use crate::handoff::ProcessId;

/// What /proc/PID/stat says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Number and start.
    pub id: ProcessId,
    /// `R`, `S`, `D`, `T` stopped, `Z` zombie, …
    pub state: u8,
    /// Process group.
    pub group: i32,
}

impl Seen {
    /// Whether it has ended, but for being reaped.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether a signal has stopped it (not a debugger, which is `t`).
    pub fn is_stopped(&self) -> bool {
        self.state == b'T'
    }
}

/// The process with this number now.
pub fn see(pid: i32) -> Option<Seen> {
    parse(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The process with this number, if it is still the same one.
pub fn see_again(id: ProcessId) -> Option<Seen> {
    see(id.pid).filter(|seen| seen.id == id)
}

/// `PID (name) S PPID PGRP …`, the 22nd field being the start; the name may hold anything.
fn parse(pid: i32, bytes: &[u8]) -> Option<Seen> {
    let after = bytes.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&bytes[after..]).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let group = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(16)?.parse().ok()?;
    Some(Seen { id: ProcessId { pid, start }, state, group })
}

/// Every process there is now.
pub fn all() -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(see).collect()
}

/// User that a process runs as.
pub fn user_of(pid: i32) -> Option<u32> {
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| metadata.uid())
}

/// A descriptor of exactly this process; none when it has gone. Signals sent by it reach no other.
pub fn descriptor(id: ProcessId) -> Option<OwnedFd> {
    let fd = pidfd_open(Pid::from_raw(id.pid)?, PidfdFlags::NONBLOCK).ok()?;
    // Opened first and looked at then: what has this number and start now is what was opened.
    see_again(id).map(|_| fd)
}

/// Sends a signal to exactly this process.
///
/// # Errors
/// One sentence: it has gone, the signal cannot be sent, or this user may not.
pub fn signal(id: ProcessId, number: i32) -> Result<(), String> {
    let signal = Signal::from_named_raw(number).ok_or_else(|| format!("there is no signal {number}"))?;
    let fd = descriptor(id).ok_or_else(|| format!("process {} has gone", id.pid))?;
    pidfd_send_signal(fd, signal).map_err(|error| {
        format!("signal {} to process {}: {error}", crate::signal_name::signal_name(number), id.pid)
    })
}

/// The processes of a group that started no earlier than its leader. While one of them lives, the group's
/// number is not given to another process; so if another has it, nothing of the group is left.
pub fn members(leader: ProcessId) -> Vec<Seen> {
    if see(leader.pid).is_some_and(|seen| seen.id != leader) {
        return Vec::new();
    }
    let mut found = all();
    found.retain(|seen| seen.group == leader.pid && seen.id.start >= leader.start && !seen.is_ended());
    found
}

/// Sends a signal to every process of a group; says how many it reached. Each is signalled by a descriptor
/// of its own, so a group that has ended and whose number lives on elsewhere is never hit.
pub fn signal_group(leader: ProcessId, number: i32) -> usize {
    members(leader).into_iter().filter(|seen| signal(seen.id, number).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_confuse() {
        let line = b"77 (a) b) c) T 1 70 70 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1000 2\n";
        let seen = parse(77, line).unwrap();
        assert_eq!((seen.id, seen.group), (ProcessId { pid: 77, start: 12345 }, 70));
        assert!(seen.is_stopped() && !seen.is_ended());
        assert_eq!(parse(77, b"77 (a) T 1"), None);
    }

    #[test]
    fn a_process_with_another_start_is_another_process() {
        let own = see(std::process::id() as i32).unwrap();
        assert!(descriptor(own.id).is_some());
        let other = ProcessId { start: own.id.start + 1, ..own.id };
        assert!(see_again(other).is_none() && descriptor(other).is_none());
        assert!(signal(other, libc::SIGCONT).unwrap_err().contains("has gone"));
        assert!(all().iter().any(|seen| seen.id == own.id));
    }
}
