//! What passes between the agent's rooms, and nothing else: the scan thread puts sealed frames on a
//! bounded queue, the spool's thread takes them off and serves the publisher, and the publisher
//! hands the collector's confirmations back.
//!
//! Every queue here is bounded and nobody waits for room: a frame that does not fit is counted to
//! the sample and later reported to the ledger; a request that does not fit is asked again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fettle_shared::frame::{AgentName, Header};
use fettle_shared::subjects::Stored;
use tokio::sync::{oneshot, watch};

mod components;
mod orders;

pub use crate::sample::{Figure, Figures};
pub use components::*;
pub use orders::CollectorHeard;

/// Commands that may wait for the spool's thread.
const COMMANDS: usize = 512;
/// Frame bytes that may wait for the spool's thread: what a disk that hangs costs in memory.
const QUEUED_BYTES: usize = 4 << 20;

/// What the spool's thread is asked to do.
#[derive(Debug)]
pub enum SpoolCommand {
    /// Number this sealed frame and keep it.
    Frame(Vec<u8>),
    /// Read unconfirmed frames.
    Read(ReadRequest, Reply),
    /// The collector has these.
    Confirm(Stored),
    /// NATS has acknowledged everything up to this index.
    Published(u64),
    /// Keep what is queued, write the state down and end.
    Close,
}

/// Where the frames that were read go.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Batch>);

impl Reply {
    /// Hands them over; a publisher that has gone away wants no answer.
    pub fn send(self, batch: Batch) {
        let _ = self.0.send(batch);
    }
}

/// Which frames the publisher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// First index.
    pub from: u64,
    /// Last index.
    pub to: u64,
    /// Most frames.
    pub frames: usize,
    /// Most bytes, but always at least one frame.
    pub bytes: usize,
}

/// Frames read, ascending by index.
#[derive(Debug, Default)]
pub struct Batch {
    /// The frames; confirmed ones are left out.
    pub frames: Vec<Outgoing>,
    /// Where to read on: every index before it was delivered here or needs no sending.
    pub next: u64,
}

/// A frame on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its place in the spool, ascending; means nothing after a restart.
    pub index: u64,
    /// Whose frame it is: the agent may have had another name.
    pub agent: AgentName,
    /// Boot it is numbered in.
    pub boot: u64,
    /// Its sequence number.
    pub seq: u64,
    /// The sealed frame.
    pub bytes: Bytes,
}

/// What the spool holds, for the publisher to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolView {
    /// Index of the oldest frame not confirmed, or one past the newest.
    pub oldest: u64,
    /// One past the newest frame that may be published.
    pub end: u64,
}

/// Frames that found no room in the queue, to be reported to the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Frames.
    pub frames: u64,
    /// Their rows.
    pub rows: u64,
    /// Their samples.
    pub samples: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    overflow: Mutex<Overflow>,
}

/// The scan thread's end: gives frames away without ever waiting.
#[derive(Debug, Clone)]
pub struct FrameQueue {
    commands: SyncSender<SpoolCommand>,
    shared: Arc<Shared>,
}

impl FrameQueue {
    /// Queues a copy of a sealed frame. `false`: there was no room, and the loss is on record.
    pub fn offer(&self, header: &Header, bytes: &[u8]) -> bool {
        let queued = self.shared.queued_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        let fits = queued + bytes.len() <= QUEUED_BYTES
            && self.commands.try_send(SpoolCommand::Frame(bytes.to_vec())).is_ok();
        if !fits {
            self.shared.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
            let mut overflow = self.shared.overflow.lock().unwrap_or_else(PoisonError::into_inner);
            overflow.frames += 1;
            overflow.rows += u64::from(header.rows);
            overflow.samples += header.samples;
        }
        fits
    }
}

/// The publisher's end.
#[derive(Debug, Clone)]
pub struct SpoolHandle {
    commands: SyncSender<SpoolCommand>,
    view: watch::Receiver<SpoolView>,
}

impl SpoolHandle {
    /// Asks for frames; `None` when the spool's thread is behind (ask again a little later).
    pub fn read(&self, request: ReadRequest) -> Option<oneshot::Receiver<Batch>> {
        let (sender, receiver) = oneshot::channel();
        self.commands.try_send(SpoolCommand::Read(request, Reply(sender))).ok()?;
        Some(receiver)
    }

