//! File work on threads of its own. A call of the system that hangs (a file system that is away, a disk that dies)
//! cannot be ended from outside: at its time limit an action is over for whoever waits for it, and its thread is told
//! to stop and may go on for as long as the call takes. So it is known how many threads of an action still run, and
//! its component stays busy until the last of them has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use tokio::sync::watch;

use super::{Ran, Report};

/// Set when an action's time is over; file work looks at it between two files, and before it changes anything.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once the time is over: nobody waits for the work any more, so nothing is changed by it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_set() {
            return Err("the action's time was over before anything was changed".to_owned());
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets the stop when the future that waits for the work is dropped.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0 .0.store(true, Ordering::Relaxed);
    }
}

/// The threads of one action that have not ended. Clones count together.
#[derive(Debug, Clone)]
pub(in crate::act) struct Threads(watch::Sender<usize>);

impl Threads {
    /// None yet.
    pub(in crate::act) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Whether all have ended.
    pub(in crate::act) fn have_ended(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until all have ended.
    pub(in crate::act) async fn end(self) {
        // The sender is here, so that it cannot be gone.
        let mut seen = self.0.subscribe();
        let _ = seen.wait_for(|running| *running == 0).await;
    }

    fn begin(&self) -> Begun {
        self.0.send_modify(|running| *running += 1);
        Begun(self.0.clone())
    }
}

/// A thread that is counted until it is dropped.
struct Begun(watch::Sender<usize>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// File work on a thread of its own, told to stop when nobody waits for it any more.
pub(super) async fn in_thread(
    threads: &Threads,
    work: impl FnOnce(Stop) -> Result<Report, String> + Send + 'static,
) -> Ran {
    let stop = Stop::default();
    let guard = StopOnDrop(stop.clone());
    let begun = threads.begin();
    let done = tokio::task::spawn_blocking(move || {
        // Ends with the closure, also when the work panics or the thread is never begun.
        let _begun = begun;
        // It may have waited for a thread longer than it had time.
        stop.check()?;
        work(stop)
    })
    .await;
    drop(guard);
    match done {
        Ok(done) => Ok(done?),
        Err(_) => Err("the action's thread has panicked; please report it with the log".to_owned().into()),
    }
}
