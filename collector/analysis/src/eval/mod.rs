//! The evaluation data of `fettle eval`: text in, text out; reading and writing files is the caller's.

pub mod failure;
pub mod forecast;
pub mod hosts;
pub mod nab;
