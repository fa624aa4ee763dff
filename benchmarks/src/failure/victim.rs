//! The processes of benchmark 12: each uses up something real until it fails, or only looks as if it would.
//! It ends by itself: with code 1 and `failed SECONDS` on its output when what it needs could not be had,
//! with code 0 when its time is over.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use rustix::thread::{nanosleep, sched_setaffinity, CpuSet, Timespec};

/// What a victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Keeps taking memory until its declared limit.
    Leak,
    /// Keeps opening descriptors until EMFILE.
    Descriptors,
    /// Keeps writing until its file system has no room.
    Disk,
    /// Gets ever less of its CPU until its checks are late.
    Starvation,
    /// Takes memory fast, then less and less, and stays below its limit.
    Cache,
    /// Takes memory in steps and gives it all back, again and again.
    Job,
    /// Opens descriptors up to a number and keeps them.
    Pool,
    /// Fills its file system up to a share and deletes, again and again.
    Log,
}

impl Kind {
    /// Those that end in failure.
    pub(crate) const FAULTS: [Self; 4] = [Self::Leak, Self::Descriptors, Self::Disk, Self::Starvation];
    /// Those that do not.
    pub(crate) const HARMLESS: [Self; 4] = [Self::Cache, Self::Job, Self::Pool, Self::Log];

    /// How it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Descriptors => "descriptors",
            Self::Disk => "disk",
            Self::Starvation => "starvation",
            Self::Cache => "cache",
            Self::Job => "job",
            Self::Pool => "pool",
            Self::Log => "log",
        }
    }
}

/// How a victim lives.
#[derive(Debug, Clone, Args)]
pub(crate) struct Life {
    /// What it does.
    #[arg(long)]
    pub(crate) kind: Kind,
    /// Seconds until it is to fail, or the period of what it repeats.
    #[arg(long)]
    pub(crate) life_s: f64,
    /// Seconds after which it ends in any case.
    #[arg(long)]
    pub(crate) most_s: f64,
    /// How the use grows: share of the life to this power.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) bend: f64,
    /// Its limit: bytes of memory, or share of the limit that it stops at.
    #[arg(long)]
    pub(crate) limit: f64,
    /// Directory it writes into.
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

/// How often it does something.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// What it has from the beginning, in seconds before anything grows.
const WARM_UP_S: f64 = 8.0;
/// Memory it takes in pieces of.
const PIECE: usize = 256 << 10;
/// The usual soft limit of descriptors.
const DESCRIPTORS: u64 = 1024;
/// Work of one check while it has its CPU, and how late it may be, three times in a row.
const CHECK: Duration = Duration::from_millis(12);
const LATE: Duration = Duration::from_millis(75);

/// What it holds.
#[derive(Default)]
struct Held {
    memory: Vec<Vec<u8>>,
    files: Vec<File>,
    ballast: Option<File>,
    written: u64,
    spinners: usize,
    late: u32,
    work: u64,
}

/// Lives; `true` if it failed.
pub(crate) fn live(life: &Life) -> anyhow::Result<bool> {
    let lower = |resource: Resource, soft: f64| {
        setrlimit(resource, Rlimit { current: Some(soft as u64), maximum: getrlimit(resource).maximum })
    };
    match life.kind {
        // Declared for whoever looks; the process itself sees to it, as the kernel does not.
        Kind::Leak | Kind::Cache | Kind::Job => lower(Resource::Rss, life.limit)?,
        Kind::Descriptors | Kind::Pool => lower(Resource::Nofile, DESCRIPTORS as f64)?,
        Kind::Disk | Kind::Log | Kind::Starvation => {}
    }
    let mut held = Held::default();
    if life.kind == Kind::Starvation {
        let mut cpus = CpuSet::new();
        cpus.set(0);
        sched_setaffinity(None, &cpus)?;
        held.work = calibrate();
    }
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < life.most_s {
        let grown = (began.elapsed().as_secs_f64() - WARM_UP_S).max(0.0) / life.life_s;
        if !step(life, grown, &mut held) {
            let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
            writeln!(std::io::stdout(), "failed {at:.3}")?;
            return Ok(true);
        }
        let _ = nanosleep(&TICK);
    }
    Ok(false)
}

/// Does what is due when so many lives have passed; `false` when it could not be had.
fn step(life: &Life, grown: f64, held: &mut Held) -> bool {
    let rising = grown.powf(life.bend);
    match life.kind {
        Kind::Leak => memory(held, 1.05 * rising * life.limit, life.limit),
        Kind::Cache => memory(held, 0.7 * life.limit * (1.0 - (-3.0 * grown).exp()), life.limit),
        Kind::Job => memory(held, 0.6 * life.limit * (2.0 * grown.fract() - 1.0).max(0.0), life.limit),
        Kind::Descriptors => descriptors(held, 1.05 * rising * DESCRIPTORS as f64),
        Kind::Pool => descriptors(held, (rising * DESCRIPTORS as f64).min(0.5 * DESCRIPTORS as f64)),
        Kind::Disk => written(held, life, 1.05 * rising * life.limit),
        Kind::Log => written(held, life, 0.7 * life.limit * grown.fract()),
        Kind::Starvation => starved(held, rising),
    }
}

fn memory(held: &mut Held, wanted: f64, limit: f64) -> bool {
    let pieces = (wanted / PIECE as f64) as usize;
    held.memory.truncate(pieces);
    while held.memory.len() < pieces {
        if ((held.memory.len() + 1) * PIECE) as f64 > limit {
            return false;
        }
        // Written to, so that it is resident.
        held.memory.push(vec![1; PIECE]);
    }
    true
}

fn descriptors(held: &mut Held, wanted: f64) -> bool {
    while (held.files.len() as f64) < wanted {
        match File::open("/dev/null") {
            Ok(file) => held.files.push(file),
            Err(_) => return false,
        }
    }
    true
}

fn written(held: &mut Held, life: &Life, wanted: f64) -> bool {
    let Some(directory) = &life.directory else { return true };
    if (wanted as u64) < held.written {
        (held.ballast, held.written) = (None, 0);
    }
    if held.ballast.is_none() {
        held.ballast = File::create(directory.join("ballast")).ok();
    }
    let Some(file) = &mut held.ballast else { return false };
    while held.written + 16_384 <= wanted as u64 {
        if file.write_all(&[7; 16_384]).is_err() {
            return false;
        }
        held.written += 16_384;
    }
    true
}

/// More and more threads spin on the one CPU that the check needs.
fn starved(held: &mut Held, rising: f64) -> bool {
    let wanted = (rising * 9.0) as usize;
    while held.spinners < wanted {
        held.spinners += 1;
        std::thread::spawn(|| loop {
            spin(u64::MAX);
        });
    }
    let began = Instant::now();
    spin(held.work);
    held.late = if began.elapsed() > LATE { held.late + 1 } else { 0 };
    held.late < 3
}

fn spin(work: u64) {
    for at in 0..work {
        std::hint::black_box(at);
    }
}

/// Work that takes the time of a check when nobody disturbs it: the best of some tries.
fn calibrate() -> u64 {
    const TRY: u64 = 1_000_000;
    let best = (0..20).map(|_| {
        let began = Instant::now();
        spin(TRY);
        began.elapsed()
    });
    let best = best.min().unwrap_or(CHECK).max(Duration::from_nanos(1));
    (TRY as f64 * CHECK.as_secs_f64() / best.as_secs_f64()) as u64
}
