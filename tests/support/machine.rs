//! A host with a real systemd: a container that `systemd-nspawn` boots from the Debian of `deploy/test-systems`,
//! under a layer that is thrown away. It has the host's network, and its own processes, mounts and units. It ends
//! with the test that booted it, however that ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::systems::{children, end_group, group, root, said};
use super::wait::{until, when};

const BOOT: Duration = Duration::from_secs(60);

/// Its control groups are below one of its own, named `$1`, in every hierarchy that systemd uses; the rest is run.
const ENTER: &str = "
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -e $hierarchy/cgroup.procs ]; then
        mkdir -p $hierarchy/$1
        echo $$ > $hierarchy/$1/cgroup.procs
    fi
done
shift
exec \"$@\"
";

/// A booted one.
#[derive(Debug)]
pub struct Machine {
    nspawn: Process,
    /// Its process 1, as this host numbers it.
    leader: u32,
}

impl Machine {
    /// Boots one in which each `(path of this host, path inside)` can be read; none where that cannot be done.
    ///
    /// # Panics
    /// It does not come up.
    pub async fn boot(logs: &Path, shown: &[(&Path, &str)]) -> Option<Self> {
        let root = root()?;
        let name = group();
        let own = format!("--machine={name}");
        let root = format!("--directory={}", root.display());
        // When this thread ends, however it does, so does nspawn, and with it everything inside.
        let mut arguments = vec!["--pdeathsig", "KILL", "sh", "-c", ENTER, "enter", &name];
        // nspawn alone would leave its container behind when it is killed; a name space of processes does not.
        arguments.extend(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "systemd-nspawn"]);
        arguments.extend(["--boot", "--quiet", "--register=no", "--keep-unit", "--volatile=overlay"]);
        arguments.extend(["--console=pipe", &own, &root]);
        let shown: Vec<String> =
            shown.iter().map(|(path, inside)| format!("--bind-ro={}:{inside}", path.display())).collect();
        arguments.extend(shown.iter().map(String::as_str));
        let mut nspawn = Process::new("nspawn", PathBuf::from("setpriv"), &arguments, logs);
        nspawn.start();
        let mut machine = Self { nspawn, leader: 0 };
        machine.leader = until("the machine has a process 1", BOOT, || {
            let nspawn = machine.nspawn.pid().and_then(|pid| children(pid).first().copied());
            // It has helpers before that, which are not the first of their name space.
            let below = nspawn.map(children).unwrap_or_default();
            let first = below.into_iter().find(|pid| number_inside(*pid).as_deref() == Some("1"));
            let ended = machine.nspawn.has_ended();
            async move { first.filter(|_| !ended).ok_or(if ended { "it has ended" } else { "not yet" }) }
        })
        .await;
        until("the machine is up", BOOT, || async {
            let state = machine.run(&["systemctl", "is-active", "multi-user.target", "dbus.service"]);
            when(state, |state| state == &Ok("active\nactive\n".to_owned()))
        })
        .await
        .expect("it was just looked at");
        Some(machine)
    }

    /// Runs a command inside, as root.
    ///
    /// # Errors
    /// It failed; what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String, String> {
        let leader = self.leader.to_string();
        said(Command::new("nsenter").args(["--target", &leader, "--all", "--wd=/", "--"]).args(words))
    }

    /// The same with a command that must not fail.
    ///
    /// # Panics
    /// It failed.
    pub fn say(&self, words: &[&str]) -> String {
        self.run(words).unwrap_or_else(|said| panic!("{words:?}: {said}"))
    }

    /// A word that systemd has about a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.say(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
    }

    /// Writes a file inside.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = PathBuf::from(format!("/proc/{}/root{path}", self.leader));
        let above = path.parent().expect("a file is in a directory");
        std::fs::create_dir_all(above).expect("the machine's root can be written to");
        std::fs::write(path, text).expect("the machine's root can be written to");
    }

    /// The process of this number inside, as this host numbers it.
    ///
    /// # Panics
    /// It does not run.
    pub fn pid_of(&self, inside: &str) -> i32 {
        let of_machine = |pid: &u32| number_inside(*pid).as_deref() == Some(inside) && self.holds(*pid);
        let all = std::fs::read_dir("/proc").expect("there is /proc").flatten();
        let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found: u32 = pids.find(of_machine).unwrap_or_else(|| panic!("process {inside} does not run"));
        i32::try_from(found).expect("process numbers are small")
    }

    fn holds(&self, pid: u32) -> bool {
        let space = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        space(pid).is_some() && space(pid) == space(self.leader)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.nspawn.kill();
        end_group();
    }
}

/// A process's number in the innermost name space that it is in: proc_pid_status(5).
fn number_inside(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back().map(str::to_owned)
}
