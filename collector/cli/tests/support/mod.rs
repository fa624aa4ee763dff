//! Runs the real `fettle` and reads what it says.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses a part of this

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

/// The longest that anything awaited here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `fettle` with these arguments, not started yet; nothing of the person who runs the tests is used.
pub fn fettle(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fettle"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["FETTLE_STATE_DIR", "FETTLE_SQL_URL", "FETTLE_SQL_USER", "FETTLE_SQL_PASSWORD"] {
        command.env_remove(variable);
    }
    command
}

/// What a finished run wrote to standard output.
pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a finished run wrote to standard error.
pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An address of this machine that is free and stays so: its port is below those that the kernel gives to whoever asks
/// for any (`net.ipv4.ip_local_port_range`), and the search begins where no other test's process begins.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + ((std::process::id() * 31 + count) % 17_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// A running `fettle`, killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Every line seen so far.
    pub seen: Vec<String>,
}

impl Running {
    /// Starts it and listens to its standard output.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that holds these words, and gives it.
    pub fn line(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(_) => {
                    let errors = self.errors();
                    panic!("no line with {words:?}; seen: {:#?}\n{errors}", self.seen)
                }
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end; gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let status = until(|| self.child.try_wait().unwrap());
        // To the end of what it wrote, however late the thread that reads it gets its turn.
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        status.code()
    }

    /// What it wrote to standard error; ends it.
    fn errors(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The process's state as proc_pid_stat(5) has it; none when there is no such process.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// True while the process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The process of a part, as the board in the state directory says.
pub fn part(state: &Path, name: &str) -> Option<(u32, String)> {
    let text = std::fs::read_to_string(state.join("run/parts.json")).ok()?;
    let page: serde_json::Value = serde_json::from_str(&text).ok()?;
    let part = page["parts"].as_array()?.iter().find(|part| part["name"] == name)?.clone();
    Some((u32::try_from(part["pid"].as_u64()?).ok()?, part["state"].as_str()?.to_owned()))
}

/// Asks again and again until there is an answer.
pub fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "what was waited for did not come");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// True if the other two binaries stand beside `fettle`; a build of this crate alone does not make them.
pub fn siblings_are_built() -> bool {
    let directory = Path::new(env!("CARGO_BIN_EXE_fettle")).parent().unwrap();
    ["fettle-agent", "fettle-collector"].iter().all(|name| directory.join(name).is_file())
}
