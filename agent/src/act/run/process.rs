//! Finding a process and signalling that one and no other. A process is held by a descriptor (pidfd_open(2))
//! before it is looked at, and must still live after the look: only then did the look see the process that the
//! descriptor holds, and the signal goes through the descriptor (pidfd_send_signal(2)), so that a number that
//! was given to another process meanwhile does no harm.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, pidfd_send_signal, Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;

use crate::handoff::ProcessId;
use crate::host_file::ProcessMatch;
use crate::pid_file::PidFile;

/// Most processes one match may find.
const MOST: usize = 4096;
/// A process that began this much after its pid file was written is not the one the file meant, seconds.
const PID_FILE_SLACK: f64 = 60.0;

/// A process that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub pid: Pid,
    /// Its start, clock ticks since boot.
    pub start: u64,
    pub parent: i32,
    fd: OwnedFd,
}

impl Held {
    /// Holds the process of this number, if it lives and `is_it` says so of its number.
    fn hold(pid: i32, is_it: impl Fn(&Stat) -> bool) -> Option<Self> {
        let pid = Pid::from_raw(pid.max(0)).filter(|pid| pid.as_raw_nonzero().get() > 1)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let stat = Stat::read(pid)?;
        // A child of kthreadd is the kernel's own.
        let fits = stat.parent != 2 && !matches!(stat.state, b'Z' | b'X') && is_it(&stat);
        let held = Self { pid, start: stat.start, parent: stat.parent, fd };
        (fits && held.lives()).then_some(held)
    }

    /// Holds a process that was seen before, if it is still the same.
    pub(super) fn again(seen: ProcessId) -> Option<Self> {
        Self::hold(seen.pid, |stat| stat.start == seen.start)
    }

    /// Holds a process somebody trustworthy names now: the kernel through systemd or Docker.
    pub(super) fn named(pid: i32) -> Option<Self> {
        Self::hold(pid, |_| true)
    }

    /// Whether it has not ended: a pidfd becomes readable when its process ends.
    pub(super) fn lives(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    pub(super) fn signal(&self, number: i32) -> Result<(), String> {
        let signal = Signal::from_named_raw(number).ok_or_else(|| format!("{number} is no signal"))?;
        let pid = self.pid.as_raw_nonzero();
        pidfd_send_signal(&self.fd, signal).map_err(|error| {
            format!("process {pid} cannot be signalled: {error}; run the agent as its user or root")
        })
    }

    /// Waits until it has ended.
    pub(super) async fn ended(self) -> Result<(), String> {
        let fd = readable(self.fd);
        let fd = fd.map_err(|error| format!("the process cannot be waited for: {error}"))?;
        fd.readable().await.map(drop).map_err(|error| format!("the process cannot be waited for: {error}"))
    }
}

/// What /proc/PID/stat says (proc_pid_stat(5)).
#[derive(Debug)]
struct Stat {
    pid: Pid,
    comm: Vec<u8>,
    state: u8,
    parent: i32,
    start: u64,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        let bytes = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name may hold anything, even parentheses and spaces: it ends at the last one.
        let (open, close) = (bytes.iter().position(|b| *b == b'(')?, bytes.iter().rposition(|b| *b == b')')?);
        let rest = std::str::from_utf8(bytes.get(close + 2..)?).ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            pid,
            comm: bytes.get(open + 1..close)?.to_vec(),
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    fn executable_is(&self, path: &Path) -> bool {
        let link = std::fs::read_link(format!("/proc/{}/exe", self.pid.as_raw_nonzero()));
        link.is_ok_and(|target| {
            // A replaced program still runs from the file that was deleted.
            let text = target.to_string_lossy();
            target == path || text.strip_suffix(" (deleted)").is_some_and(|text| Path::new(text) == path)
        })
    }
}

/// Waits on a descriptor of a process, which becomes readable when the process ends.
pub(super) fn readable(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // Deprecated because a type could close its descriptor too early; one that owns it does not.
    #[allow(deprecated)]
    AsyncFd::with_interest(fd, tokio::io::Interest::READABLE)
}

/// All processes that match, each held; an error says why there is none.
pub(super) fn find(wanted: &ProcessMatch) -> Result<Vec<Held>, String> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let found: Vec<Held> = match wanted {
        ProcessMatch::PidFile(path) => by_pid_file(path)?.into_iter().collect(),
        ProcessMatch::Executable(path) => numbers()?
            .filter(|pid| *pid != own)
            .filter_map(|pid| Held::hold(pid, |stat| stat.executable_is(path)))
            .take(MOST)
            .collect(),
        ProcessMatch::Name(name) => numbers()?
            .filter(|pid| *pid != own)
            .filter_map(|pid| Held::hold(pid, |stat| stat.comm == name.as_bytes()))
            .take(MOST)
            .collect(),
    };
    if found.is_empty() {
        return Err("no such process runs; start it, or correct how the host's file finds it".to_owned());
    }
    Ok(found)
}

/// Those whose parent is none of them: the main process of each instance.
pub(super) fn mains(found: Vec<Held>) -> Vec<Held> {
    let pids: Vec<i32> = found.iter().map(|held| held.pid.as_raw_nonzero().get()).collect();
    found.into_iter().filter(|held| !pids.contains(&held.parent)).collect()
}

fn numbers() -> Result<impl Iterator<Item = i32>, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc cannot be read: {error}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

fn by_pid_file(path: &Path) -> Result<Option<Held>, String> {
    let wrong = |what: String| format!("{} {what}; see whether the service has died", path.display());
    let file = PidFile::read(path).map_err(|error| wrong(format!("cannot be used: {error}")))?;
    let pid = file.pid;
    let held = Held::hold(pid, |_| true);
    if held.is_some() && !file.may_name_its_process() {
        return Err(wrong(format!("names process {pid} of another user than its own")));
    }
    let is_later = |held: &Held| began(held.start).is_some_and(|began| began > file.written + PID_FILE_SLACK);
    if held.as_ref().is_some_and(is_later) {
        return Err(wrong(format!("is older than process {pid}: its number was given to another one")));
    }
    Ok(held)
}

/// When a process began, seconds since 1970.
fn began(start: u64) -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + start as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Signals the processes of a match; says to how many.
pub(super) fn signal(wanted: &ProcessMatch, number: i32, all: bool) -> Result<Vec<Held>, String> {
    let found = find(wanted)?;
    let chosen = if all { found } else { mains(found) };
    for held in &chosen {
        held.signal(number)?;
    }
    Ok(chosen)
}

/// Tells the processes of a match to end and waits until they have; kills them after `patience`.
pub(super) async fn stop(wanted: &ProcessMatch, patience: Duration) -> Result<String, String> {
    let chosen = signal(wanted, Signal::TERM.as_raw(), false)?;
    let count = chosen.len();
    let mut killed = 0;
    let deadline = tokio::time::Instant::now() + patience;
    for held in chosen {
        let id = ProcessId { pid: held.pid.as_raw_nonzero().get(), start: held.start };
        if tokio::time::timeout_at(deadline, held.ended()).await.is_err() {
            if let Some(held) = Held::again(id) {
                killed += 1;
                held.signal(Signal::KILL.as_raw())?;
                held.ended().await?;
            }
        }
    }
    Ok(format!("stopped {count} processes, {killed} of them by force"))
}
