//! Rules as their users meet them: files in, findings out.

#![allow(clippy::unwrap_used, missing_docs)] // a test that cannot go on says so by panicking

mod cost;
mod evaluation;
mod hostile;
mod kills;
mod pack;
mod refusals;
mod support;
