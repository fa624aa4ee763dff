//! The host's own file (`components.toml`): the components there are, how each is checked, and what may
//! be done to it. Without the file nothing is checked and nothing is allowed. Plain, settled data; how the
//! file is read is in this directory, who acts by it are the rooms `check`, `supervise` and `act`.

mod load;
mod offers;
mod paths;
mod permits;
mod raw;
mod render;
mod settle;
mod settle_allowed;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use load::HostFileError;
pub use offers::inventory;
pub use watch::follow;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostFile {
    /// Ed25519 public keys whose orders are taken, 32 bytes each. None: no order is.
    pub trusted_keys: Vec<[u8; 32]>,
    /// While this file exists, nothing is done at all.
    pub freeze_file: Option<PathBuf>,
    /// Limits over all actions.
    pub limits: Limits,
    /// What may be done that is about no component: `DropCaches`, `CleanUp`.
    pub host_actions: Allowed,
    /// Components by name.
    pub components: BTreeMap<String, Component>,
}

/// Limits over all actions of the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Actions that may run at once.
    pub concurrent: usize,
    /// Actions begun in any hour.
    pub per_hour: u32,
    /// Between two of the same action on the same component.
    pub cooldown: Duration,
    /// An action is stopped after this.
    pub timeout: Duration,
    /// Of `per_hour`, actions by the agent's own rules.
    pub local_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent: 3,
            per_hour: 60,
            cooldown: Duration::from_secs(10),
            timeout: Duration::from_secs(300),
            local_per_hour: 10,
        }
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// What runs it.
    pub runs: Runs,
    /// How it is seen to be well.
    pub check: Check,
    /// Between two checks.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Failed checks in a row from which on it is down.
    pub failures: u32,
    /// Components it needs; it is not acted on by itself while one of them is down.
    pub depends_on: Vec<String>,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// What may be done.
    pub allowed: Allowed,
    /// Actions that the agent does by itself when it is down, in order, even without a collector.
    pub local: Vec<LocalRule>,
}

/// What runs a component: what `restart`, `start`, `stop`, `signal`, `scale` mean for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Runs {
    /// A command that the agent starts and keeps as its child group (it lives on when the agent ends).
    Supervised(Supervised),
    /// A systemd unit, over D-Bus.
    Systemd {
        /// Unit, such as `nginx.service`.
        unit: String,
    },
    /// A Docker container, over its socket.
    Docker {
        /// Name or id.
        container: String,
        /// The socket.
        socket: PathBuf,
        /// Fewest and most replicas, itself among them, where copies of it may be made; see `crate::replicas`.
        replicas: Option<(u32, u32)>,
    },
    /// Someone else; found by its process only.
    Process(ProcessMatch),
    /// Nothing that could be started or signalled.
    Nothing,
}

impl Runs {
    /// Fewest and most replicas, where it can be scaled at all.
    pub fn replica_bounds(&self) -> Option<(u32, u32)> {
        match self {
            Self::Supervised(run) => Some((run.replicas_min, run.replicas_max)),
            Self::Docker { replicas, .. } => *replicas,
            Self::Systemd { .. } | Self::Process(_) | Self::Nothing => None,
        }
    }
}

/// A supervised command.
#[derive(Debug, Clone, PartialEq)]
pub struct Supervised {
    /// Program (an absolute path) and arguments. `{replica}` in an argument is the replica's number, from 0.
    pub command: Vec<String>,
    /// Working directory.
    pub directory: Option<PathBuf>,
    /// Environment; nothing else is passed on but PATH.
    pub environment: BTreeMap<String, String>,
    /// User to run as.
    pub user: Option<String>,
    /// Processes at first, and the bounds for `scale`.
    pub replicas: u32,
    /// Fewest.
    pub replicas_min: u32,
    /// Most.
    pub replicas_max: u32,
    /// Signal that stops it.
    pub stop_signal: i32,
    /// After this it is killed.
    pub stop_timeout: Duration,
}

/// How a process is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessMatch {
    /// The file that holds its process id.
    PidFile(PathBuf),
    /// The executable's path.
    Executable(PathBuf),
    /// The command name (`comm`).
    Name(String),
}

