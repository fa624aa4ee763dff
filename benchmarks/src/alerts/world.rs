//! One host with services to break, the whole path behind it, and both sinks. The services are processes of
//! this benchmark's own, declared by their pid files: the agent sees them as it sees anybody's.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use super::sinks::{wait_for, HttpSink, MailSink};
use crate::child::{words, Child, Start};
use crate::http;
use crate::ingest::Path;
use crate::stack::{Part, Stack};

/// How long everything may take to be seen well.
const READY: Duration = Duration::from_secs(120);

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    /// Its component's name.
    pub(super) name: String,
    /// Whether the host is of no use without it.
    pub(super) critical: bool,
    pid_file: PathBuf,
    logs: PathBuf,
    process: Option<Child>,
}

impl Service {
    fn new(number: usize, files: &FilePath, logs: &FilePath) -> Self {
        let name = format!("service{number}");
        let pid_file = files.join(format!("{name}.pid"));
        Self { name, critical: number.is_multiple_of(2), pid_file, logs: logs.to_owned(), process: None }
    }

    /// Starts it.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let process = Start {
            name: &self.name,
            program: FilePath::new("/bin/sleep"),
            arguments: words([&"1000000"]),
            logs: &self.logs,
            environment: Vec::new(),
        }
        .spawn()?;
        std::fs::write(&self.pid_file, process.pid().to_string())?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.process.as_ref().and_then(|process| i32::try_from(process.pid()).ok());
        let pid = pid.and_then(Pid::from_raw).context("the service does not run")?;
        Ok(kill_process(pid, signal)?)
    }

    fn declared(&self) -> String {
        format!(
            "[components.{}]\nruns = {{ pid_file = {:?} }}\ncritical = {}\n",
            self.name, self.pid_file, self.critical
        )
    }
}

/// See the module.
pub(super) struct World {
    /// Starts parts again.
    pub(super) stack: Stack,
    /// NATS, engine, collector.
    pub(super) path: Path,
    /// The collector's configuration.
    pub(super) configuration: String,
    /// Over HTTP.
    pub(super) sink: HttpSink,
    /// By mail.
    pub(super) mail: MailSink,
    /// What can be broken.
    pub(super) services: Vec<Service>,
    agent: Part,
}

/// Routes of what is measured. As shipped but for what says how often is told, not how soon: alike news are no
/// storm, a service that falls every few seconds is not called flapping, and nothing cools down.
fn alerting(sink: &HttpSink, mail: &MailSink) -> String {
    format!(
        "channels:\n  hook: {{ kind: webhook, url: \"{}\", per_minute: 6000, burst: 1000 }}\n  \
         mail: {{ kind: email, server: 127.0.0.1, port: {}, tls: none, from: fettle@example.org, \
         to: [ops@example.org], per_minute: 6000, burst: 1000 }}\n\
         route:\n  group_by: [rule, host, component]\n  routes:\n    \
         - match: {{ rule: \"component_down*\" }}\n      channels: [hook, mail]\n\
         storm: {{ similar: 100, total: 10000, window: 1s }}\nflapping: {{ changes: 100, window: 1s }}\n\
         cooldown: 0s\n",
        sink.url(),
        mail.port()
    )
}

impl World {
    /// Starts everything below a directory, and waits until all services are seen to be well.
    pub(super) async fn start(directory: &FilePath, services: usize) -> anyhow::Result<Self> {
        let stack = Stack::below(directory)?;
        let sink = HttpSink::open().await?;
        let mail = MailSink::open(directory, &stack.logs()).await?;
        let file = |name: &str| directory.join(name);
        std::fs::write(file("alerts.yaml"), alerting(&sink, &mail))?;
        let configuration = format!("[operations]\nalerting = {:?}\n", file("alerts.yaml"));
        let path = Path::configured(&stack, &configuration).await?;
        let mut services: Vec<Service> =
            (0..services).map(|number| Service::new(number, directory, &stack.logs())).collect();
        for service in &mut services {
            service.start()?;
        }
        let declared: String = services.iter().map(Service::declared).collect();
        std::fs::write(file("components.toml"), declared)?;
        let agent = format!(
            "[sample]\ncpu_budget = \"100%\"\n[act]\nfile = {:?}\nstate_dir = {:?}\n",
            file("components.toml"),
            file("act")
        );
        let agent = stack.agent_with(&path.nats, Some(&agent)).await?;
        let world = Self { stack, path, configuration, sink, mail, services, agent };
        wait_for(READY, async || Ok(world.is_well().await.then_some(())))
            .await?
            .context("the services were not seen to be well")?;
        Ok(world)
    }

    async fn is_well(&self) -> bool {
        let Ok(text) = http::get(self.path.collector.address, "/api/v3/components").await else {
            return false;
        };
        let rows: Value = serde_json::from_str(&text).unwrap_or_default();
        let up = rows.as_array().map_or(0, |rows| rows.iter().filter(|row| row["up"] == true).count());
        up == self.services.len()
    }

    /// Stops everything.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.agent.child.stop().await?;
        self.path.stop().await
    }
}
