//! Streaming anomaly detection on all features of one host together.
//!
//! Four views of each row, chosen because they are wrong at different times:
//!
//! - **forecast** ([`echo`], [`spread`]): an echo state network says what the row should be; the error's
//!   Mahalanobis distance sees jumps and broken ties between features, and is blind to a state that lasts;
//! - **forest** ([`forest`]): an isolation forest over the smoothed sizes of those errors sees several
//!   features restless for several rows, each by itself unremarkable;
//! - **profile** ([`profile`], [`spread`]): distance from what this time of day usually looks like sees a
//!   state that lasts, and is blind to what is small against the difference between two days;
//! - **single**: the mean of the three oddest features sees what drowns among many.
//!
//! Each view's score is put on one scale by its own past ([`tail`]): 0 the median, 1 the 90 % quantile.
//! What exceeds [`HostConfig::quiet`] is smoothed over a few rows; the weighted mean of the views is the score.
//! From an anomalous row little is learned; a state that stays anomalous for
//! [`HostConfig::adopt_after_s`] is learned as the new usual.
//!
//! What a young host cannot know yet, how rare a second is, is not asked by a fifth, which stands by itself ([`surge`]): by
//! how many doublings features, and programs ([`programs`]), go beyond all that was seen of them.
//!
//! Live it is fed the means of ten seconds ([`span`]), and what it finds odd is a report where the [`gate`] says so. Nothing is allocated after [`HostDetector::new`]. What was tried and rejected is told, with figures, in
//! `docs/decisions/0004-host-detection.md`.

mod config;
mod detector;
mod dice;
mod echo;
mod forest;
mod gate;
mod numbers;
mod profile;
mod programs;
mod scale;
mod sequence;
mod span;
mod spread;
mod surge;
mod tail;
mod verdict;

pub use config::HostConfig;
pub use detector::HostDetector;
pub use gate::{Gate, Passage};
pub use programs::{Beyond, Programs, ProgramsMatter, Running, Takes};
pub use span::{Spans, SPAN_S};
pub use surge::{Surge, SurgeConfig, SurgeVerdict, Surged, TOLD};
pub use verdict::{Attribution, Direction, HostVerdict, NAMED};
