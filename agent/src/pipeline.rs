//! The rooms in order: the scan thread seals frames, the spool keeps them, the publisher sends them,
//! and the collector's word lets them go. Starts them, waits, and stops them in the same order, so
//! that the last frame is kept and, if anybody listens, sent.

mod acting;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::FrameBuilder;
use tokio::sync::{oneshot, watch};

use self::acting::{Acting, Components};
use crate::check;
use crate::config::{ActSettings, Settings};
use crate::handoff::{ActionCounts, ComponentView, Figures, FrameQueue, ReadRequest, SpoolHandle};
use crate::host_file::{self, HostFileError};
use crate::publish::{PublishError, Publisher};
use crate::sample::{run_scan_thread, Identity, SampleError, Sampler};
use crate::spool::{Recovery, Spool, SpoolError, SpoolThread};
use crate::supervise::{self, SuperviseError};
use crate::telemetry::{exposition, MetricsListener, TelemetryError};

/// How long a closing agent goes on sending.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);
/// How long a closing agent waits for the spool to take the last frame.
const SPOOL_PATIENCE: Duration = Duration::from_secs(2);

/// An agent that cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The publisher.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The sampler.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The metrics page.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The host's file of components.
    #[error(transparent)]
    HostFile(#[from] HostFileError),
    /// The supervisor.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// The scan thread did not start.
    #[error("the scan thread could not be started: {cause}; raise the limit of threads for this user")]
    Thread {
        /// What the system said.
        cause: std::io::Error,
    },
    /// The scan thread panicked.
    #[error("the scan thread has panicked; this is a fault of the agent, please report it with the log")]
    ScanPanicked,
}

/// Runs an agent until `stop` is ready; must be called on a Tokio runtime.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), PipelineError> {
    let figures = Arc::new(Figures::default());
    figures.spool_quota_bytes.set(settings.spool.quota);
    let listener = match settings.metrics {
        Some(address) => Some(MetricsListener::bind(address).await?),
        None => None,
    };
    let mut sampler = Sampler::open(settings.sample.clone(), catalogue())?;
    let (mut spool, recovery) = Spool::open(settings.spool.clone(), &settings.agent)?;
    log_recovery(&settings, &recovery, &spool);
    let identity = Identity {
        agent: settings.agent.clone(),
        boot: spool.boot(),
        // The spool gives the real numbers; the scan thread's only count along.
        first_seq: spool.counters().last_seq + 1,
    };
    let resume_at = spool.resume_at();
    let (spool_thread, frames, handle) = SpoolThread::start(spool, figures.clone())?;
    let publisher = Publisher::start(
        settings.nats.clone(),
        &settings.agent,
        &recovery.agents,
        handle.clone(),
        resume_at,
        figures.clone(),
    )
    .await?;
    let components = components(&settings.act)?;
    let view = ComponentView::new(components.states.clone(), components.counts.clone());
    sampler.show_components(view, catalogue());
    let state_dir = &settings.act.state_dir;
    let acting = Acting::start(&settings.agent, state_dir, components, publisher.client(), publisher.heard());
    if let Some(listener) = listener {
        tracing::info!(address = %listener.address(), "metrics are served");
        let (agent, figures, times) = (settings.agent.clone(), figures.clone(), publisher.ack_times());
        tokio::spawn(listener.serve(move || exposition(&agent, &figures, &times)));
    }
    let scanning = Scanning::start(sampler, identity, figures, frames)?;
    let ended = drive(publisher, scanning, &handle, stop).await;
    acting.stop().await;
    spool_thread.close();
    tracing::info!("stopped");
    ended
}

/// Starts what looks after the components that the host's file declares; without a file that is nothing,
/// until there is one.
fn components(settings: &ActSettings) -> Result<Components, PipelineError> {
    let file = host_file::follow(settings.file.clone())?;
    let (supervisor, supervised) = supervise::start(&settings.state_dir, file.clone())?;
    let states = check::start(file.clone(), supervised);
    Ok(Components { file, states, supervisor, counts: ActionCounts::default() })
}

fn log_recovery(settings: &Settings, recovery: &Recovery, spool: &Spool) {
    tracing::info!(
        agent = settings.agent,
        dir = %settings.spool.dir.display(),
        boot = format!("{:016x}", spool.boot()),
        next_seq = spool.counters().last_seq + 1,
        frames = spool.counters().frames,
        new_boot = recovery.new_boot,
        "the spool is open"
    );
    if recovery.damaged_bytes > 0 || recovery.lost_frames > 0 {
        tracing::warn!(
            damaged_bytes = recovery.damaged_bytes,
            lost_frames = recovery.lost_frames,
            "the spool is damaged; what is lost is reported to the ledger"
        );
    }
}

/// Publishes until told to stop or the scan thread ends, then closes in order.
async fn drive(
    publisher: Publisher,
    mut scanning: Scanning,
    handle: &SpoolHandle,
    stop: impl Future<Output = ()>,
) -> Result<(), PipelineError> {
    let (finish, finishing) = watch::channel(false);
    let publishing = publisher.run(finishing, FLUSH_PATIENCE);
    tokio::pin!(publishing, stop);
    let early = tokio::select! {
        () = &mut stop => None,
        _ = &mut scanning.ended => None,
        ended = &mut publishing => Some(ended),
    };
    tracing::info!("stopping: the last frame is sealed, kept and sent");
    let scanned = scanning.stop();
    let published = match early {
        Some(ended) => ended,
        None => {
            // An answer means that every frame before the question is kept.
            let request = ReadRequest { from: u64::MAX, to: u64::MAX, frames: 0, bytes: 0 };
            let settled = async {
                if let Some(reply) = handle.read(request) {
                    let _ = tokio::time::timeout(SPOOL_PATIENCE, reply).await;
                }
                let _ = finish.send(true);
            };
            let (published, ()) = tokio::join!(publishing, settled);
            published
        }
    };
    scanned?;
    Ok(published?)
}

/// The scan thread.
struct Scanning {
    thread: JoinHandle<Result<(), SampleError>>,
    stop: Arc<AtomicBool>,
    /// Ready when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Scanning {
    fn start(
        sampler: Sampler,
        identity: Identity,
        figures: Arc<Figures>,
        frames: FrameQueue,
    ) -> Result<Self, PipelineError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (alive, ended) = oneshot::channel();
        let flag = stop.clone();
        let thread = std::thread::Builder::new()
            .name("scan".into())
            .spawn(move || {
                // Dropped when the thread ends, however it does.
                let _alive: oneshot::Sender<()> = alive;
                let builder = FrameBuilder::new(catalogue());
                run_scan_thread(sampler, builder, identity, &figures, &flag, |header, bytes| {
                    if !frames.offer(header, bytes) {
                        figures.queue_drops.add(1);
                    }
                })
            })
            .map_err(|cause| PipelineError::Thread { cause })?;
        Ok(Self { thread, stop, ended })
    }

    /// Stops the thread and waits for its last frame; it looks at its flag several times a second.
    fn stop(self) -> Result<(), PipelineError> {
        self.stop.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(PipelineError::ScanPanicked),
        }
    }
}
