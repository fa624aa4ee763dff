//! Finding processes, signalling them and no others.

use std::process::{Child, Stdio};

use rustix::process::{getpriority_process, Pid, Signal};

use super::*;
use crate::act::admission::Verb;
use crate::handoff::ProcessId;
use crate::host_file::{ProcessMatch, Runs};

/// A program under another name. Another process writes it: a descriptor of this one that is open for writing could be
/// inherited by what another test starts just then, and nobody can run what is being written to (ETXTBSY).
fn copy(from: &str, to: &Path) -> PathBuf {
    assert!(std::process::Command::new("cp").arg(from).arg(to).status().unwrap().success());
    to.to_owned()
}

/// A process that is killed at the end, whatever happens.
struct Running(Child);

impl Running {
    /// `sleep` under a name of its own, so that no other process is found.
    fn start(dir: &Path, name: &str) -> Self {
        let program = copy("/bin/sleep", &dir.join(name));
        let child = std::process::Command::new(&program).arg("600").stdin(Stdio::null()).spawn().unwrap();
        Self(child)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(name: &str) -> Verb {
    let number = crate::signal_name::signal_number(name).unwrap();
    Verb::Signal { name: name.into(), number, all: name == "KILL" }
}

fn service(wanted: ProcessMatch, verb: Verb) -> (Outcome, Report) {
    done(Step::Service { runs: Runs::Process(wanted), verb }, Duration::from_secs(20))
}

#[test]
fn a_process_is_found_by_name_executable_and_pid_file_and_gets_its_signal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let name = format!("flt{}", std::process::id());
    let pid_file = dir.join("pid");
    for wanted in [
        ProcessMatch::Name(name.clone()),
        ProcessMatch::Executable(dir.join(&name)),
        ProcessMatch::PidFile(pid_file.clone()),
    ] {
        let mut running = Running::start(&dir, &name);
        std::fs::write(&pid_file, format!("{}\n", running.pid())).unwrap();
        let (outcome, report) = service(wanted.clone(), signal("TERM"));
        assert_eq!(outcome, Outcome::Succeeded, "{wanted:?} {report:?}");
        assert_eq!(report.output, format!("sent TERM to {}", running.pid()));
        let status = running.0.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
        let (outcome, _) = service(wanted, signal("TERM"));
        assert!(matches!(outcome, Outcome::Failed { error } if error.contains("no such process")));
    }
}

#[test]
fn stopping_waits_and_uses_force_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let name = format!("fst{}", std::process::id());
    let mut running = Running::start(&dir, &name);
    let pid = Pid::from_raw(running.pid()).unwrap();
    // A stopped process does not act on TERM.
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    // The signal is on its way when the call returns; what matters is that it has arrived.
    let stopped = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::UNTRACED).unwrap();
    assert!(stopped.is_some_and(|(_, status)| status.stopped()));
    let wanted = ProcessMatch::Executable(dir.join(&name));
    let said = runtime().block_on(process::stop(&wanted, Duration::from_millis(200))).unwrap();
    assert_eq!(said, "stopped 1 processes, 1 of them by force");
    let status = running.0.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

#[test]
fn another_process_of_the_same_number_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), &format!("frc{}", std::process::id()));
    let held = process::Held::named(running.pid()).unwrap();
    let id = ProcessId { pid: running.pid(), start: held.start };
    assert!(process::Held::again(id).is_some());
    let earlier = ProcessId { start: id.start - 1, ..id };
    assert!(process::Held::again(earlier).is_none(), "the number was given to another");
    assert!(
        process::Held::named(1).is_none()
            && process::Held::named(0).is_none()
            && process::Held::named(-1).is_none()
    );
    drop(running);
    assert!(!held.lives());
    assert!(
        held.signal(9).unwrap_err().contains("cannot be signalled"),
        "the descriptor is of the dead one for ever"
    );
    assert!(process::Held::again(id).is_none());
}

