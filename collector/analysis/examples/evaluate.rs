//! Runs the detectors and forecasters over the evaluation data, for work on them: the same code as
//! `fettle eval`, without the rest of the command line to build.

fn main() {}
