//! The scan thread: a timer, the sampler, and a sealed frame at every turn of the second.

use std::sync::atomic::AtomicBool;

use fettle_shared::frame::{FrameBuilder, Header};

use super::{Figures, SampleError, Sampler};

/// Who this agent is and where its sequence continues.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Agent name, `[A-Za-z0-9_-]{1,64}`.
    pub agent: String,
    /// Number of this run of the agent, greater than that of every earlier run.
    pub boot: u64,
    /// Sequence number of the first frame.
    pub first_seq: u64,
}

/// Scans until `stop` is set, then seals what is left and returns. `deliver` gets every sealed frame
/// on this thread and must not block: hand the bytes to a bounded queue and count what it refuses.
pub fn run_scan_thread(
    _sampler: Sampler,
    _builder: FrameBuilder,
    _identity: Identity,
    _figures: &Figures,
    _stop: &AtomicBool,
    _deliver: impl FnMut(&Header, &[u8]),
) -> Result<(), SampleError> {
    Ok(())
}
