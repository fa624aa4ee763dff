//! How long to wait before a part that died is started again. Pure: how long it ran comes in.

use std::time::Duration;

/// The wait after the first death. Short: most deaths are single.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait. A part that cannot start costs one try in this time.
const LONGEST: Duration = Duration::from_secs(10);
/// A part that ran this long is well: its next death counts as the first.
const STABLE: Duration = Duration::from_secs(30);

/// The waits double from death to death, up to a cap, and begin anew after a stable run.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The wait after a run of this length.
    pub(crate) fn after(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= STABLE {
            self.deaths = 0;
        }
        let wait = FIRST.saturating_mul(1u32.checked_shl(self.deaths).unwrap_or(u32::MAX)).min(LONGEST);
        self.deaths = self.deaths.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_begin_anew_after_a_stable_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<u128> = (0..9).map(|_| backoff.after(short).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        for _ in 0..100 {
            assert!(backoff.after(short) <= LONGEST);
        }
        assert_eq!(backoff.after(STABLE), FIRST);
        assert_eq!(backoff.after(short), FIRST * 2);
    }
}
