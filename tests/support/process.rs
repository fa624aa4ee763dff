//! A child process that can be killed and started again on the same command line. Its output goes to
//! a file, so that a failing test can show the last lines of it.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

use super::wait::until;

/// A port that is free and stays so: below those that the kernel gives to outgoing connections
/// (`net.ipv4.ip_local_port_range`), so that none of these takes it while its part is down, and never
/// the same one twice in a process.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// So many of them, one after the other; gives the first.
pub fn free_ports(count: u16) -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no test panics while it holds the ports");
    loop {
        let first = rand::random_range(15_000..32_000);
        let is_free = |port| !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + count).all(is_free) {
            given.extend(first..first + count);
            return first;
        }
    }
}

/// One part of the system: its command line, and its process while it runs.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A part that is not running yet.
    pub fn new(name: &'static str, program: PathBuf, arguments: &[&str], logs: &Path) -> Self {
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let log = logs.join(format!("{name}.log"));
        Self { name, program, arguments, variables: Vec::new(), log, child: None }
    }

    /// Sets a variable of its environment.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Adds arguments, for the next start.
    pub fn argue(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_owned()));
    }

    /// Has another program start it, such as one that leads into name spaces.
    pub fn through(&mut self, program: PathBuf, arguments: &[String]) {
        let own = std::mem::replace(&mut self.program, program);
        let own = own.display().to_string();
        self.arguments.splice(..0, arguments.iter().cloned().chain([own]));
    }

    /// How it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Starts it.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log's directory is there");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|e| panic!("{}: {e}", self.program.display())));
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Kills it as a power cut would: without a word.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)) {
            kill_process(pid, signal).expect("a child that was not waited for takes signals");
        }
    }

    /// Asks it to end and waits until it has; gives its exit code.
    pub async fn terminate(&mut self, deadline: Duration) -> Option<i32> {
        self.signal(Signal::TERM);
        let name = self.name;
        let mut child = self.child.take()?;
        let status = until(&format!("{name} ends on SIGTERM"), deadline, || {
            let ended = child.try_wait().ok().flatten().ok_or("still running");
            async move { ended }
        })
        .await;
        status.code()
    }

    /// The last lines that it wrote.
    pub fn last_words(&self, lines: usize) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- last words of {} ----\n{}", self.name, self.last_words(25));
        }
    }
}
