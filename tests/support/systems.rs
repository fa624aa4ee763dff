//! The small Debian with systemd and Docker that `deploy/test-systems` makes. Only root can boot it or start its
//! dockerd; where that cannot be, the caller is told so and its test ends early, having said why. In CI as root
//! it must be there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::binaries::cache;

/// For processes that were killed to be gone.
const ENDING: Duration = Duration::from_secs(5);

/// Its root directory, which nobody may change; none where it cannot be used.
///
/// # Panics
/// This is CI, this user is root, and it is not there although `deploy/test` did not say that it cannot be made.
pub fn root() -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can boot a systemd or start a dockerd of its own");
        return None;
    }
    let made = cache().map(|cache| cache.join("systems")).filter(|systems| systems.join("pin").is_file());
    let lacks = if made.is_none() {
        "the Debian they run in is not there; run deploy/test-systems"
    } else if !succeeds("systemd-nspawn", &["--version"]) {
        "systemd-nspawn is not there; run deploy/test-systems"
    } else if !succeeds("unshare", &["--mount", "--pid", "--fork", "true"]) {
        // No file of this project can change that, so it is no failure of CI either.
        eprintln!("skipped: this machine does not let root make name spaces");
        return None;
    } else {
        return made.map(|systems| systems.join("root"));
    };
    assert!(
        std::env::var_os("FETTLE_CI").is_none() || std::env::var_os("FETTLE_SYSTEMS").is_some(),
        "the tests of systemd and Docker must run in CI: {lacks}"
    );
    eprintln!("skipped: {lacks}");
    None
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// What a command printed.
///
/// # Errors
/// It failed; what it printed on both ways out.
pub fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// Name of the control groups that a test makes.
pub fn group() -> String {
    format!("fettle-test-{}", std::process::id())
}

/// Removes them once the processes in them have ended, which was seen to.
pub fn end_group() {
    let base = Path::new("/sys/fs/cgroup");
    thaw(&base.join("freezer").join(group()));
    let hierarchies = std::fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    for group in hierarchies.chain([base.to_owned()]).map(|hierarchy| hierarchy.join(group())) {
        let end = Instant::now() + ENDING;
        while group.is_dir() && !remove(&group) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Lets what is frozen in version 1 die: no signal reaches it before.
fn thaw(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        let _ = std::fs::write(entry.path().join("freezer.state"), "THAWED");
    }
}

/// Removes a control group with those below it.
fn remove(group: &Path) -> bool {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    std::fs::remove_dir(group).is_ok()
}
