//! The threads that wait on the engine, so that no thread of the runtime ever does.
//!
//! A fixed number, started at once, each with the 8 MiB stack that the engine's recursive parsers
//! expect. Callers hold a permit before they submit, so the queue never holds more jobs than threads.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::errors::EngineError;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the threads; they end when the last handle is gone and the queue is empty.
#[derive(Clone)]
pub(crate) struct Workers {
    sender: Sender<Job>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(count: usize) -> Result<Self, EngineError> {
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..count {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("engine-{number}"))
                .stack_size(8 << 20)
                .spawn(move || {
                    while let Some(job) = next(&receiver) {
                        run(job);
                    }
                })
                .map_err(|source| EngineError::Threads { source })?;
        }
        Ok(Self { sender })
    }

    /// Runs `job` on the next free thread.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        // The receiver lives as long as any thread, and a thread ends only when the sender is gone.
        let _ = self.sender.send(Box::new(job));
    }
}

/// A panic ends its request (whose ends it drops), not the thread.
fn run(job: Job) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        tracing::error!("a statement panicked; its request was dropped");
    }
}

fn next(receiver: &Mutex<Receiver<Job>>) -> Option<Job> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
