//! The parts `fettle up` runs: the program and arguments of each, how it is asked whether it is
//! ready, and how long it may take to stop.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::errors::UpError;
use super::logins::Logins;
use super::nats_config;
use super::probe::Probe;
use super::state_dir::StateDir;
use crate::arguments::UpArguments;
use crate::http::reachable;
use crate::locate;

/// Everything a part's supervisor needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its name on the board, in its log's name, and to people.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// How to ask whether it is ready.
    pub(crate) probe: Probe,
    /// Where people find it; printed when it is ready.
    pub(crate) found_at: String,
    /// How long it may take to stop before it is killed.
    pub(crate) grace: Duration,
}

/// The programs and library the parts need.
#[derive(Debug)]
pub(crate) struct Programs {
    nats: PathBuf,
    library: PathBuf,
    collector: PathBuf,
    agent: PathBuf,
}

impl Programs {
    /// Looks for all of them, so that what is missing is said before anything starts.
    pub(crate) fn find() -> Result<Self, UpError> {
        Ok(Self {
            nats: locate::nats_server()?,
            library: fettle_engine::find_library(None)?,
            collector: locate::sibling("fettle-collector")?,
            agent: locate::sibling("fettle-agent")?,
        })
    }
}

/// The parts, each before those that hand on to it: they stop from the last to the first.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Transport.
    pub(crate) nats: Part,
    /// The store.
    pub(crate) clickhouse: Part,
    /// Takes frames from one to the other, and answers over HTTP.
    pub(crate) collector: Part,
    /// Samples this host.
    pub(crate) agent: Part,
}

impl Parts {
    /// Every name, in this order.
    pub(crate) const NAMES: [&'static str; 4] = ["nats", "clickhouse", "collector", "agent"];

    /// Settles every command line.
    pub(crate) fn new(state: &StateDir, programs: &Programs, arguments: &UpArguments) -> Self {
        Self {
            nats: nats(state, programs, arguments.nats),
            clickhouse: clickhouse(state, programs, arguments.sql),
            collector: collector(state, programs, arguments),
            agent: agent(state, programs, arguments),
        }
    }
}

fn nats(state: &StateDir, programs: &Programs, address: SocketAddr) -> Part {
    Part {
        name: "nats",
        program: programs.nats.clone(),
        arguments: words([&"--config", &nats_config::path(state.root())]),
        probe: Probe::Nats(address),
        found_at: format!("nats://{address}"),
        grace: Duration::from_secs(10),
    }
}

fn clickhouse(state: &StateDir, programs: &Programs, address: SocketAddr) -> Part {
    let path = state.join("clickhouse");
    let password = state.join("engine/writer.password");
    let listen = address.to_string();
    Part {
        name: "clickhouse",
        program: locate::own(),
        arguments: words([
            &"clickhouse",
            &"serve",
            &"--path",
            &path,
            &"--listen",
            &listen,
            &"--writer-password-file",
            &password,
            &"--library",
            &programs.library,
        ]),
        probe: Probe::page(address, "/ping"),
        found_at: format!("http://{address}"),
        // It lets statements finish for ten seconds of its own first.
        grace: Duration::from_secs(20),
    }
}

fn collector(state: &StateDir, programs: &Programs, arguments: &UpArguments) -> Part {
    let nats = nats_url(arguments.nats);
    let clickhouse = format!("http://{}", reachable(arguments.sql));
    let http = arguments.http.to_string();
    let (password, own, board) =
        (state.join("engine/writer.password"), state.join("collector"), state.join("run/parts.json"));
    let login = Logins::below(state.root()).collector();
    let mut command_line = words([
        &"run",
        &"--nats",
        &nats,
        &"--nats-nkey-file",
        &login,
        &"--clickhouse-url",
        &clickhouse,
        &"--clickhouse-user",
        &"fettle",
        &"--clickhouse-password-file",
        &password,
        &"--http",
        &http,
        &"--state-dir",
        &own,
        &"--supervisor",
        &board,
    ]);
    if let Some(file) = &arguments.collector_config {
        command_line.extend(words([&"--config", file]));
    }
    Part {
        name: "collector",
        program: programs.collector.clone(),
        arguments: command_line,
        probe: Probe::collector(arguments.http),
        found_at: format!("http://{}", arguments.http),
        grace: Duration::from_secs(15),
    }
}

/// What the agent of this host is called.
pub(crate) fn agent_name(arguments: &UpArguments) -> String {
    arguments.agent.clone().unwrap_or_else(host_name)
}

fn agent(state: &StateDir, programs: &Programs, arguments: &UpArguments) -> Part {
    let nats = nats_url(arguments.nats);
    let metrics = arguments.agent_metrics.to_string();
    let spool = state.join("agent/spool");
    let (name, login) = (agent_name(arguments), Logins::below(state.root()).own_agent());
    let mut command_line = words([
        &"run",
        &"--nats",
        &nats,
        &"--nats-nkey-file",
        &login,
        &"--spool",
        &spool,
        &"--agent",
        &name,
        &"--metrics",
        &metrics,
    ]);
    if let Some(file) = &arguments.agent_config {
        command_line.extend(words([&"--config", file]));
    }
    Part {
        name: "agent",
        program: programs.agent.clone(),
        arguments: command_line,
        probe: Probe::page(arguments.agent_metrics, "/metrics"),
        found_at: format!("{name}, http://{}/metrics", arguments.agent_metrics),
        grace: Duration::from_secs(10),
    }
}

fn nats_url(address: SocketAddr) -> String {
    format!("nats://{}", reachable(address))
}

/// This host's name in the letters that an agent's name may have.
fn host_name() -> String {
    name_from(&rustix::system::uname().nodename().to_string_lossy())
}

fn name_from(host: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let name: String = host.chars().map(allowed).take(64).collect();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

fn words<const N: usize>(words: [&dyn AsRef<std::ffi::OsStr>; N]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_becomes_an_agents_name() {
        for (host, name) in [("web-1.example.org", "web-1-example-org"), ("ünï", "-n-"), ("", "localhost")]
        {
            assert_eq!(name_from(host), name);
        }
        assert_eq!(name_from(&"x".repeat(300)).len(), 64);
    }
}
