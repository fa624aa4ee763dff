//! The kinds of faults: how each is done, and when the host is well again.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fettle_tests::load::Load;
use fettle_tests::mended::Service;
use rustix::process::Signal;

use super::host::{answers, Host};
use super::world::{Done, World};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Crash,
    CrashLoop,
    Hang,
    MemoryLeak,
    CpuHog,
    DiskFull,
    InodesGone,
    DescriptorLeak,
    Permission,
    BadRelease,
    DependencyDown,
    PrimaryLost,
    Overload,
    Zombies,
    AgentKilled,
    CollectorKilled,
    Partition,
}

/// All kinds, those of one component apart from each other.
pub const KINDS: [Fault; 17] = [
    Fault::Crash,
    Fault::Hang,
    Fault::DiskFull,
    Fault::DependencyDown,
    Fault::Permission,
    Fault::BadRelease,
    Fault::AgentKilled,
    Fault::MemoryLeak,
    Fault::DescriptorLeak,
    Fault::CpuHog,
    Fault::PrimaryLost,
    Fault::InodesGone,
    Fault::Zombies,
    Fault::CollectorKilled,
    Fault::Overload,
    Fault::CrashLoop,
    Fault::Partition,
];

const SOON: Duration = Duration::from_secs(60);
/// Requests to the pool come so far apart, and each takes a replica so long.
const REQUEST_PAUSE: Duration = Duration::from_millis(22);
const REQUEST: &str = "/work?ms=33";

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashLoop => "crash_loop",
            Self::Hang => "hang",
            Self::MemoryLeak => "memory_leak",
            Self::CpuHog => "cpu_hog",
            Self::DiskFull => "disk_full",
            Self::InodesGone => "inodes_gone",
            Self::DescriptorLeak => "descriptor_leak",
            Self::Permission => "permission",
            Self::BadRelease => "bad_release",
            Self::DependencyDown => "dependency_down",
            Self::PrimaryLost => "primary_lost",
            Self::Overload => "overload",
            Self::Zombies => "zombies",
            Self::AgentKilled => "agent_killed",
            Self::CollectorKilled => "collector_killed",
            Self::Partition => "nats_partition",
        }
    }

    /// Component that is to be mended.
    pub fn component(self) -> &'static str {
        match self {
            Self::Crash | Self::AgentKilled | Self::CollectorKilled => "web",
            Self::CrashLoop => "shop",
            Self::Hang => "stuck",
            Self::MemoryLeak => "leaky",
            Self::DescriptorLeak => "opener",
            Self::CpuHog => "hog",
            Self::DiskFull | Self::InodesGone => "disk",
            Self::Permission => "data",
            Self::BadRelease => "release",
            Self::DependencyDown => "back",
            Self::PrimaryLost => "proxy",
            Self::Overload => "pool",
            Self::Zombies => "breeder",
            Self::Partition => "alone",
        }
    }

    /// Whether the agent mends it alone: nobody else can know in time.
    pub fn is_local(self) -> bool {
        self == Self::Partition
    }

    /// Whether it needs a file system of its own.
    pub fn needs_disk(self) -> bool {
        matches!(self, Self::DiskFull | Self::InodesGone)
    }

    /// The service whose processes it breaks, if it breaks processes.
    fn broken(self, host: &Host) -> Option<&Service> {
        match self {
            Self::Crash | Self::AgentKilled | Self::CollectorKilled => Some(&host.web),
            Self::CrashLoop => Some(&host.shop),
            Self::Hang => Some(&host.stuck),
            Self::MemoryLeak => Some(&host.leaky),
            Self::DescriptorLeak => Some(&host.opener),
            Self::CpuHog => Some(&host.hog),
            Self::Zombies => Some(&host.breeder),
            Self::BadRelease => Some(&host.release),
            Self::DependencyDown => Some(&host.back),
            Self::Partition => Some(&host.alone),
            Self::DiskFull | Self::InodesGone | Self::Permission | Self::PrimaryLost | Self::Overload => None,
        }
    }

    /// The service by which users see that something is wrong.
    fn seen(self, host: &Host) -> Option<&Service> {
        match self {
            Self::Permission => Some(&host.data),
            Self::DependencyDown => Some(&host.front),
            Self::PrimaryLost => Some(&host.proxy),
            other => other.broken(host),
        }
    }

    /// Breaks the host, whoever looks after it.
    pub async fn strike(self, host: &mut Host) {
        host.struck = self.broken(host).map_or_else(Vec::new, Service::pids);
        match self {
            Self::Hang => host.stuck.signal(Signal::STOP),
            Self::MemoryLeak => asked(&host.leaky, "/leak?mib=250").await,
            Self::DescriptorLeak => asked(&host.opener, "/descriptors?each_second=4000").await,
            Self::CpuHog => asked(&host.hog, "/burn?threads=4").await,
            Self::Zombies => asked(&host.breeder, "/zombies?count=60").await,
            Self::DiskFull => fill(&host.files.join("disk"), 1 << 20, 64),
            Self::InodesGone => fill(&host.files.join("disk"), 0, 1000),
            Self::Permission => set_mode(&host.files.join("data"), 0o000),
            Self::BadRelease => {
                link(&host.files.join("current"), Path::new("releases/2"));
                host.release.signal(Signal::KILL);
            }
            Self::PrimaryLost => host.primary.signal(Signal::STOP),
            Self::Overload => host.load = Some(Load::start(host.pool_ports(), REQUEST, REQUEST_PAUSE)),
            Self::Crash
            | Self::CrashLoop
            | Self::DependencyDown
            | Self::AgentKilled
            | Self::CollectorKilled
            | Self::Partition => {
                if let Some(service) = self.broken(host) {
                    service.signal(Signal::KILL);
                }
            }
        }
    }

    /// Breaks the host under Fettle, and Fettle with it where that is the kind.
    pub async fn strike_world(self, world: &mut World) {
        match self {
            Self::Partition => world.mended.stack.nats.signal(Signal::STOP),
            Self::AgentKilled => world.mended.agent.kill(),
            _ => {}
        }
        self.strike(&mut world.host).await;
        if self == Self::AgentKilled {
            world.mended.agent.start();
        }
    }

    /// A service that dies again as soon as it was started anew: once.
    pub fn strike_again(self, host: &mut Host) {
        let pids =
            if self == Self::CrashLoop && host.struck.len() == 1 { host.shop.pids() } else { Vec::new() };
        if pids.iter().any(|pid| !host.struck.contains(pid)) {
            host.shop.signal(Signal::KILL);
            host.struck.extend(pids);
        }
    }

    /// Whether it is the collector's turn to die: in the middle of what it does.
    pub fn kills_collector(self, done: Done) -> bool {
        self == Self::CollectorKilled && done.under_way
    }

    /// Whether the host is well again, as its users see it.
    pub async fn is_well(self, host: &Host) -> bool {
        if self.broken(host).is_some_and(|service| service.pids().iter().any(|pid| host.struck.contains(pid)))
        {
            return false;
        }
        match self {
            // It is to die once more.
            Self::CrashLoop if host.struck.len() == 1 => false,
            Self::DiskFull | Self::InodesGone => host.disk.is_none() || host.has_room(),
            Self::Overload => host.pool_is_well().await,
            Self::Zombies => zombies() == 0 && answers(&host.breeder).await,
            _ => match self.seen(host) {
                Some(service) => answers(service).await,
                None => true,
            },
        }
    }

    /// Takes away what the fault left behind, so that the next run begins on a sound host.
    pub async fn clear(self, host: &mut Host) {
        match self {
            Self::PrimaryLost => {
                host.primary.signal(Signal::CONT);
                link(&host.files.join("upstream"), &host.files.join("upstreams/primary"));
            }
            Self::Overload => host.load = None,
            _ => {}
        }
        host.struck.clear();
    }

    /// The same for what stands around the host.
    pub async fn clear_world(self, world: &mut World) {
        if self == Self::Partition {
            world.mended.stack.nats.signal(Signal::CONT);
            world.mended.stack.healthy(SOON).await;
        }
        self.clear(&mut world.host).await;
        if matches!(self, Self::Partition | Self::CollectorKilled) {
            world.keeps_up(SOON).await;
        }
    }
}

/// Asks a service to break itself. It may be too broken to answer.
async fn asked(service: &Service, path: &str) {
    let _ = service.get(path).await;
}

/// Dead children that nobody has waited for.
fn zombies() -> usize {
    let is_zombie = |entry: &std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.contains("(true) Z")
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(is_zombie).count()
}

/// Writes log files until there is no more room: an hour old, as most of what fills a disk has long been there.
fn fill(directory: &Path, bytes: usize, most: usize) {
    let old = SystemTime::now() - Duration::from_secs(3600);
    for number in 0..most {
        let Ok(mut file) = File::create(directory.join(format!("{number}.log"))) else { return };
        let written = file.write_all(&vec![0; bytes]);
        file.set_modified(old).unwrap();
        if written.is_err() {
            return;
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// Points a link elsewhere at one stroke.
fn link(link: &Path, target: &Path) {
    let fresh = link.with_extension("fresh");
    let _ = std::fs::remove_file(&fresh);
    std::os::unix::fs::symlink(target, &fresh).unwrap();
    std::fs::rename(&fresh, link).unwrap();
}
