//! Checks of the machine itself: kernel, /proc, limits, memory, disk, clock.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{getrlimit, Resource};

use super::adjtimex::{clock_state, ClockState};
use super::report::Check;
use crate::output::{bytes, grouped};

const GIB: u64 = 1 << 30;
/// 2026-01-01 in seconds since 1970: a clock before that is not set at all.
const EARLIEST: u64 = 1_767_225_600;

/// All of them.
pub(crate) fn checks(state: &Path) -> Vec<Check> {
    let root = Path::new("/");
    vec![
        kernel(&rustix::system::uname().release().to_string_lossy()),
        pressure(root),
        cgroups(root),
        processes(root),
        process_io(root),
        open_files(getrlimit(Resource::Nofile).maximum),
        memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        disk(state),
        clock(),
    ]
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let saw = format!("Linux {release}");
    // 4.18 is the oldest kernel of a distribution that is still kept; older ones may work, untested.
    if version >= (4, 18) {
        Check::ok("kernel", saw)
    } else {
        Check::warn("kernel", saw, "Fettle is made for Linux 4.18 and later; some metrics will be absent")
    }
}

fn pressure(root: &Path) -> Check {
    // The file may be there and refuse to be read: the kernel has PSI and it is switched off.
    if fs::read_to_string(root.join("proc/pressure/cpu")).is_ok_and(|text| text.starts_with("some")) {
        return Check::ok("pressure", "/proc/pressure is there");
    }
    let fix =
        "boot a kernel with CONFIG_PSI and the parameter psi=1; without it the pressure family is absent";
    Check::warn("pressure", "/proc/pressure cannot be read", fix)
}

fn cgroups(root: &Path) -> Check {
    let at = |path: &str| root.join("sys/fs/cgroup").join(path).exists();
    let saw = match (at("cgroup.controllers"), at("unified/cgroup.controllers"), at("memory") || at("cpu")) {
        (true, _, _) => "version 2",
        (false, true, _) => "hybrid: controllers in version 1",
        (false, false, true) => "version 1",
        (false, false, false) => {
            let fix = "mount cgroup2 on /sys/fs/cgroup; without it the cgroup family is absent";
            return Check::warn("cgroups", "none are mounted on /sys/fs/cgroup", fix);
        }
    };
    Check::ok("cgroups", saw)
}

/// With `hidepid` a user sees only processes of its own; process 1 is never one of them, but for root.
fn processes(root: &Path) -> Check {
    let count = fs::read_dir(root.join("proc")).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count()
    });
    match fs::read_to_string(root.join("proc/1/stat")) {
        Ok(_) => Check::ok("processes", format!("all of /proc can be read, {count} processes now")),
        Err(error) => {
            let fix =
                "mount /proc without hidepid, or run the agent as root or in the group of its gid= option";
            Check::fail(
                "processes",
                format!("/proc/1/stat cannot be read ({error}), {count} processes are seen"),
                fix,
            )
        }
    }
}

fn process_io(root: &Path) -> Check {
    match fs::read_to_string(root.join("proc/1/io")) {
        Ok(_) => Check::ok("process io", "/proc/PID/io of other users can be read"),
        Err(error) => {
            let fix = "run the agent as root or with CAP_SYS_PTRACE; without it the io of other users' processes is absent";
            Check::warn("process io", format!("/proc/1/io cannot be read ({error})"), fix)
        }
    }
}

fn open_files(limit: Option<u64>) -> Check {
    let name = "open files";
    match limit {
        None => Check::ok(name, "no limit"),
        Some(limit @ 4096..) => Check::ok(name, format!("up to {} a process", grouped(limit))),
        Some(limit) => {
            let fix = "raise the hard limit to 4,096 or more (ulimit -Hn, LimitNOFILE=); the agent keeps files open \
                       and costs more CPU when it may not";
            Check::warn(name, format!("up to {} a process", grouped(limit)), fix)
        }
    }
}

fn memory(meminfo: &str) -> Check {
    let kibibytes = |key: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(key))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let (Some(total), Some(available)) = (kibibytes("MemTotal:"), kibibytes("MemAvailable:")) else {
        return Check::warn("memory", "/proc/meminfo cannot be read", "mount /proc");
    };
    let saw = format!("{} available of {}", bytes(available << 10), bytes(total << 10));
    match available << 10 {
        GIB.. => Check::ok("memory", saw),
        0x2000_0000.. => Check::warn("memory", saw, "1 GiB is comfortable; stop something or add memory"),
        _ => Check::fail("memory", saw, "512 MiB is the least that collector, engine and NATS need"),
    }
}

/// The state directory may not be there yet: then what counts is the directory it will be made in.
fn disk(state: &Path) -> Check {
    let name = "disk";
    let absolute = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let Some(there) = absolute.ancestors().find(|path| path.exists()) else {
        return Check::fail(
            name,
            format!("{} has no parent", state.display()),
            "name another with --state-dir",
        );
    };
    if let Err(error) = rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
    {
        let fix = "make it writable by this user or name another with --state-dir";
        return Check::fail(name, format!("{} cannot be written ({error})", there.display()), fix);
    }
    let Ok(space) = rustix::fs::statvfs(there) else {
        return Check::warn(
            name,
            format!("{} does not tell its free space", there.display()),
            "check it with df",
        );
    };
    let free = space.f_bavail * space.f_frsize;
    let saw = format!("{} free for {}", bytes(free), absolute.display());
    let fix =
        "a day of raw samples of one host at full rate is about 1 GiB; make room or name another --state-dir";
    match free {
        free if free < GIB => Check::fail(name, saw, fix),
        free if free < 10 * GIB => Check::warn(name, saw, fix),
        _ => Check::ok(name, saw),
    }
}

