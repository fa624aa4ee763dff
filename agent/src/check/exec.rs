//! The check by a command: without a shell, in a process group of its own that is killed when the time is up
//! or the check is given up, its output read to the end and kept in part.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use rustix::process::{kill_process_group, Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::network::piece;
use super::verdict::Failure;
use crate::handoff::ProcessId;
use crate::process_table::{see, signal_group};
use crate::run_as::User;

/// Output kept: its end, where the error stands.
const KEPT: usize = 4 << 10;
/// How long what a command left behind may hold its output open.
const LINGER: std::time::Duration = std::time::Duration::from_millis(100);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kills the group when it goes out of scope.
struct Group {
    child: Child,
    leader: Option<ProcessId>,
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader else { return };
        match self.child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            // Not reaped, so its number, which is the group's, cannot be another's.
            Some(pid) => {
                // None left: that is what was wanted.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            None => {
                signal_group(leader, libc::SIGKILL);
            }
        }
    }
}

pub(super) async fn exec(words: &[String], user: Option<&str>) -> Result<(), Failure> {
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]).env_clear().env("PATH", PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(user) = user {
        User::find(user).and_then(|user| user.starts(&mut command)).map_err(Failure::new)?;
    }
    let mut child = Command::from(command).spawn().map_err(|cause| Failure::of_io(&words[0], &cause))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let leader = child.id().and_then(|pid| see(pid as i32)).map(|seen| seen.id);
    let mut group = Group { child, leader };
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let status = {
        let reading = async { tokio::join!(drain(out, &mut said), drain(err, &mut complained)) };
        tokio::pin!(reading);
        let mut read = false;
        let status = loop {
            tokio::select! {
                biased;
                status = group.child.wait() => break status,
                _ = &mut reading, if !read => read = true,
            }
        };
        if !read {
            let _ = tokio::time::timeout(LINGER, reading).await;
        }
        status
    };
    let status = status.map_err(|cause| Failure::of_io(&words[0], &cause))?;
    if status.success() {
        return Ok(());
    }
    let text = if complained.is_empty() { &said } else { &complained };
    let said = if text.is_empty() { String::new() } else { format!(": {}", piece(text)) };
    Err(Failure::new(format!("{} ended with {status}{said}", words[0])))
}

/// Reads to the end and keeps the last part.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..n]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
}
