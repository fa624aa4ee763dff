//! The kinds of faults: how each is done, and when the host is well again.

use std::path::Path;
use std::time::Duration;

use fettle_tests::mended::Service;
use rustix::process::Signal;

use super::host::World;

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
    AgentKilled,
    CollectorKilled,
    Partition,
}

/// All kinds.
pub const KINDS: [Fault; 15] = [
    Fault::Crash,
    Fault::CrashLoop,
    Fault::Hang,
    Fault::MemoryLeak,
    Fault::CpuHog,
    Fault::DiskFull,
    Fault::InodesGone,
    Fault::DescriptorLeak,
    Fault::Permission,
    Fault::BadRelease,
    Fault::DependencyDown,
    Fault::PrimaryLost,
    Fault::AgentKilled,
    Fault::CollectorKilled,
    Fault::Partition,
];

const SOON: Duration = Duration::from_secs(60);

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
            Self::AgentKilled => "agent_killed",
            Self::CollectorKilled => "collector_killed",
            Self::Partition => "nats_partition",
        }
    }

    /// Component that is to be mended.
    pub fn component(self) -> &'static str {
        match self {
            Self::Crash | Self::CrashLoop | Self::Hang | Self::AgentKilled | Self::CollectorKilled => "web",
            Self::MemoryLeak | Self::DescriptorLeak => "leaky",
            Self::CpuHog => "hog",
            Self::DiskFull | Self::InodesGone => "disk",
            Self::Permission => "data",
            Self::BadRelease => "release",
            Self::DependencyDown => "back",
            Self::PrimaryLost => "proxy",
            Self::Partition => "alone",
        }
    }

    /// Whether the agent mends it alone: nobody else can know in time.
    pub fn is_local(self) -> bool {
        self == Self::Partition
    }

    /// Breaks it.
    pub async fn strike(self, world: &mut World) {
        match self {
            Self::Crash => world.web.signal(Signal::KILL),
            Self::CrashLoop => {
                for _ in 0..3 {
                    world.web.signal(Signal::KILL);
                    tokio::time::sleep(Duration::from_millis(700)).await;
                }
            }
            Self::Hang => world.web.signal(Signal::STOP),
            Self::MemoryLeak => drop(world.leaky.get("/leak?mib=120").await),
            Self::DescriptorLeak => drop(world.leaky.get("/descriptors?each_second=400").await),
            Self::CpuHog => drop(world.hog.get("/burn?threads=1").await),
            Self::DiskFull => fill(&world.files.join("disk"), 1 << 20, 64),
            Self::InodesGone => fill(&world.files.join("disk"), 0, 1000),
            Self::Permission => set_mode(&world.files.join("data"), 0o000),
            Self::BadRelease => {
                link(&world.files.join("current"), Path::new("releases/2"));
                world.release.signal(Signal::KILL);
            }
            Self::DependencyDown => world.back.signal(Signal::KILL),
            Self::PrimaryLost => world.primary.signal(Signal::STOP),
            Self::AgentKilled => {
                world.mended.agent.kill();
                world.web.signal(Signal::KILL);
                world.mended.agent.start();
            }
            Self::CollectorKilled => {
                world.web.signal(Signal::KILL);
                // In the middle of what it does about it.
                tokio::time::sleep(Duration::from_millis(2_200)).await;
                world.mended.stack.collector.kill();
                world.mended.stack.collector.start();
                world.mended.stack.healthy(SOON).await;
            }
            Self::Partition => {
                world.mended.stack.nats.signal(Signal::STOP);
                world.alone.signal(Signal::KILL);
            }
        }
    }

    /// Whether the host is well again, as its users see it.
    pub async fn is_well(self, world: &World) -> bool {
        match self {
            Self::Crash | Self::CrashLoop | Self::Hang | Self::AgentKilled | Self::CollectorKilled => {
                answers(&world.web).await
            }
            Self::MemoryLeak | Self::DescriptorLeak => answers(&world.leaky).await,
            Self::CpuHog => answers(&world.hog).await,
            Self::DiskFull | Self::InodesGone => {
                world.disk.is_none() || std::fs::write(world.files.join("disk/trial"), [0; 4096]).is_ok()
            }
            Self::Permission => answers(&world.data).await,
            Self::BadRelease => answers(&world.release).await,
            Self::DependencyDown => answers(&world.front).await,
            Self::PrimaryLost => answers(&world.proxy).await,
            Self::Partition => answers(&world.alone).await,
        }
    }

    /// Takes away what the fault left behind, so that the next run begins on a sound host.
    pub async fn clear(self, world: &mut World) {
        match self {
            Self::PrimaryLost => {
                world.primary.signal(Signal::CONT);
                link(&world.files.join("upstream"), &world.files.join("upstreams/primary"));
            }
            Self::Partition => {
                world.mended.stack.nats.signal(Signal::CONT);
                world.mended.stack.healthy(SOON).await;
            }
            Self::DiskFull | Self::InodesGone => {
                let _ = std::fs::remove_file(world.files.join("disk/trial"));
            }
            _ => {}
        }
    }
}

async fn answers(service: &Service) -> bool {
    service.get("/health").await.is_ok_and(|status| status == 200)
}

/// Writes log files until there is no more room.
fn fill(directory: &Path, bytes: usize, most: usize) {
    for number in 0..most {
        let path = directory.join(format!("{number}.log"));
        if std::fs::write(path, vec![0; bytes]).is_err() {
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
