//! Disks that are full or fail. Both need rights that not every user has; without them the caller is
//! told so and its test ends early, having said why.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

use super::wait::until;

/// Longest wait for a tracer, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A small file system of its own, taken away at the end.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one; none when this user may not.
    pub fn at(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("the directory above is writable");
        let options = format!("size={size}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        let mounted = done.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: this user may not mount a file system of a limited size");
        }
        mounted.then(|| Self(path.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("a name takes no room");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives the room back.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("the disk was filled before");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Makes system calls of a process fail with EIO, by `strace`'s fault injection.
#[derive(Debug)]
pub struct FailingCalls(Child);

impl FailingCalls {
    /// Lets `call` fail, `which` of them as in `strace -e inject=…:when=`; none where strace is missing
    /// or may not attach.
    pub async fn of(pid: u32, call: &str, which: &str) -> Option<Self> {
        let spawned = Command::new("strace")
            .args(["-f", "-qq", "-p", &pid.to_string(), "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error=EIO:when={which}"), "-o", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut strace = Self(spawned.ok()?);
        let attached = until("strace attaches", SOON, || {
            let answer = match strace.0.try_wait() {
                Ok(Some(_)) | Err(_) => Ok(false),
                Ok(None) if is_traced(pid) => Ok(true),
                Ok(None) => Err("not yet"),
            };
            async move { answer }
        })
        .await;
        if !attached {
            eprintln!("skipped: this user may not trace processes");
        }
        attached.then_some(strace)
    }

    /// Lets calls succeed again.
    pub async fn end(mut self) {
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            kill_process(pid, Signal::TERM).expect("strace runs");
        }
        until("strace detaches", SOON, || {
            let ended = self.0.try_wait().ok().flatten().map(|_| ()).ok_or("still attached");
            async move { ended }
        })
        .await;
    }
}

impl Drop for FailingCalls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_traced(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}
