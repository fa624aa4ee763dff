//! Runs the detectors and forecasters over the evaluation data, for work on them: the same code as
//! `fettle eval`, without the rest of the command line to build.
//!
//! `evaluate nab|hosts|forecast|failure --data DIR --out PATH [more]`

mod failure;
mod forecast;
mod hosts;
mod nab;

use std::path::PathBuf;
use std::process::ExitCode;

/// The command line after the first word.
pub struct Arguments {
    /// Folder of the evaluation data.
    pub data: PathBuf,
    /// Where the answer goes.
    pub out: PathBuf,
    rest: Vec<String>,
}

impl Arguments {
    fn parse(rest: Vec<String>) -> Result<Self, String> {
        let named =
            |name: &str| value(&rest, name).map(PathBuf::from).ok_or_else(|| format!("give {name} PATH"));
        Ok(Self { data: named("--data")?, out: named("--out")?, rest })
    }

    /// What follows `name` on the command line.
    pub fn option(&self, name: &str) -> Option<&str> {
        value(&self.rest, name)
    }
}

fn value<'a>(rest: &'a [String], name: &str) -> Option<&'a str> {
    rest.iter().position(|word| word == name).and_then(|at| rest.get(at + 1)).map(String::as_str)
}

fn run() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_default();
    let arguments = Arguments::parse(words.collect())?;
    match what.as_str() {
        "nab" => nab::run(&arguments),
        "hosts" => hosts::run(&arguments),
        "forecast" => forecast::run(&arguments),
        "failure" => failure::run(&arguments),
        other => Err(format!("there is no evaluation called «{other}»: say nab, hosts, forecast or failure")),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
