//! Sampling: reads the kernel's files at the agent's rate and hands rows to the frame builder.
//!
//! One thread does all of it. Files stay open and are read with `pread` into one reused buffer; a
//! file whose bytes did not change is not parsed again; keys are looked up once and then only
//! verified. Parsers take bytes and know neither files nor clocks. Nothing here knows the network.

mod budget;
mod engine;
mod figures;
mod gap;
mod scan_thread;
mod settings;

pub use budget::{Budget, Mode};
pub use engine::{SampleError, Sampler, ScanClock, ScanReport};
pub use figures::{Figure, Figures};
pub use gap::{GapCause, GapCounts};
pub use scan_thread::{run_scan_thread, Identity};
pub use settings::{FamilyOverride, SamplerSettings};
