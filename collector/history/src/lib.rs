//! Stored history as the detectors want it: second by second, host by host, the very reductions that the
//! collector made of the same samples while they were live.
//!
//! ClickHouse reduces raw rows to seconds and sends integers as they came on the wire, in Arrow's stream
//! format; polars reads that; a second is handed to `fettle_analysis`, the same code and settings that
//! judge live samples, with the clock of the data. Nothing here opens a socket: whoever calls brings
//! somebody to [`Ask`]. Memory is bounded by cutting time into slices ([`slices`]).
//!
//! This is the only crate that knows polars, which takes long to compile.

mod ask;
mod bounds;
mod calibration;
mod compare;
mod replay;
mod rows;
mod seconds;
mod slices;
mod statement;
mod stored;

pub use ask::{Ask, AskError, HistoryError};
pub use bounds::{Bounds, Span};
pub use calibration::{Claims, Line, POWERS};
pub use compare::{compare, Alarm, Comparison, Incident, Outcome, Rules};
pub use replay::{replay, Job, Judged};
pub use rows::FamilyRows;
pub use slices::{Slice, Slices};
pub use statement::Level;
pub use stored::Stored;
