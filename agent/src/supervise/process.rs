//! One process of a supervised command: how it is started, how its end is waited for, how it is stopped.
//! One that the agent started is its child and is reaped; one that was found again is watched by its
//! descriptor, and whoever is its parent now reaps it.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use super::{output, SuperviseError};
use crate::handoff::ProcessId;
use crate::host_file::Supervised;
use crate::process_table::{all, descriptor, members, see, see_again, signal, signal_group, user_of};
use crate::run_as::User;

/// Where programs look for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a process has to go once it was sent SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether the rest of a group has gone.
const LOOK: Duration = Duration::from_millis(20);
/// Names in the environment by which a process is known to be a replica.
const COMPONENT: &str = "FETTLE_COMPONENT";
const REPLICA: &str = "FETTLE_REPLICA";
/// The directory of the agent that started it: another agent of this host may have components of the same name.
const STATE: &str = "FETTLE_STATE";

/// A process that runs, or has just ended.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    end: End,
}

#[derive(Debug)]
enum End {
    Child(Child),
    Watched(AsyncFd<OwnedFd>),
}

impl Process {
    /// Starts a replica. Waits for the new program to be loaded, not for more.
    pub(super) async fn start(
        name: &str,
        replica: usize,
        run: &Supervised,
        logs: &Path,
    ) -> Result<Self, SuperviseError> {
        let failed = |cause: String| SuperviseError::Start { component: name.to_owned(), cause };
        let mut command = command(name, replica, run, logs).map_err(failed)?;
        // Loading a program may wait for a disk; that must not hold up the others.
        let spawned = tokio::task::spawn_blocking(move || command.spawn()).await;
        let child = spawned
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(format!("{}: {error}", run.command[0])))?;
        let id = child.id().and_then(|pid| see(pid as i32)).map(|seen| seen.id);
        let id = id.ok_or_else(|| failed("it had gone before it could be looked at".into()))?;
        Ok(Self { id, end: End::Child(child) })
    }

    /// Takes over a process that an earlier agent started; none when it has gone.
    pub(super) fn adopt(id: ProcessId) -> Option<Self> {
        let fd = descriptor(id)?;
        let alive = see_again(id).is_some_and(|seen| !seen.is_ended());
        // Deprecated for types that may close their descriptor while it is registered; an `OwnedFd` does not,
        // and the call in its place is `unsafe`.
        #[allow(deprecated)]
        let fd = AsyncFd::new(fd).ok()?;
        let end = End::Watched(fd);
        alive.then_some(Self { id, end })
    }

    /// Waits for its end, reaps it if it is a child, and says how it ended. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> String {
        match &mut self.end {
            End::Child(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("it cannot be waited for: {error}"),
            },
            End::Watched(fd) => match fd.readable().await {
                Ok(_) => "it ended; it was no child of this agent, so nobody said how".to_owned(),
                Err(error) => format!("it cannot be waited for: {error}"),
            },
        }
    }

    /// Stops the process and its group: the signal, then time, then SIGKILL. Whatever of the group is left
    /// when its first process has ended is killed.
    pub(super) async fn stop(&mut self, with: i32, patience: Duration) -> Result<String, String> {
        let leader = self.id;
        signal_group(leader, with);
        // A stopped process takes no signal but these two.
        signal_group(leader, libc::SIGCONT);
        let asked = tokio::time::timeout(patience, self.ended()).await;
        if asked.is_ok() && members(leader).is_empty() {
            return Ok("ended".to_owned());
        }
        signal_group(leader, libc::SIGKILL);
        if asked.is_err() && tokio::time::timeout(KILL_PATIENCE, self.ended()).await.is_err() {
            return Err(hangs(leader));
        }
        end_group(leader).await?;
        Ok(if asked.is_ok() {
            "ended, and what was left of its group was killed".to_owned()
        } else {
            "did not end in time and was killed".to_owned()
        })
    }

    /// Sends a signal to it, or to its whole group.
    pub(super) fn signal(&self, number: i32, all: bool) -> Result<(), String> {
        if !all {
            return signal(self.id, number);
        }
        match signal_group(self.id, number) {
            0 => Err(format!("process {} and its group have gone", self.id.pid)),
            _ => Ok(()),
        }
    }
}

fn hangs(leader: ProcessId) -> String {
    format!("process {} or its group does not end even by SIGKILL; it hangs in the kernel", leader.pid)
}

/// Kills what is left of a group and waits until nothing is.
pub(super) async fn end_group(leader: ProcessId) -> Result<(), String> {
    let gone = tokio::time::timeout(KILL_PATIENCE, async {
        while signal_group(leader, libc::SIGKILL) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    });
    gone.await.map_err(|_| hangs(leader))
}

fn command(
    name: &str,
    replica: usize,
    run: &Supervised,
    logs: &Path,
) -> Result<tokio::process::Command, String> {
    let log = output::path(logs, name, replica);
    let open = || output::open(&log).map_err(|error| format!("{}: {error}", log.display()));
    let (stdout, stderr) = (open()?, open()?);
    let mut command = std::process::Command::new(&run.command[0]);
    let number = replica.to_string();
    command.args(run.command[1..].iter().map(|word| word.replace("{replica}", &number)));
    command.env_clear().env("PATH", PATH);
    if let Some(user) = &run.user {
        User::find(user)?.starts(&mut command)?;
    }
    command.envs(&run.environment).env(COMPONENT, name).env(REPLICA, &number).env(STATE, logs);
    command.current_dir(run.directory.as_deref().unwrap_or(Path::new("/")));
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
    Ok(command.into())
}

/// A replica that runs although no record may tell of it: the agent was killed between a start and
/// writing it down.
#[derive(Debug, Clone)]
pub(super) struct Stray {
    component: String,
    replica: usize,
    id: ProcessId,
    uid: u32,
}

impl Stray {
    /// All there are, by their environment. Only the first process of a group counts.
    pub(super) fn all(logs: &Path) -> Vec<Self> {
        let leaders = all().into_iter().filter(|seen| seen.group == seen.id.pid && !seen.is_ended());
        leaders.filter_map(|seen| Self::of(seen.id, logs)).collect()
    }

    fn of(id: ProcessId, logs: &Path) -> Option<Self> {
        let environment = std::fs::read(format!("/proc/{}/environ", id.pid)).ok()?;
        let variable = |name: &str| {
            let value = environment
                .split(|byte| *byte == 0)
                .find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
            String::from_utf8(value.to_vec()).ok()
        };
        if Path::new(&variable(STATE)?) != logs {
            return None;
        }
        let (component, replica) = (variable(COMPONENT)?, variable(REPLICA)?.parse().ok()?);
        Some(Self { component, replica, id, uid: user_of(id.pid)? })
    }

    /// Its number and process, if it is of this component and runs as the user that it should.
    pub(super) fn replica_of(&self, name: &str, user: Option<&str>) -> Option<(usize, ProcessId)> {
        let expected = match user.map(User::find) {
            Some(user) => user.ok()?.uid,
            None => rustix::process::geteuid().as_raw(),
        };
        (self.component == name && self.uid == expected).then_some((self.replica, self.id))
    }
}
