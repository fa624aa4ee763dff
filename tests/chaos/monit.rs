//! The same host under Monit, told as a good operator would: `set daemon 1` is its fastest, one look a second.
//! It does not verify what it did; it is well again when the service answers again.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fettle_tests::mended::Service;
use fettle_tests::process::Process;
use fettle_tests::wait::{until, when};
use tempfile::TempDir;

use super::faults::Fault;
use super::host::Host;

/// What it can do.
pub const KINDS: [Fault; 11] = [
    Fault::Crash,
    Fault::Hang,
    Fault::DiskFull,
    Fault::DependencyDown,
    Fault::Permission,
    Fault::MemoryLeak,
    Fault::DescriptorLeak,
    Fault::CpuHog,
    Fault::InodesGone,
    Fault::Zombies,
    Fault::CrashLoop,
];

const START: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
/// A log without a new line for so long: nothing is being done.
const CALM: Duration = Duration::from_secs(3);

/// `start PID_FILE PROGRAM ARGUMENT...`: starts a service as its own session and writes down its number.
const START_SCRIPT: &str = "#!/bin/sh
pid_file=$1; shift
setsid \"$@\" >/dev/null 2>&1 </dev/null &
echo $! >\"$pid_file\"
";

/// `stop PID_FILE`: TERM, two seconds, KILL; waits until it has ended.
const STOP_SCRIPT: &str = "#!/bin/sh
read -r pid <\"$1\" || exit 0
lives() { [ -d /proc/$pid ] && ! grep -q '^State:.Z' /proc/$pid/status 2>/dev/null; }
kill -TERM \"$pid\" 2>/dev/null
for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do lives || exit 0; sleep 0.1; done
kill -KILL \"$pid\" 2>/dev/null
while lives; do sleep 0.05; done
";

/// The host and its Monit.
#[derive(Debug)]
pub struct Watched {
    /// First, because it would start again what ends with the host.
    monit: Process,
    pub host: Host,
    log: PathBuf,
    /// Last, because the host's files are in it.
    _directory: TempDir,
}

impl Watched {
    /// Starts Monit, and it everything else.
    pub async fn start(program: PathBuf) -> Self {
        let directory = TempDir::with_prefix("fettle-monit-").unwrap();
        let (files, own) = (directory.path().join("files"), directory.path().join("monit"));
        for path in [&files, &own] {
            std::fs::create_dir(path).unwrap();
        }
        let host = Host::below(&files);
        for (name, text) in [("start", START_SCRIPT), ("stop", STOP_SCRIPT)] {
            std::fs::write(own.join(name), text).unwrap();
            std::fs::set_permissions(own.join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let control = own.join("control");
        std::fs::write(&control, control_file(&host, &own)).unwrap();
        std::fs::set_permissions(&control, PermissionsExt::from_mode(0o600)).unwrap();
        let arguments = ["-I", "-c", &control.display().to_string()];
        let mut monit = Process::new("monit", program, &arguments, &own);
        monit.start();
        let log = own.join("events");
        let watched = Self { monit, host, log, _directory: directory };
        for kind in KINDS {
            until(&format!("{} is well under monit", kind.component()), START, || async {
                when(kind.is_well(&watched.host).await, |well| *well)
            })
            .await;
        }
        watched
    }

    /// Whether the kind's service becomes well and nothing more is done for a while.
    pub async fn becomes_calm(&mut self, kind: Fault, deadline: Duration) -> bool {
        assert!(!self.monit.has_ended(), "monit has ended: {}", self.monit.last_words(20));
        let end = Instant::now() + deadline;
        let mut seen = (self.log_len(), Instant::now());
        while seen.1.elapsed() < CALM && Instant::now() < end {
            let len = self.log_len();
            if len != seen.0 || !kind.is_well(&self.host).await {
                seen = (len, Instant::now());
            }
            tokio::time::sleep(LOOK).await;
        }
        seen.1.elapsed() >= CALM
    }

    /// Length of what it has told, bytes.
    pub fn log_len(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |file| file.len())
    }

    /// Whether it has told of the kind's component since then.
    pub fn has_noticed(&self, kind: Fault, log_len: u64) -> bool {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let new = &text[text.len().min(log_len as usize)..];
        let name = format!("'{}'", kind.component());
        String::from_utf8_lossy(new).lines().any(|line| line.contains(&name) && line.contains("error"))
    }
}

/// One process, as its check says.
struct Check<'a> {
    host: &'a Host,
    own: &'a Path,
    text: String,
}

impl Check<'_> {
    /// The time-out of the start is short, because Monit looks at no port of a process that is younger.
    fn process(&mut self, name: &str, service: &Service, before: &[&str], more: &[&str], tests: &str) {
        let own = self.own.display();
        let words = [before, &service.words(more)[..]].concat().join(" ");
        let _ = write!(
            self.text,
            "check process {name} with pidfile {own}/{name}.pid\n\
             \x20 start program = \"{own}/start {own}/{name}.pid {words}\" with timeout 5 seconds\n\
             \x20 stop program = \"{own}/stop {own}/{name}.pid\"\n\
             \x20 if failed host 127.0.0.1 port {} protocol http request \"/health\" with timeout 1 seconds \
             then restart\n{tests}",
            service.port()
        );
    }
}

fn control_file(host: &Host, own: &Path) -> String {
    let at = |name: &str| own.join(name).display().to_string();
    let text = format!(
        "set daemon 1\nset log {}\nset pidfile {}\nset idfile {}\nset statefile {}\n",
        at("events"),
        at("pid"),
        at("id"),
        at("state")
    );
    // Its 100 % are all processors, for a process with as many threads: 60 % of one.
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let hog = format!("  if cpu > {}% for 2 cycles then restart\n", 60 / processors);
    let mut check = Check { host, own, text };
    check.process("web", &host.web, &[], &[], "");
    check.process("shop", &host.shop, &[], &[], "");
    check.process("stuck", &host.stuck, &[], &[], "");
    check.process("leaky", &host.leaky, &[], &[], "  if memory usage > 200 MB then restart\n");
    let limit = ["/usr/bin/prlimit", "--nofile=1024"];
    check.process("opener", &host.opener, &limit, &[], "  if filedescriptors > 400 then restart\n");
    check.process("hog", &host.hog, &[], &[], &hog);
    check.process("breeder", &host.breeder, &[], &[], "  if children > 30 then restart\n");
    check.process("back", &host.back, &[], &[], "");
    let needs = ["--needs", host.back.address.as_str()];
    check.process("front", &host.front, &[], &needs, "  depends on back\n");
    check.files();
    check.text
}

impl Check<'_> {
    /// What is no process: a file's mode, a file system's room.
    fn files(&mut self) {
        let (host, data) = (self.host, self.host.path("data"));
        let nobody = ["/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
        let before = if rustix::process::geteuid().is_root() { &nobody[..] } else { &[] };
        self.process("reader", &host.data, before, &["--data", &data], "");
        let _ = write!(
            self.text,
            "check file data with path {data}\n\
             \x20 if failed permission 0644 then exec \"/bin/chmod 0644 {data}\"\n"
        );
        if host.disk.is_some() {
            let disk = host.path("disk");
            let clean = format!("exec \"/usr/bin/find {disk} -name *.log -delete\"");
            let _ = write!(
                self.text,
                "check filesystem disk with path {disk}\n\
                 \x20 if space usage > 90% then {clean}\n\
                 \x20 if inode usage > 90% then {clean}\n"
            );
        }
    }
}
