//! The thread that owns the spool: takes frames off the queue, serves the publisher's reads, and
//! lets the publisher know when there is something new. A disk that hangs stops this thread and
//! nobody else. It sleeps until there is work; only a disk in trouble is tried on a timer.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::{Spool, SpoolError};
use crate::handoff::{queue, Announcer, Figures, FrameQueue, SpoolCommand, SpoolHandle, SpoolInbox};

/// The running thread.
#[derive(Debug)]
pub struct SpoolThread {
    thread: JoinHandle<()>,
    handle: SpoolHandle,
}

impl SpoolThread {
    /// Starts the thread around an open spool.
    pub fn start(spool: Spool, figures: Arc<Figures>) -> Result<(Self, FrameQueue, SpoolHandle), SpoolError> {
        let (frames, handle, inbox, views) = queue(spool.view());
        let worker = Worker { spool, inbox, views, figures };
        let thread = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || worker.run())
            .map_err(|cause| SpoolError::Thread { cause })?;
        Ok((Self { thread, handle: handle.clone() }, frames, handle))
    }

    /// Keeps what is queued, writes the state down and waits for the thread to end.
    pub fn close(self) {
        self.handle.close();
        if self.thread.join().is_err() {
            tracing::error!("the spool's thread has panicked; its last frames may be missing");
        }
    }
}

struct Worker {
    spool: Spool,
    inbox: SpoolInbox,
    views: Announcer,
    figures: Arc<Figures>,
}

impl Worker {
    fn run(mut self) {
        self.tell();
        loop {
            let command = match self.spool.retry_at() {
                None => self.inbox.commands().recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => {
                    let patience = at.saturating_duration_since(Instant::now());
                    self.inbox.commands().recv_timeout(patience)
                }
            };
            let now = Instant::now();
            match command {
                Ok(SpoolCommand::Frame(bytes)) => self.take_frame(bytes, now),
                Ok(SpoolCommand::Read(request, reply)) => {
                    reply.send(self.spool.read(request, now));
                }
                Ok(SpoolCommand::Confirm(stored)) => self.spool.confirm(stored),
                Ok(SpoolCommand::Published(index)) => self.spool.published(index),
                Err(RecvTimeoutError::Timeout) => self.spool.retry(now),
                Ok(SpoolCommand::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.spool.note_overflow(self.inbox.take_overflow(), now);
            self.tell();
        }
        while let Ok(command) = self.inbox.commands().try_recv() {
            if let SpoolCommand::Frame(bytes) = command {
                self.take_frame(bytes, Instant::now());
            }
        }
        self.spool.note_overflow(self.inbox.take_overflow(), Instant::now());
        self.spool.close();
        self.tell();
    }

    fn take_frame(&mut self, bytes: Vec<u8>, now: Instant) {
        self.inbox.taken(bytes.len());
        if !self.spool.append(bytes, now) {
            tracing::error!("a sealed frame is not a frame; it was left out of the spool");
        }
    }

    fn tell(&self) {
        let counters = self.spool.counters();
        self.figures.spool_frames.set(counters.frames);
        self.figures.spool_bytes.set(counters.bytes);
        self.figures.spool_errors.set(counters.errors);
        self.figures.dropped_frames.set(counters.dropped_frames);
        self.figures.dropped_samples.set(counters.dropped_samples);
        self.figures.stored_seq.set(counters.stored_seq);
        self.figures.last_seq.set(counters.last_seq);
        self.views.announce(self.spool.view());
    }
}