fn clock() -> Check {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let begun = wall_between();
    // Long enough for a clock that jumps or runs at another speed to show.
    std::thread::park_timeout(Duration::from_millis(100));
    judge_clock(seconds, apart(&begun, &wall_between()), clock_state())
}

/// The wall clock, and moments of the monotonic clock before and after it was read: a busy machine may let time pass
/// between two readings.
fn wall_between() -> (Instant, SystemTime, Instant) {
    let before = Instant::now();
    (before, SystemTime::now(), Instant::now())
}

/// By how much at least the clocks have parted.
fn apart(first: &(Instant, SystemTime, Instant), last: &(Instant, SystemTime, Instant)) -> Duration {
    let wall = last.1.duration_since(first.1).unwrap_or_default();
    let (least, most) = (last.0.duration_since(first.2), last.2.duration_since(first.0));
    least.saturating_sub(wall).max(wall.saturating_sub(most))
}

fn judge_clock(seconds: u64, apart: Duration, state: Option<ClockState>) -> Check {
    if seconds < EARLIEST {
        let fix = "set the clock (timedatectl set-time, or start a time service)";
        return Check::fail(
            "clock",
            format!("it says {seconds} seconds since 1970, which is long past"),
            fix,
        );
    }
    if apart > Duration::from_millis(10) {
        let fix = "something steps the clock; let one time service slew it, and samples keep their order";
        return Check::warn("clock", format!("wall and monotonic time part by {apart:?} in 0.1 s"), fix);
    }
    match state {
        Some(ClockState { synchronized: true, error_us_max }) => Check::ok(
            "clock",
            format!("kept by a time service, off by at most {:.1} ms", error_us_max as f64 / 1e3),
        ),
        Some(_) => {
            let fix =
                "start chrony, ntpd or systemd-timesyncd, or samples of different hosts will not line up";
            Check::warn("clock", "no time service keeps it", fix)
        }
        None => {
            Check::warn("clock", "the kernel does not tell whether it is kept", "check it with timedatectl")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn kernels_are_judged_by_version() {
        assert_eq!(kernel("6.18.44-fc").status, Status::Ok);
        assert_eq!(kernel("4.18.0-553.el8").status, Status::Ok);
        assert_eq!(kernel("3.10.0").status, Status::Warn);
    }

    #[test]
    fn a_bare_tree_lacks_everything_and_says_so() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(pressure(empty.path()).status, Status::Warn);
        assert_eq!(cgroups(empty.path()).status, Status::Warn);
        assert_eq!(processes(empty.path()).status, Status::Fail);
        assert_eq!(process_io(empty.path()).status, Status::Warn);
    }

    #[test]
    fn cgroup_versions_are_told_apart() {
        for (path, saw) in [
            ("cgroup.controllers", "version 2"),
            ("unified/cgroup.controllers", "hybrid: controllers in version 1"),
            ("memory", "version 1"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join("sys/fs/cgroup").join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
            assert_eq!(cgroups(root.path()).saw, saw);
        }
    }

    #[test]
    fn limits_and_memory_are_judged() {
        assert_eq!(open_files(Some(1024)).status, Status::Warn);
        assert_eq!(open_files(Some(20_000)).status, Status::Ok);
        let meminfo = |available: u64| format!("MemTotal: 8000000 kB\nMemAvailable: {available} kB\n");
        assert_eq!(memory(&meminfo(4_000_000)).status, Status::Ok);
        assert_eq!(memory(&meminfo(700_000)).status, Status::Warn);
        assert_eq!(memory(&meminfo(100_000)).status, Status::Fail);
        assert_eq!(memory("").status, Status::Warn);
    }

    #[test]
    fn a_state_directory_below_a_file_cannot_be_made() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = disk(&file.path().join("state"));
        assert_eq!(check.status, Status::Fail, "{check:?}");
    }

    #[test]
    fn time_that_passes_between_two_readings_does_not_part_clocks() {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let at = |before, wall_ms, after| {
            let later = Duration::from_millis;
            (start + later(before), wall + later(wall_ms), start + later(after))
        };
        let first = at(0, 0, 0);
        for (last, parted) in
            [(at(100, 100, 100), 0), (at(100, 150, 180), 0), (at(100, 70, 110), 30), (at(100, 150, 110), 40)]
        {
            assert_eq!(apart(&first, &last), Duration::from_millis(parted), "{last:?}");
        }
        assert_eq!(apart(&at(0, 50, 60), &at(150, 150, 150)), Duration::ZERO);
    }

    #[test]
    fn clocks_are_judged() {
        let kept = Some(ClockState { synchronized: true, error_us_max: 1500 });
        let free = Some(ClockState { synchronized: false, error_us_max: 16_000_000 });
        let (now, small) = (EARLIEST + 1, Duration::from_micros(50));
        assert_eq!(judge_clock(now, small, kept).status, Status::Ok);
        assert_eq!(judge_clock(now, small, free).status, Status::Warn);
        assert_eq!(judge_clock(now, Duration::from_secs(1), kept).status, Status::Warn);
        assert_eq!(judge_clock(1000, small, kept).status, Status::Fail);
    }
}
