//! What the samples mean: anomalies, forecasts, failure predictions, health.
//!
//! Everything here is pure. Time comes in with each value, seeds with the configuration; nothing reads
//! a clock, a file or a socket. The collector's pipeline feeds 1-second reductions in and stores what
//! comes out; `fettle eval` and `fettle replay` feed the same code from files and from ClickHouse.
//!
//! [`rates`] turns what was decoded into one second of one host, [`live`] keeps all that is known of a
//! host and judges it second by second.
//!
//! Rooms: [`detect`] (one series, one host), [`forecast`] (trend, season, exhaustion), [`predict`]
//! (probability of failure), [`health`] (the score). [`eval`] turns the public evaluation data into
//! calls of these rooms and their answers into what the scorers read; [`outlook`] asks forecasts and
//! predictions about what ClickHouse holds of a host.

pub mod detect;
pub mod eval;
pub mod forecast;
pub mod health;
pub mod linear;
pub mod live;
pub mod outlook;
pub mod predict;
pub mod rates;
pub mod second;
pub mod words;
