//! What passes between publishing and acting: when the collector was last heard of. The publisher hears it
//! with every confirmation; the agent's own rules ask whether they are alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When the collector last said anything. Before its first word it counts as heard at the agent's start.
#[derive(Debug, Clone)]
pub struct CollectorHeard {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl CollectorHeard {
    /// From now on.
    pub fn new(start: Instant) -> Self {
        Self { start, last_ms: Arc::default() }
    }

    /// It spoke.
    pub fn note(&self, now: Instant) {
        let since = now.saturating_duration_since(self.start).as_millis();
        self.last_ms.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long it has been silent.
    pub fn silent_for(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.start).saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_the_last_word() {
        let start = Instant::now();
        let heard = CollectorHeard::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(heard.silent_for(at(5)), Duration::from_secs(5));
        heard.clone().note(at(7));
        heard.note(at(3));
        assert_eq!(heard.silent_for(at(9)), Duration::from_secs(2));
        assert_eq!(heard.silent_for(at(1)), Duration::ZERO);
    }
}
