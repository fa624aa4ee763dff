//! `fettle-agent components`: what the host's file declares and allows, and how it is now.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use comfy_table::{presets, Table};
use fettle_agent::check::Outcome;
use fettle_agent::config::{show_duration, ActSettings, Overrides, Settings};
use fettle_agent::discover::propose;
use fettle_agent::host_file::{Check, Component, HostFile, Runs};
use fettle_agent::supervise::recorded;
use serde_json::json;
use tokio::sync::watch;

use crate::{print, this_host};

/// What to show.
#[derive(Debug, Args)]
pub struct Options {
    /// The host's file [default: what the configuration says, /etc/fettle/components.toml].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Propose a file from what runs on this host, and print it; nothing is written.
    #[arg(long, conflicts_with = "json")]
    discover: bool,
}

/// Runs the command.
pub fn show(options: &Options) -> anyhow::Result<()> {
    if options.discover {
        return print(&propose());
    }
    let settings = Settings::load(options.config.as_deref(), &Overrides::default(), &this_host())?.act;
    let path = options.file.as_ref().unwrap_or(&settings.file);
    let file = HostFile::load(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcomes = runtime.block_on(async {
        // Whatever an agent that runs has started is looked at; nothing is started or taken over.
        let (_sender, supervised) = watch::channel(Arc::new(recorded(&settings.state_dir)));
        fettle_agent::check::once(&file, &supervised).await
    });
    // A look-up or a file system that hangs must not hold the answer back.
    runtime.shutdown_background();
    if options.json {
        let mut all = file.to_json();
        for (name, outcome) in &outcomes {
            all["components"][name]["now"] = outcome_json(outcome);
        }
        return print(&format!("{all:#}\n"));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["component", "runs", "check", "every", "now", "took", "processes", "allowed"]);
    for (name, component) in &file.components {
        let Some(outcome) = outcomes.get(name) else { continue };
        table.add_row(row(name, component, outcome));
    }
    let host = file.host_actions.summary();
    let host = if host.is_empty() { "nothing".to_owned() } else { host };
    print(&format!(
        "{table}\n\non the host itself is allowed: {host}\norders are taken from {} keys\n",
        file.trusted_keys.len()
    ))
}

/// Shows the settled host's file, if there is one.
pub fn check(settings: &ActSettings) -> anyhow::Result<()> {
    match HostFile::load(&settings.file) {
        Ok(file) => print(&format!("\n# {}\n{}", settings.file.display(), file.render())),
        Err(error) if error.is_absent() => print(&format!(
            "\n# There is no {}: nothing is checked and nothing is allowed.\n",
            settings.file.display()
        )),
        Err(error) => Err(error.into()),
    }
}

fn outcome_json(outcome: &Outcome) -> serde_json::Value {
    let Outcome { result, took, processes } = outcome;
    let (error, kind) = match result {
        Ok(()) => (String::new(), "none"),
        Err(failure) => (failure.error.clone(), failure.kind.name()),
    };
    json!({
        "well": result.is_ok(),
        "error": error,
        "error_kind": kind,
        "took_ms": took.as_secs_f64() * 1000.0,
        "processes": processes.ids.iter().map(|id| id.pid).collect::<Vec<_>>(),
        "running": processes.running,
        "wanted": processes.wanted,
        "stopped": processes.stopped,
    })
}

fn row(name: &str, component: &Component, outcome: &Outcome) -> Vec<String> {
    let runs = match &component.runs {
        Runs::Supervised(run) => run.command[0].clone(),
        Runs::Systemd { unit } => unit.clone(),
        Runs::Docker { container, .. } => format!("container {container}"),
        Runs::Process(_) => "a process".to_owned(),
        Runs::Nothing => "-".to_owned(),
    };
    let check = match &component.check {
        Check::Process => "process".to_owned(),
        Check::Active => "active".to_owned(),
        Check::Tcp(address) => address.to_string(),
        Check::Http { url, .. } => url.clone(),
        Check::Exec { command, .. } => command[0].clone(),
        Check::FileAge { path, .. } => path.display().to_string(),
    };
    let now = match &outcome.result {
        Ok(()) => "well".to_owned(),
        Err(failure) => failure.error.clone(),
    };
    let allowed = component.allowed.summary();
    vec![
        name.to_owned(),
        runs,
        check,
        show_duration(component.interval),
        now,
        format!("{:.1} ms", outcome.took.as_secs_f64() * 1000.0),
        format!("{}/{}", outcome.processes.running, outcome.processes.wanted),
        if allowed.is_empty() { "nothing".to_owned() } else { allowed },
    ]
}
