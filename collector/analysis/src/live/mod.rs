//! One host as the collector watches it: everything that is remembered of it, and what one more second
//! says.
//!
//! Thousands of series are judged each by itself ([`series`]), but none of them reports: their surprises
//! go to the host's panel, which reports about once in two days when nothing is wrong. Beside it some
//! fifty features of the whole host ([`features`]) go to the host detector, whose alarms pass a gate of the
//! same kind ([`Gate`](crate::detect::host::Gate)); and a sudden change of them, or of what a program takes ([`programs`]), is told in its second
//! ([`Surge`](crate::detect::host::Surge)), also of a host too young for the others. What they report within a minute is one incident ([`incident`]); when it is some
//! seconds old, what moved together in it is said. Every ten seconds the facts of the last minute
//! ([`facts`]) become a health score. `docs/decisions/0007-what-is-judged.md` has the reasons.
//!
//! A watch is data: it serialises, and a restored one goes on with the clock of what comes next.

mod choice;
mod claims;
mod config;
mod facts;
mod features;
mod findings;
mod incident;
mod look;
mod outlooks;
mod programs;
mod recent;
mod series;
mod settings;
mod told;
mod watch;

pub use choice::judged;
pub use claims::Claims;
pub use config::{LiveConfig, Plan};
pub use features::Features;
pub use findings::{AnomalyKind, AnomalyRow, Findings, HealthRow, Named};
pub use outlooks::Outlooks;
pub use recent::RecentRow;
pub use settings::{Analysis, AnalysisError, RawAnalysis};
pub use watch::{HostWatch, Recent};

/// Raised when what a watch remembers is laid out anew: older snapshots are then of no use.
pub const WATCH_VERSION: u32 = 5;
