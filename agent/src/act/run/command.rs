//! A declared command: its program and arguments as they stand in the host's file, no shell, an environment of
//! PATH alone, a process group of its own, the declared user. What it prints is kept to the last 8 KiB. At its time
//! limit the whole group is told to stop, and a little later killed; until then its first process is not
//! reaped, so that the group's number cannot have become another's.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{kill_process_group, pidfd_open, Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command as Process};

use super::{process, tail, Failure, Ran, Report, OUTPUT_MAX};
use crate::host_file::Command;
use crate::run_as::User;

/// Where programs that a declared one calls are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between being told to stop and being killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long output is still taken after the first process has ended: what it started may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Runs it; `replace` puts words in the place of `{key}` in its arguments.
pub(super) async fn run(what: &Command, replace: &[(&str, &str)], limit: Duration, dry: bool) -> Ran {
    let words = words(what, replace)?;
    if dry {
        let user = what.user.as_deref().map_or(String::new(), |user| format!(" as {user}"));
        return Ok(Report::says(format!("would run {words:?}{user}")));
    }
    let mut child = start(what, &words)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("the command has no output to read; report this with the log".to_owned().into());
    };
    let mut kept = VecDeque::with_capacity(OUTPUT_MAX);
    let ended = watch(&mut child, limit, collect(&mut kept, stdout, stderr)).await;
    let output = tail(kept.make_contiguous());
    let program = &words[0];
    match ended? {
        Ended::Itself(status) if status.success() => Ok(Report::says(output)),
        Ended::Itself(status) => Err(Failure {
            error: format!("{program} ended with {status}; see what it printed"),
            report: Report::says(output),
            timed_out: false,
        }),
        Ended::Stopped => {
            let error = format!("{program} was stopped after {} s", limit.as_secs_f32());
            Err(Failure { error, report: Report::says(output), timed_out: true })
        }
    }
}

fn words(what: &Command, replace: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let mut words = what.command.clone();
    if !words.first().is_some_and(|program| program.starts_with('/')) {
        return Err(
            "a command begins with the absolute path of its program; correct the host's file".to_owned()
        );
    }
    for word in words.iter_mut().skip(1) {
        for (key, value) in replace {
            *word = word.replace(&format!("{{{key}}}"), value);
        }
    }
    Ok(words)
}

fn start(what: &Command, words: &[String]) -> Result<Child, String> {
    let mut command = Process::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", PATH)
        .current_dir(what.directory.as_deref().unwrap_or(std::path::Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(name) = &what.user {
        User::find(name)?.becomes(command.as_std_mut())?;
    }
    command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}; correct the host's file", words[0]))
}

enum Ended {
    Itself(ExitStatus),
    Stopped,
}

/// Waits for the first process, taking its output meanwhile; stops the group at the limit.
async fn watch(
    child: &mut Child,
    limit: Duration,
    output: impl std::future::Future<Output = ()>,
) -> Result<Ended, String> {
    let lost = |error: std::io::Error| format!("the command cannot be waited for: {error}");
    let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32)).ok_or("the command has no process")?;
    let mut group = Group(Some(pid));
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| lost(error.into()))?;
    let pidfd = process::readable(pidfd).map_err(lost)?;
    tokio::pin!(output);
    let mut talking = true;
    let stopped = {
        let waiting = async {
            loop {
                tokio::select! {
                    _ = pidfd.readable() => break,
                    () = &mut output, if talking => talking = false,
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.is_err()
    };
    if stopped {
        stop_group(pid, &pidfd).await;
    }
    group.0 = None;
    let status = child.wait().await.map_err(lost)?;
    if talking {
        let _ = tokio::time::timeout(LAST_WORDS, output).await;
    }
    Ok(if stopped { Ended::Stopped } else { Ended::Itself(status) })
}

async fn stop_group(pid: Pid, pidfd: &AsyncFd<OwnedFd>) {
    let _ = kill_process_group(pid, Signal::TERM);
    let _ = tokio::time::timeout(PATIENCE, pidfd.readable()).await;
    // Also those of the group who outlive the first.
    let _ = kill_process_group(pid, Signal::KILL);
}

/// A group that is killed if nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn collect(
    kept: &mut VecDeque<u8>,
    mut one: impl AsyncRead + Unpin,
    mut other: impl AsyncRead + Unpin,
) {
    let (mut one_buffer, mut other_buffer) = ([0; 1024], [0; 1024]);
    let (mut one_open, mut other_open) = (true, true);
    while one_open || other_open {
        let part: &[u8] = tokio::select! {
            read = one.read(&mut one_buffer), if one_open => {
                let len = read.unwrap_or(0);
                one_open = len > 0;
                &one_buffer[..len]
            }
            read = other.read(&mut other_buffer), if other_open => {
                let len = read.unwrap_or(0);
                other_open = len > 0;
                &other_buffer[..len]
            }
        };
        let over = (kept.len() + part.len()).saturating_sub(OUTPUT_MAX);
        kept.drain(..over.min(kept.len()));
        kept.extend(part);
    }
}
