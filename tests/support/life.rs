//! What this process itself can make odd on a host, however busy it is with other things: threads, sockets, memory
//! and a small disk, each swaying a little all the time, as a service's do, until it bursts. Nothing else on
//! the host moves these series as far.

use std::fs::File;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::{mpsc, Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::JoinSet;

use super::faults::SmallDisk;

/// Between two changes while nothing is wrong.
const SWAY: Duration = Duration::from_millis(300);
/// Units held while nothing is wrong.
const USUAL: std::ops::RangeInclusive<usize> = 4..=12;
/// Bytes of a unit of memory and of disk.
const UNIT: usize = 1 << 20;
/// Size of the disk in units.
const DISK_UNITS: usize = 96;

/// What is held.
#[derive(Debug)]
enum Held {
    Threads(Vec<(mpsc::Sender<()>, JoinHandle<()>)>),
    Sockets(Vec<UdpSocket>),
    Memory(Vec<Vec<u8>>),
    Disk { ballast: PathBuf, _mounted: SmallDisk },
}

/// One kind of thing that is held.
#[derive(Debug)]
struct Life {
    held: Held,
    /// Held in a burst.
    burst: usize,
    bursting: bool,
    /// Which anomalies are about it, as a condition of SQL.
    about: String,
}

/// All kinds, swaying until this is dropped.
#[derive(Debug)]
pub struct Lives {
    lives: Arc<Mutex<Vec<Life>>>,
    // Ends with this.
    _sway: JoinSet<()>,
}

impl Held {
    fn set(&mut self, units: usize) {
        match self {
            Self::Threads(threads) => {
                while threads.len() > units {
                    if let Some((stop, thread)) = threads.pop() {
                        drop(stop);
                        thread.join().expect("it only waits");
                    }
                }
                while threads.len() < units {
                    let (stop, stopped) = mpsc::channel();
                    // It ends when the other end is dropped.
                    let wait = move || {
                        let _ = stopped.recv();
                    };
                    threads.push((stop, std::thread::spawn(wait)));
                }
            }
            Self::Sockets(sockets) => {
                sockets.truncate(units);
                // As many as this user may have.
                let more = (sockets.len()..units).map_while(|_| UdpSocket::bind("127.0.0.1:0").ok());
                sockets.extend(more.collect::<Vec<_>>());
            }
            Self::Memory(pieces) => {
                pieces.truncate(units);
                pieces.extend((pieces.len()..units).map(|_| vec![7; UNIT]));
            }
            Self::Disk { ballast, .. } => {
                let mut file = File::create(ballast).expect("the disk is there");
                for _ in 0..units {
                    file.write_all(&vec![7; UNIT]).expect("it is not full");
                }
            }
        }
    }
}

impl Lives {
    /// Threads, sockets and memory of this process, and, where this user may mount one, a disk at `disk`.
    #[must_use]
    pub fn begin(disk: &Path) -> Self {
        let own = format!("series LIKE '%pid={},%'", std::process::id());
        let of = |metrics: &str| format!("{own} OR family || '.' || metric IN ({metrics})");
        let life = |held, burst, about| Life { held, burst, bursting: false, about };
        let mut lives = vec![
            life(Held::Threads(Vec::new()), 500, of("'load.tasks', 'memory.kernel_stack_bytes'")),
            life(
                Held::Sockets(Vec::new()),
                700,
                of("'net_stack.udp_sockets', 'net_stack.sockets_used', 'load.open_files'"),
            ),
            life(
                Held::Memory(Vec::new()),
                200,
                of("'memory.anon_pages_bytes', 'memory.active_anon_bytes', 'memory.inactive_anon_bytes'"),
            ),
        ];
        if let Some(mounted) = SmallDisk::at(disk, &format!("{DISK_UNITS}m")) {
            let about = format!("series LIKE '%mount={}}}' OR series = 'memory.shmem_bytes'", disk.display());
            lives.push(life(
                Held::Disk { ballast: disk.join("ballast"), _mounted: mounted },
                DISK_UNITS - 2,
                about,
            ));
        }
        let lives = Arc::new(Mutex::new(lives));
        let mut sway = JoinSet::new();
        sway.spawn(Self::sway(Arc::downgrade(&lives)));
        Self { lives, _sway: sway }
    }

    async fn sway(lives: Weak<Mutex<Vec<Life>>>) {
        let mut ticks = tokio::time::interval(SWAY);
        loop {
            ticks.tick().await;
            let Some(lives) = lives.upgrade() else { return };
            let mut lives = lives.lock().unwrap_or_else(PoisonError::into_inner);
            for life in lives.iter_mut().filter(|life| !life.bursting) {
                life.held.set(rand::random_range(USUAL));
            }
        }
    }

    /// How many kinds there are.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Lets these kinds burst, all at once; gives which anomalies are about them, as a condition of SQL.
    pub fn burst(&self, kinds: std::ops::Range<usize>) -> String {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let about = lives[kinds].iter_mut().map(|life| {
            life.bursting = true;
            life.held.set(life.burst);
            format!("({})", life.about)
        });
        about.collect::<Vec<_>>().join(" OR ")
    }

    /// Lets all sway again.
    pub fn calm(&self) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.iter_mut().for_each(|life| life.bursting = false);
    }
}
