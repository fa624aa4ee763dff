//! An agent whose samples are made up: the real spool and the real publisher, fed from the tests'
//! plan instead of from /proc, so that every stored value can be proven.
//!
//! It keeps a journal of the slots whose frames the spool has taken: whatever happens afterwards, to
//! whomever, these must be in ClickHouse once. A slot that was sampled and never reached the spool,
//! because the process was killed in between, is not in it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fettle_agent::handoff::{Figures, FrameQueue, SpoolHandle};
use fettle_agent::publish::{NatsSettings, Publisher};
use fettle_agent::spool::{Spool, SpoolSettings, SpoolThread};
use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{FrameBuilder, FrameMeta};
use fettle_tests::plan::{fill, SLOT_US};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;

/// `name value` pairs of the command line.
struct Arguments {
    nats: String,
    agent: String,
    spool: PathBuf,
    journal: PathBuf,
    status: PathBuf,
    /// No more slots are sampled once this file is there.
    stop: PathBuf,
    quota: Option<u64>,
    resend_after: Duration,
}

fn arguments() -> anyhow::Result<Arguments> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let find = |name: &str| given.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    let need = |name: &str| find(name).with_context(|| format!("{name} is missing"));
    let number = |name: &str| find(name).map(|text| text.parse::<u64>()).transpose();
    Ok(Arguments {
        nats: need("--nats")?,
        agent: need("--agent")?,
        spool: need("--spool")?.into(),
        journal: need("--journal")?.into(),
        status: need("--status")?.into(),
        stop: need("--stop")?.into(),
        quota: number("--quota")?,
        resend_after: Duration::from_secs(number("--resend-after")?.unwrap_or(3)),
    })
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    let mut settings = SpoolSettings::at(&arguments.spool);
    settings.quota = arguments.quota.unwrap_or(settings.quota);
    let (mut spool, recovery) = Spool::open(settings, &arguments.agent)?;
    eprintln!("{recovery:?}");
    let resume_at = spool.resume_at();
    let figures = Arc::new(Figures::default());
    let (thread, frames, handle) = SpoolThread::start(spool, figures.clone())?;
    let (produced, sampling) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    let sampler = Sampler {
        journal: OpenOptions::new().create(true).append(true).open(&arguments.journal)?,
        agent: arguments.agent.clone(),
        stop: arguments.stop.clone(),
        frames,
        spool: handle.clone(),
        produced: produced.clone(),
    };
    let samples = sampling.clone();
    std::thread::spawn(move || {
        sampler.run();
        samples.store(false, Ordering::SeqCst);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut nats = NatsSettings::new(&arguments.nats);
        nats.resend_after = arguments.resend_after;
        let publisher = Publisher::start(
            nats,
            &arguments.agent,
            &recovery.agents,
            handle.clone(),
            resume_at,
            figures.clone(),
        )
        .await?;
        let (stop, stopped) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            terminate.recv().await;
            let _ = stop.send(true);
        });
        let status = tell(arguments.status.clone(), handle, figures, produced, sampling);
        tokio::select! {
            outcome = publisher.run(stopped, Duration::from_secs(2)) => outcome.map_err(Into::into),
            failed = status => failed,
        }
    });
    thread.close();
    outcome
}

/// Writes the state of things down, for the test to read.
async fn tell(
    path: PathBuf,
    spool: SpoolHandle,
    figures: Arc<Figures>,
    produced: Arc<AtomicU64>,
    sampling: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let view = spool.view();
    loop {
        tick.tick().await;
        // First: when there is nothing to come, the spool's end is the last.
        let samples = sampling.load(Ordering::SeqCst);
        let seen = *view.borrow();
        let text = serde_json::json!({
            "sampling": samples,
            "produced": produced.load(Ordering::Relaxed),
            "oldest": seen.oldest,
            "end": seen.end,
            "dropped_frames": figures.dropped_frames.get(),
            "dropped_samples": figures.dropped_samples.get(),
            "spool_errors": figures.spool_errors.get(),
        });
        replace(&path, &text.to_string())?;
    }
}

fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, path)?)
}

struct Sampler {
    journal: File,
    agent: String,
    stop: PathBuf,
    frames: FrameQueue,
    spool: SpoolHandle,
    produced: Arc<AtomicU64>,
}

impl Sampler {
    /// Samples each slot once it is over.
    fn run(mut self) {
        let mut builder = FrameBuilder::new(catalogue());
        let mut bytes = Vec::new();
        let mut before = slot_now() - 1;
        while !self.stop.exists() {
            let slot = slot_now() - 1;
            if slot == before {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            before = slot;
            fill(&mut builder, slot);
            let header = builder.seal(&FrameMeta { agent: &self.agent, boot: 0, seq: 1 }, &mut bytes);
            let end = self.spool.view().borrow().end;
            if self.frames.offer(&header, &bytes) && self.is_taken(end) {
                let line = format!("{slot} {} {}\n", header.rows, header.samples);
                self.journal.write_all(line.as_bytes()).expect("the journal's disk has room");
                self.produced.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether the spool has taken what it was offered when it ended at `end`.
    fn is_taken(&self, end: u64) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.spool.view().borrow().end <= end {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

fn slot_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    (now.as_micros() as i64 / SLOT_US) as u64
}
