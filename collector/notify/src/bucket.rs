//! A rate limit: a bucket of tokens that fills evenly. What is critical may borrow as many as it holds.

use std::time::{Duration, Instant};

/// The bucket of one channel. Time comes in with each call.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    size: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// So many a minute, and so many at once.
    pub fn new(per_minute: u32, burst: u32, now: Instant) -> Self {
        let size = f64::from(burst.max(1));
        Self { per_second: f64::from(per_minute.max(1)) / 60.0, size, tokens: size, filled: now }
    }

    /// Takes a token; if there is none, says after how long there will be one.
    pub fn take(&mut self, critical: bool, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.size);
        let floor = if critical { 1.0 - self.size } else { 1.0 };
        if self.tokens >= floor {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((floor - self.tokens) / self.per_second))
    }

    /// Tokens left; negative when some were borrowed.
    pub fn tokens(&self) -> f64 {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_criticals_may_borrow() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, 3, start);
        for _ in 0..3 {
            bucket.take(false, start).unwrap();
        }
        assert_eq!(bucket.take(false, start), Err(Duration::from_secs(1)));
        for _ in 0..3 {
            bucket.take(true, start).unwrap();
        }
        assert!(bucket.take(true, start).is_err());
        assert!(bucket.take(true, start + Duration::from_secs(1)).is_ok());
        assert!(
            bucket.take(false, start + Duration::from_secs(4)).is_err(),
            "first what was borrowed is given back"
        );
        assert!(bucket.take(false, start + Duration::from_secs(5)).is_ok());
    }
}
