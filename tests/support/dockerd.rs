//! A real dockerd of its own, from the Debian of `deploy/test-systems`: in name spaces of processes and mounts that
//! end with the test however it ends, on the host's network, without bridges and rules of its own. Everything it
//! writes is in one directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

use super::process::Process;
use super::systems::{children, end_group, group, root, said};
use super::wait::{until, when};

const START: Duration = Duration::from_secs(60);
/// Makes the mounts and stays; `$1` is the root that was made, `$2` the directory of this one.
const HOLD: &str = "
set -e
mkdir -p $2/over $2/root
mount -t tmpfs tmpfs $2/over
mkdir $2/over/upper $2/over/work
mount -t overlay overlay -o lowerdir=$1,upperdir=$2/over/upper,workdir=$2/over/work $2/root
mount -t proc proc $2/root/proc
mount --rbind /sys $2/root/sys
mount --rbind /dev $2/root/dev
mount -t tmpfs tmpfs $2/root/run
mkdir -p $2/root$2/data
mount --bind $2/data $2/root$2/data
touch $2/data/held
exec sleep infinity
";
/// Makes `$1` the root of name spaces of mounts of its own, not only of a process: what Docker runs later in a
/// container (`exec`, health checks) starts at the root of the name space. The rest is run.
const PIVOT: &str = "
set -e
cd $1
shift
mkdir -p old
pivot_root . old
umount --lazy /old
exec \"$@\"
";
/// An image of nothing but busybox, as every dockerd can take in without a registry.
const IMAGE: &str = "
set -e
mkdir -p /image/bin
cp /bin/busybox /image/bin/
for name in sh sleep httpd cat test; do ln -s busybox /image/bin/$name; done
tar -C /image -c . | docker import - busybox
";

/// One that runs.
#[derive(Debug)]
pub struct Dockerd {
    holder: Process,
    daemon: Process,
    /// Process 1 of its name space.
    first: u32,
    dir: PathBuf,
}

impl Dockerd {
    /// Starts one with an image `busybox`; none where that cannot be done.
    ///
    /// # Panics
    /// It does not come up.
    pub async fn start(dir: &Path, logs: &Path) -> Option<Self> {
        let root = root()?;
        std::fs::create_dir_all(dir.join("data")).expect("the directory is writable");
        let (made, own) = (root.display().to_string(), dir.display().to_string());
        // When this thread ends, however it does, so does all that runs in these name spaces.
        let hold =
            ["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"];
        let hold = [&hold[..], &["sh", "-c", HOLD, "hold", &made, &own]].concat();
        let mut holder = Process::new("holder", PathBuf::from("setpriv"), &hold, logs);
        holder.start();
        let held = dir.join("data/held");
        let first = until("the name spaces are held", START, || {
            let first = holder.pid().and_then(|pid| children(pid).first().copied());
            let ended = holder.has_ended();
            let is_held = held.exists();
            async move {
                first.filter(|_| is_held && !ended).ok_or(if ended { "it has ended" } else { "not yet" })
            }
        })
        .await;
        let (target, data) = (first.to_string(), format!("{own}/data"));
        let socket = format!("unix://{data}/docker.sock");
        let names = ["data-root", "exec-root", "pidfile"].map(|name| format!("--{name}={data}/{name}"));
        let group = format!("--cgroup-parent=/{}", group());
        let mut words = vec!["--target", &target, "--mount", "--pid", "unshare", "--mount", "sh"];
        let chroot = format!("{own}/root");
        words.extend([
            "-c",
            PIVOT,
            "pivot",
            chroot.as_str(),
            "dockerd",
            "--host",
            &socket,
            "--group",
            "root",
            "--bridge",
            "none",
        ]);
        words.extend(["--iptables=false", "--ip-forward=false", "--storage-driver=vfs", &group]);
        words.extend(names.iter().map(String::as_str));
        let mut daemon = Process::new("dockerd", PathBuf::from("nsenter"), &words, logs);
        daemon.start();
        let dockerd = Self { holder, daemon, first, dir: dir.to_owned() };
        dockerd.answers().await;
        dockerd
            .inside(&["sh", "-c", &format!("export DOCKER_HOST={socket}; {IMAGE}")])
            .expect("it takes an image");
        Some(dockerd)
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// It does not.
    pub async fn answers(&self) {
        until("dockerd answers", START, || async {
            when(self.run(&["version", "--format", "{{.Server.Version}}"]), Result::is_ok)
        })
        .await
        .expect("it was just looked at");
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("data/docker.sock")
    }

    /// Runs Docker's own client.
    ///
    /// # Errors
    /// It failed; what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String, String> {
        let socket = format!("unix://{}", self.socket().display());
        self.inside(&[&["docker", "--host", &socket], words].concat())
    }

    /// The same with a command that must not fail.
    ///
    /// # Panics
    /// It failed.
    pub fn say(&self, words: &[&str]) -> String {
        self.run(words).unwrap_or_else(|said| panic!("{words:?}: {said}")).trim().to_owned()
    }

    fn inside(&self, words: &[&str]) -> Result<String, String> {
        let root = self.dir.join("root").display().to_string();
        said(Command::new("nsenter").args(self.space()).args(["chroot", &root]).args(words))
    }

    /// Arguments of nsenter that lead to where its processes are seen under the numbers that it knows.
    pub fn space(&self) -> [String; 4] {
        ["--target".into(), self.first.to_string(), "--mount".into(), "--pid".into()]
    }

    /// Sends dockerd a signal.
    ///
    /// # Panics
    /// It does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = self.daemon.pid().and_then(|pid| children(pid).first().copied());
        let pid = pid.and_then(|pid| Pid::from_raw(pid as i32)).expect("dockerd runs");
        kill_process(pid, signal).expect("it takes signals");
        if signal == Signal::CONT {
            // nsenter has stopped with it.
            self.daemon.signal(signal);
        }
    }

    /// Kills dockerd; its containers live on.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        until("dockerd is dead", START, || {
            let ended = self.daemon.has_ended();
            async move { when(ended, |ended| *ended) }
        })
        .await;
        self.daemon.kill();
    }

    /// Starts it again.
    pub async fn start_again(&mut self) {
        self.daemon.start();
        self.answers().await;
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.holder.kill();
        end_group();
    }
}