/// A health check.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Its process (or each replica) lives and is no zombie; of what `runs` says.
    Process,
    /// The unit or container is active (and healthy, where it says so); of what `runs` says.
    Active,
    /// A TCP connection is taken.
    Tcp(SocketAddr),
    /// An HTTP GET gives this status (and body).
    Http {
        /// `http://host:port/path`.
        url: String,
        /// Status wanted.
        status: u16,
        /// Text the first 64 KiB of the body must hold.
        contains: Option<String>,
    },
    /// A command ends with 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
        /// User it runs as; the agent's own when none is named.
        user: Option<String>,
    },
    /// A file is no older than this.
    FileAge {
        /// The file.
        path: PathBuf,
        /// Oldest.
        oldest: Duration,
    },
}

/// What may be done. Everything is forbidden that does not stand here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allowed {
    /// `restart`.
    pub restart: bool,
    /// `start`.
    pub start: bool,
    /// `stop`.
    pub stop: bool,
    /// Signals by name, without `SIG`.
    pub signals: Vec<String>,
    /// Nice values, lowest and highest.
    pub nice: Option<(i8, i8)>,
    /// Limits by resource (`cpu_percent`, `memory_bytes`, `pids`), lowest and highest.
    pub limits: BTreeMap<String, (u64, u64)>,
    /// Control group directory that limits are set in.
    pub cgroup: Option<PathBuf>,
    /// Clean-up policies by name.
    pub clean_up: BTreeMap<String, CleanUp>,
    /// `drop_caches`.
    pub drop_caches: bool,
    /// Entries whose permissions may be restored, by name.
    pub fix_permissions: BTreeMap<String, Permissions>,
    /// Entries that may be rolled back, by name.
    pub roll_back: BTreeMap<String, RollBack>,
    /// Entries that may be failed over, by name.
    pub fail_over: BTreeMap<String, FailOver>,
    /// `scale`, within the bounds of the supervised command or the container.
    pub scale: bool,
    /// Commands by name.
    pub run: BTreeMap<String, Command>,
}

/// What a clean-up may delete.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanUp {
    /// Directory it stays below; never followed out of by links, nor over to another file system.
    pub root: PathBuf,
    /// Shell pattern (`*.log`) the file's name must fit.
    pub pattern: String,
    /// Only files not written to for this long.
    pub older_than: Duration,
    /// Oldest first, until so many bytes are left below the root; 0: all that are old enough.
    pub keep_bytes: u64,
    /// Most bytes to delete in one action.
    pub most_bytes: u64,
    /// Most files to delete in one action.
    pub most_files: u64,
}

/// Owner and mode an entry should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// File or directory; no link in it is followed.
    pub path: PathBuf,
    /// Permission bits; never set-user-id or set-group-id.
    pub mode: u32,
    /// User, if it is to be set.
    pub user: Option<String>,
    /// Group, if it is to be set.
    pub group: Option<String>,
}

/// What can be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollBack {
    /// A link to one of a directory's entries: the last one marked good, else the newest before the present.
    Link {
        /// The link.
        link: PathBuf,
        /// The directory of releases.
        releases: PathBuf,
    },
    /// A file of which the agent keeps copies while the component is well.
    File {
        /// The file.
        path: PathBuf,
        /// Versions kept.
        versions: usize,
    },
}

/// What can be failed over.
#[derive(Debug, Clone, PartialEq)]
pub struct FailOver {
    /// A link that names the active candidate, if one is switched.
    pub link: Option<PathBuf>,
    /// Candidates by name, in order, each with the link's target.
    pub candidates: Vec<(String, PathBuf)>,
    /// Command run after the switch (or instead): `{candidate}` in an argument is the name.
    pub hook: Option<Command>,
}

/// A command that may be run: program (an absolute path) and arguments, without a shell.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Program and arguments.
    pub command: Vec<String>,
    /// User to run as.
    pub user: Option<String>,
    /// Working directory.
    pub directory: Option<PathBuf>,
}

/// What the agent does by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRule {
    /// What to do.
    pub action: fettle_shared::command::Action,
    /// After the component was down for this long.
    pub after: Duration,
    /// Only when no collector has been heard of for this long; zero: always.
    pub alone_for: Duration,
}

#[cfg(test)]
mod tests;