    /// Passes on the collector's word. A word that finds no room is said again by the next one.
    pub fn confirm(&self, stored: Stored) {
        let _ = self.commands.try_send(SpoolCommand::Confirm(stored));
    }

    /// Says how far NATS has acknowledged, so that a restart does not send it all again.
    pub fn published(&self, index: u64) {
        let _ = self.commands.try_send(SpoolCommand::Published(index));
    }

    /// What the spool holds, and a way to wait for it to change.
    pub fn view(&self) -> watch::Receiver<SpoolView> {
        self.view.clone()
    }

    /// Tells the spool's thread to keep what is queued and end; it is waited for by joining it.
    /// Unlike everything else here this may wait, so it is for a closing agent only.
    pub fn close(&self) {
        let _ = self.commands.send(SpoolCommand::Close);
    }
}

/// The spool's end.
#[derive(Debug)]
pub struct SpoolInbox {
    commands: Receiver<SpoolCommand>,
    shared: Arc<Shared>,
}

impl SpoolInbox {
    /// The channel itself.
    pub fn commands(&self) -> &Receiver<SpoolCommand> {
        &self.commands
    }

    /// Says that a frame of this length was taken off the queue.
    pub fn taken(&self, len: usize) {
        self.shared.queued_bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// Takes what has overflowed since the last call.
    pub fn take_overflow(&self) -> Overflow {
        std::mem::take(&mut *self.shared.overflow.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the publisher what the spool holds.
#[derive(Debug)]
pub struct Announcer(watch::Sender<SpoolView>);

impl Announcer {
    /// Says it; whoever waits is woken only if it is news.
    pub fn announce(&self, view: SpoolView) {
        self.0.send_if_modified(|old| {
            let news = *old != view;
            *old = view;
            news
        });
    }
}

/// The ends of the queue around a spool that now holds `view`.
pub fn queue(view: SpoolView) -> (FrameQueue, SpoolHandle, SpoolInbox, Announcer) {
    let (commands, inbox) = sync_channel(COMMANDS);
    let (view_sender, view) = watch::channel(view);
    let shared = Arc::new(Shared::default());
    (
        FrameQueue { commands: commands.clone(), shared: shared.clone() },
        SpoolHandle { commands, view },
        SpoolInbox { commands: inbox, shared },
        Announcer(view_sender),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;
    use fettle_shared::frame::{FrameBuilder, FrameMeta};

    #[test]
    fn a_spool_that_hangs_costs_bounded_memory_and_every_sample_is_counted() {
        let family = catalogue().family("memory").unwrap();
        let mut builder = FrameBuilder::new(catalogue());
        let slot = builder.add_entity(family.id, &[]);
        builder.begin_scan(family.id, 1);
        builder.push(family.id, slot, &vec![1; family.metrics.len()]);
        let mut bytes = Vec::new();
        let header = builder.seal(&FrameMeta { agent: "a", boot: 1, seq: 1 }, &mut bytes);
        let (frames, handle, inbox, _views) = queue(SpoolView { oldest: 0, end: 0 });
        let taken = (0..2 * COMMANDS).filter(|_| frames.offer(&header, &bytes)).count();
        assert_eq!(taken, COMMANDS, "small frames are bounded by their number");
        assert!(handle.read(ReadRequest { from: 0, to: 1, frames: 1, bytes: 1 }).is_none(), "nobody waits");
        let lost = (2 * COMMANDS - taken) as u64;
        let overflow =
            Overflow { frames: lost, rows: lost * u64::from(header.rows), samples: lost * header.samples };
        assert_eq!((inbox.take_overflow(), inbox.take_overflow()), (overflow, Overflow::default()));

        let (frames, _handle, inbox, _views) = queue(SpoolView { oldest: 0, end: 0 });
        let large = vec![0; QUEUED_BYTES / 4];
        assert_eq!((0..10).filter(|_| frames.offer(&header, &large)).count(), 4, "large ones by their bytes");
        assert!(inbox.commands().try_recv().is_ok());
        inbox.taken(large.len());
        assert!(frames.offer(&header, &large), "what is taken makes room");
    }
}
