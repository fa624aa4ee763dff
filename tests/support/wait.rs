//! Waiting for a condition, with a deadline. The one place where the tests sleep.

use std::future::Future;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer; fails the test when the deadline passes, with what was seen last.
pub async fn until<T, E, F, Fut>(what: &str, deadline: Duration, mut ask: F) -> T
where
    E: std::fmt::Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + deadline;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(seen) if Instant::now() > end => {
                panic!("{what}: not within {deadline:?}; last seen: {seen:?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// An answer when `holds`, else what was seen.
pub fn when<T: std::fmt::Debug>(seen: T, holds: impl FnOnce(&T) -> bool) -> Result<T, T> {
    if holds(&seen) {
        Ok(seen)
    } else {
        Err(seen)
    }
}
