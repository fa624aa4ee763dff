//! Streaming anomaly detection on one series: constant memory, one set of settings for all.
//!
//! Five views of each point (against the hour of the week, against the hour of the day, short mean
//! against level, size of moves against usual, step between coarse levels) give a statistic each; each
//! is ranked in its own past ([`tail`]); the -log10 of the ranks are added up to the *evidence*. One view
//! alone is often odd by chance; several that agree seldom are. Where the evidence passes
//! [`SeriesConfig::alarm_evidence`] the row is an alarm and further ones are held off for a while: one row
//! an event is enough. A series by itself learns everything, so a level shift that stays becomes the level; the
//! live watch withholds what is odd in it while its host is in a reported trouble ([`PanelVerdict::withhold`]).
//!
//! What was rejected is told, with figures, in `docs/decisions/0003-series-detection.md`.

mod arrays;
mod classical;
mod config;
mod detector;
mod moments;
mod monitor;
mod panel;
mod past;
mod rarity;
mod reason;
mod shape;
mod still;
mod tail;
mod verdict;
mod week;

pub use classical::ClassicalDetector;
pub use config::{Classical, SeriesConfig, Weights};
pub use detector::{Lesson, SeriesDetector};
pub use monitor::{Anomaly, SeriesMonitor};
pub use panel::{HostPanel, PanelConfig, PanelVerdict, NAMED_FROM};
pub use past::Past;
pub use verdict::{Reason, Severity, Verdict};
