//! Sampling: reads the kernel's files at the agent's rate and hands rows to the frame builder.
//!
//! One thread does all of it. Files stay open and are read with `pread` into one reused buffer; a
//! file whose bytes did not change is not parsed again; keys are looked up once and then only
//! verified. Parsers take bytes and know neither files nor clocks. Nothing here knows the network.
//!
//! To read it: `engine.rs` says what happens in a scan, `schedule.rs` when; `source.rs` is what every
//! family's file implements; `file.rs` is how bytes are got; `scan_thread.rs` drives it all.

mod budget;
mod cgroup;
mod cgroup_files;
mod clock;
mod component;
mod disk;
mod engine;
mod entities;
mod figures;
mod file;
mod filesystem;
mod gap;
mod hostwide;
mod interrupts;
mod keyed;
mod keylist;
mod load;
mod net_stack;
mod network;
mod number;
mod own;
mod pressure;
mod process;
mod process_detail;
mod process_stat;
mod scan_thread;
mod schedule;
mod sensor;
mod settings;
mod source;
mod stat;

pub use budget::{Budget, Mode};
pub use engine::{SampleError, Sampler, ScanClock, ScanReport};
pub use figures::{Figure, Figures};
pub use gap::{GapCause, GapCounts};
pub use scan_thread::{run_scan_thread, Identity};
pub use settings::{FamilyOverride, SamplerSettings};
