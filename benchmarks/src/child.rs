//! Processes that a benchmark starts. Each dies with the benchmark, however that ends: it is started
//! through `fettle-bench part`, which asks the kernel for its own death with its parent's
//! (`PR_SET_PDEATHSIG`, prctl(2)) and then becomes the program.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{bail, Context as _};
use rustix::process::{getppid, kill_process, set_parent_process_death_signal, Pid, Signal};
use tokio::time::Instant;

use crate::usage::Usage;

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    log: PathBuf,
    process: std::process::Child,
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// What people call it; also the name of its log.
    pub(crate) name: &'a str,
    /// The program.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Directory of its log.
    pub(crate) logs: &'a Path,
    /// Extra environment.
    pub(crate) environment: Vec<(&'a str, OsString)>,
}

impl Start<'_> {
    /// Starts it.
    pub(crate) fn spawn(self) -> anyhow::Result<Child> {
        let log = self.logs.join(format!("{}.log", self.name));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let own = std::env::current_exe().context("this program's own path is not known")?;
        let process = Command::new(own)
            .args(["part", "--parent", &std::process::id().to_string(), "--"])
            .arg(self.program)
            .args(self.arguments)
            .envs(self.environment)
            .current_dir(self.logs)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Child { name: self.name.to_owned(), log, process })
    }
}

impl Child {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it costs so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid()).with_context(|| format!("{} is gone; its log: {}", self.name, self.tail()))
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Its whole log.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready` says so; fails when the process ends first or it takes too long.
    pub(crate) async fn ready(
        &mut self,
        most: Duration,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !ready().await {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}; its log: {}", self.name, self.tail());
            }
            if began.elapsed() > most {
                bail!("{} was not ready after {most:?}; its log: {}", self.name, self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits for its end; `true` if it succeeded.
    pub(crate) async fn ended(&mut self, most: Duration) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.success());
            }
            if began.elapsed() > most {
                bail!("{} did not end within {most:?}; its log: {}", self.name, self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills it with -9 and waits until it is gone.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits for that.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        self.ended(GRACE).await.map(|_| ())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Becomes another program that dies with its parent; returns only if that fails.
pub(crate) fn become_part(parent: u32, command: &[OsString]) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above took effect; then nothing would come any more.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get().unsigned_abs() != parent) {
        bail!("the benchmark that started this has ended");
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, most);
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    Err(error).with_context(|| format!("cannot run {}", command[0].to_string_lossy()))
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

/// Arguments of mixed kinds as one list.
pub(crate) fn words<const N: usize>(words: [&dyn AsRef<std::ffi::OsStr>; N]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

/// Finds a program: a variable that names it, beside this program, the user's cache, `PATH`, the
/// directories of system programs.
pub(crate) fn find_program(name: &str, variable: Option<&str>) -> Option<PathBuf> {
    if let Some(named) = variable.and_then(std::env::var_os) {
        return Some(PathBuf::from(named));
    }
    let mut places = Vec::new();
    if let Some(bin) = std::env::var_os("FETTLE_BIN_DIR") {
        places.push(PathBuf::from(bin));
    }
    if let Some(own) = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())) {
        places.push(own);
    }
    places.push(cache_directory().join("bin"));
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.extend(["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// Where Fettle keeps what it fetched: `$XDG_CACHE_HOME/fettle` or `~/.cache/fettle`.
pub(crate) fn cache_directory() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("fettle")
}