#[test]
fn a_stale_pid_file_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), &format!("fsp{}", std::process::id()));
    let path = dir.path().join("pid");
    let wanted = ProcessMatch::PidFile(path.clone());
    std::fs::write(&path, running.pid().to_string()).unwrap();
    assert!(process::find(&wanted).is_ok());
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
    assert!(process::find(&wanted).unwrap_err().contains("given to another"));
    for text in ["", "x", "-1", "0", "1", "99999999999999", &"1".repeat(100)] {
        std::fs::write(&path, text).unwrap();
        assert!(process::find(&wanted).is_err(), "{text:?}");
    }
}

#[test]
fn whoever_may_write_a_pid_file_gets_no_more_than_its_own_processes() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), &format!("fso{}", std::process::id()));
    let path = dir.path().join("pid");
    std::fs::write(&path, running.pid().to_string()).unwrap();
    if !rustix::process::geteuid().is_root() {
        return; // A file cannot be given to somebody else.
    }
    let nobody = Some(rustix::fs::Uid::from_raw(65_534));
    rustix::fs::chown(&path, nobody, None).unwrap();
    let wanted = ProcessMatch::PidFile(path);
    assert!(process::find(&wanted).unwrap_err().contains("of another user"));
    let (outcome, _) = service(wanted, signal("KILL"));
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("of another user")));
    assert!(running.0.try_wait().unwrap().is_none(), "it lives");
}

#[test]
fn only_the_first_of_a_family_gets_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let program = copy("/bin/sh", &dir.join(format!("ffm{}", std::process::id())));
    // The second is a child of the first, of the same program, and waits for a writer who never comes.
    let (pipe, ready) = (dir.join("pipe"), dir.join("ready"));
    let script = format!(
        "mkfifo {0}; {1} -c 'echo > {2}; read line < {0}' & wait",
        pipe.display(),
        program.display(),
        ready.display()
    );
    let mut child =
        std::process::Command::new(&program).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let wanted = ProcessMatch::Executable(program);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    // Before that a third may be seen: the first, as it begins to be `mkfifo`.
    while !ready.exists() || process::find(&wanted).map_or(0, |found| found.len()) < 2 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let mains = process::mains(process::find(&wanted).unwrap());
    assert_eq!(
        mains.iter().map(|held| held.pid.as_raw_nonzero().get()).collect::<Vec<_>>(),
        [child.id() as i32]
    );
    let (outcome, _) = service(wanted.clone(), signal("KILL"));
    assert_eq!(outcome, Outcome::Succeeded, "all of them, with KILL");
    child.wait().unwrap();
    while process::find(&wanted).is_ok() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn the_nice_value_is_set_and_the_old_one_reported() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let running = Running::start(&dir, &format!("fni{}", std::process::id()));
    let pid = Pid::from_raw(running.pid()).unwrap();
    let before = getpriority_process(Some(pid)).unwrap();
    let runs = Runs::Process(ProcessMatch::Name(format!("fni{}", std::process::id())));
    let (outcome, report) = done(Step::Renice { runs, nice: 19 }, Duration::from_secs(20));
    assert_eq!((outcome, getpriority_process(Some(pid))), (Outcome::Succeeded, Ok(19)), "{report:?}");
    assert_eq!(report.before, names(&[("nice", &before.to_string())]));
}

#[test]
fn nobody_is_signalled_when_nobody_is_there() {
    let runs = Runs::Docker { container: "x".into(), socket: "/nowhere/docker.sock".into(), replicas: None };
    let (outcome, _) = done(Step::Service { runs, verb: Verb::Restart }, Duration::from_secs(5));
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("Docker does not answer")));
    let runs = Runs::Docker { container: "../../images".into(), socket: "/nowhere".into(), replicas: None };
    let (outcome, _) = done(Step::Service { runs, verb: Verb::Restart }, Duration::from_secs(5));
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("no container's name")));
}
