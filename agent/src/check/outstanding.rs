//! Calls that may hang in the kernel or the resolver: they are made on a thread of their own, and as long as
//! one has not come back no other is begun. So a server that does not answer costs one thread, not one a second.

use tokio::task::JoinHandle;

/// At most one blocking call under way.
#[derive(Debug)]
pub(super) struct Outstanding<T>(Option<JoinHandle<T>>);

impl<T> Default for Outstanding<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Outstanding<T> {
    /// Makes the call, or goes on waiting for the one that is under way. May be dropped while it waits.
    pub(super) async fn call(&mut self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let under_way = self.0.get_or_insert_with(|| tokio::task::spawn_blocking(call));
        let ended = under_way.await;
        self.0 = None;
        ended.map_err(|error| error.to_string())
    }
}
