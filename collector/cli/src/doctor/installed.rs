//! Checks of what is installed: nats-server, libchdb, and the other two binaries.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

use super::report::Check;
use crate::locate;

/// The oldest nats-server that is tested.
const NATS_OLDEST: [u32; 3] = [2, 9, 10];
/// libchdb is large; from a cold disk it takes its time.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);

/// All of them.
pub(crate) fn checks() -> Vec<Check> {
    vec![nats_server(), libchdb(), sibling("fettle-collector"), sibling("fettle-agent")]
}

fn nats_server() -> Check {
    let name = "nats-server";
    let fix = "run deploy/setup, or set FETTLE_NATS_SERVER to a nats-server 2.9.10 or later";
    let path = match locate::nats_server() {
        Ok(path) => path,
        Err(error) => return Check::fail(name, error.to_string(), fix),
    };
    let said = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
    let said = match said {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => return Check::fail(name, format!("{} does not run ({error})", path.display()), fix),
    };
    judge_nats(name, &said, &path.display().to_string())
}

/// Judges words such as `nats-server: v2.15.1`.
pub(crate) fn judge_nats(name: &'static str, said: &str, place: &str) -> Check {
    let number = said.rsplit([' ', 'v']).next().unwrap_or_default();
    let parts: Vec<u32> = number.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    if parts.len() < 3 {
        let fix = "set FETTLE_NATS_SERVER to a nats-server, or run deploy/setup";
        return Check::fail(name, format!("{place} is none: it says {said:?} for its version"), fix);
    }
    if parts[..3] < NATS_OLDEST[..] {
        let fix = "2.9.10 is the oldest that is tested; run deploy/setup for a newer one";
        return Check::fail(name, format!("version {number}, {place}"), fix);
    }
    Check::ok(name, format!("version {number}, {place}"))
}

/// Really loads the library, in a process of its own, and has it open an empty store: a file that is
/// there but cut short, or made for another machine, shows only then.
fn libchdb() -> Check {
    let name = "libchdb";
    let fix = "run deploy/setup, or set FETTLE_LIBCHDB to a libchdb.so for this machine";
    let path = match fettle_engine::find_library(None) {
        Ok(path) => path,
        Err(error) => return Check::fail(name, error.to_string(), fix),
    };
    let directory = std::env::temp_dir().join(format!("fettle-doctor-{}", std::process::id()));
    let tried = try_engine(&path, &directory);
    let _ = std::fs::remove_dir_all(&directory);
    match tried {
        Ok(version) => Check::ok(name, format!("version {version}, {}", path.display())),
        Err(words) => Check::fail(name, format!("{} does not load: {words}", path.display()), fix),
    }
}

/// The engine's version, or its last words.
fn try_engine(library: &Path, directory: &Path) -> Result<String, String> {
    let mut child = Command::new(locate::own())
        .args(["clickhouse", "serve", "--listen", "127.0.0.1:0", "--path"])
        .arg(directory)
        .arg("--library")
        .arg(library)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (tell, told) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(out).read_line(&mut line);
            let _ = tell.send(line);
        });
    }
    let line = told.recv_timeout(LOAD_PATIENCE).unwrap_or_default();
    end(&mut child);
    if let Some(version) = line.strip_prefix("ClickHouse ").and_then(|rest| rest.split(' ').next()) {
        return Ok(version.to_owned());
    }
    let mut words = String::new();
    if let Some(err) = child.stderr.take() {
        let _ = err.take(1 << 16).read_to_string(&mut words);
    }
    let last = words.lines().rev().find(|line| !line.trim().is_empty());
    Err(last.unwrap_or("it said nothing in time").trim().to_owned())
}

/// Asks it to stop, then waits.
fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = child.wait();
}

fn sibling(name: &'static str) -> Check {
    match locate::sibling(name) {
        Ok(path) => Check::ok(name, path.display().to_string()),
        Err(error) => {
            Check::fail(name, error.to_string(), "run deploy/up --setup-only, which builds all three")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn nats_versions_are_judged() {
        for (said, status) in [
            ("nats-server: v2.15.1", Status::Ok),
            ("nats-server: v2.9.10", Status::Ok),
            ("nats-server: v2.9.9", Status::Fail),
            ("nats-server: v2.11.0-RC.1", Status::Ok),
            ("bash: 5.2", Status::Fail),
            ("", Status::Fail),
        ] {
            assert_eq!(judge_nats("nats-server", said, "x").status, status, "{said}");
        }
    }
}
