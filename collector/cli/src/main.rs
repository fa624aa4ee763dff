//! `fettle`, the operator's command line: each subcommand is a module, this file only picks one.
//!
//! Errors are one sentence with their remedy on standard error, and an exit code that is not 0.

mod arguments;
mod clickhouse;
mod doctor;
mod eval;
mod http;
mod incidents;
mod locate;
mod metrics;
mod moment;
mod operations;
mod output;
mod ports;
mod progress;
mod replay;
mod rules;
mod sql;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, ClickhouseCommand, Command, MetricsCommand};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            // Each error says its cause in its own sentence; the chain below would only repeat it.
            output::complain(&format!("fettle: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // One TLS implementation, chosen here for the whole process; a second call is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match command {
        Command::Up(arguments) => up::run(&arguments)?,
        Command::Login(arguments) => up::login::run(&arguments)?,
        Command::Clickhouse(arguments) => match arguments.command {
            ClickhouseCommand::Serve(arguments) => clickhouse::serve(arguments)?,
        },
        Command::Sql(arguments) => sql::run(&arguments)?,
        Command::Metrics(arguments) => match arguments.command {
            MetricsCommand::List(arguments) => metrics::list(&arguments)?,
        },
        Command::Alerts(arguments) => operations::alerts(&arguments)?,
        Command::Silences(arguments) => operations::silences(&arguments)?,
        Command::Components(arguments) => operations::look(&arguments, "components")?,
        Command::Plans(arguments) => operations::plans(&arguments)?,
        Command::Freeze(arguments) => operations::freeze(&arguments, true)?,
        Command::Unfreeze(arguments) => operations::freeze(&arguments, false)?,
        Command::Status(arguments) => operations::look(&arguments, "operations")?,
        Command::Health(arguments) => operations::health(&arguments)?,
        Command::Audit(arguments) => operations::audit(&arguments)?,
        Command::Eval(arguments) => eval::run(&arguments.command)?,
        Command::Rules(arguments) => return Ok(rules::run(&arguments.command)?),
        Command::Replay(arguments) => replay::run(&arguments)?,
        Command::Incidents(arguments) => incidents::run(&arguments.command)?,
        Command::Doctor(arguments) => return Ok(doctor::run(&arguments)?),
        Command::Part(arguments) => up::become_part(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
