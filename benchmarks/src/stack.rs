//! The real parts, started one by one so that each one's CPU time and memory can be told apart:
//! nats-server, the embedded ClickHouse, the collector, an agent. All on free loopback ports, all
//! state below one directory, which should be on a disk.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::child::{find_program, free_address, words, Child, Start};
use crate::http;
use crate::sql::Sql;

/// How long a part may take to become ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// A part and where it answers.
#[derive(Debug)]
pub(crate) struct Part {
    /// The process.
    pub(crate) child: Child,
    /// Its address.
    pub(crate) address: SocketAddr,
}

/// Starts parts below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    directory: PathBuf,
}

impl Stack {
    /// Parts below this directory, which is made.
    pub(crate) fn below(directory: &Path) -> anyhow::Result<Self> {
        for part in ["logs", "nats", "engine", "clickhouse", "agent", "collector"] {
            let path = directory.join(part);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    fn at(&self, part: &str) -> PathBuf {
        self.directory.join(part)
    }

    /// Where logs are.
    pub(crate) fn logs(&self) -> PathBuf {
        self.at("logs")
    }

    /// nats-server with JetStream on disk.
    pub(crate) async fn nats(&self) -> anyhow::Result<Part> {
        self.nats_at(free_address()?).await
    }

    /// The same at an address of its own, as after a crash.
    pub(crate) async fn nats_at(&self, address: SocketAddr) -> anyhow::Result<Part> {
        let program = find_program("nats-server", Some("FETTLE_NATS_SERVER"))
            .context("nats-server was not found; run deploy/setup")?;
        let config = self.at("nats.conf");
        let text = format!(
            "server_name: fettle\nhost: \"{}\"\nport: {}\nmax_payload: 8388608\nmax_pending: 67108864\n\
             jetstream {{\n  store_dir: \"{}\"\n}}\n",
            address.ip(),
            address.port(),
            self.at("nats").display()
        );
        std::fs::write(&config, text)?;
        let mut child = Start {
            name: "nats",
            program: &program,
            arguments: words([&"--config", &config]),
            logs: &self.logs(),
            environment: Vec::new(),
        }
        .spawn()?;
        child.ready(READY, async || tokio::net::TcpStream::connect(address).await.is_ok()).await?;
        Ok(Part { child, address })
    }

    /// The embedded ClickHouse.
    pub(crate) async fn clickhouse(&self) -> anyhow::Result<(Part, Sql)> {
        self.clickhouse_at(free_address()?).await
    }

    /// The same at an address of its own, as after a crash.
    pub(crate) async fn clickhouse_at(&self, address: SocketAddr) -> anyhow::Result<(Part, Sql)> {
        let program = own("fettle")?;
        let password = self.at("engine").join("writer.password");
        let mut child = Start {
            name: "clickhouse",
            program: &program,
            arguments: words([
                &"clickhouse",
                &"serve",
                &"--path",
                &self.at("clickhouse"),
                &"--listen",
                &address.to_string(),
                &"--writer-password-file",
                &password,
            ]),
            logs: &self.logs(),
            environment: Vec::new(),
        }
        .spawn()?;
        child.ready(READY, async || http::get(address, "/ping").await.is_ok()).await?;
        Ok((Part { child, address }, Sql::new(address, password)))
    }

    /// The collector between them, with these lines of configuration.
    pub(crate) async fn configured_collector(
        &self,
        nats: &Part,
        clickhouse: &Part,
        configuration: &str,
    ) -> anyhow::Result<Part> {
        let mut part = self.starting_collector(nats, clickhouse, configuration)?;
        let address = part.address;
        part.child.ready(READY, async || http::get(address, "/api/v3/health").await.is_ok()).await?;
        Ok(part)
    }

    /// The same, not waited for.
    pub(crate) fn starting_collector(
        &self,
        nats: &Part,
        clickhouse: &Part,
        configuration: &str,
    ) -> anyhow::Result<Part> {
        let program = own("fettle-collector")?;
        let address = free_address()?;
        let file = self.at("collector.toml");
        std::fs::write(&file, configuration)?;
        let child = Start {
            name: "collector",
            program: &program,
            arguments: words([
                &"run",
                &"--config",
                &file,
                &"--nats",
                &format!("nats://{}", nats.address),
                &"--clickhouse-url",
                &format!("http://{}", clickhouse.address),
                &"--clickhouse-user",
                &"fettle",
                &"--clickhouse-password-file",
                &self.at("engine").join("writer.password"),
                &"--http",
                &address.to_string(),
                &"--state-dir",
                &self.at("collector"),
            ]),
            logs: &self.logs(),
            environment: Vec::new(),
        }
        .spawn()?;
        Ok(Part { child, address })
    }

    /// An agent that samples this host, within this CPU budget.
    pub(crate) async fn agent(&self, nats: &Part, budget: Budget) -> anyhow::Result<Part> {
        let lifted = "[sample]\ncpu_budget = \"100%\"\n";
        self.agent_with(nats, (budget == Budget::Lifted).then_some(lifted)).await
    }

    /// An agent with this configuration file.
    pub(crate) async fn agent_with(&self, nats: &Part, config: Option<&str>) -> anyhow::Result<Part> {
        let program = own("fettle-agent")?;
        let address = free_address()?;
        let mut arguments = words([
            &"run",
            &"--nats",
            &format!("nats://{}", nats.address),
            &"--spool",
            &self.at("agent").join("spool"),
            &"--agent",
            &AGENT,
            &"--metrics",
            &address.to_string(),
        ]);
        if let Some(text) = config {
            let config = self.at("agent").join("agent.toml");
            std::fs::write(&config, text)?;
            arguments.extend(words([&"--config", &config]));
        }
        let mut child = Start {
            name: "agent",
            program: &program,
            arguments,
            logs: &self.logs(),
            environment: Vec::new(),
        }
        .spawn()?;
        child.ready(READY, async || http::get(address, "/metrics").await.is_ok()).await?;
        Ok(Part { child, address })
    }
}

/// What CPU the agent may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Its default.
    Default,
    /// All of a core: it never slows down, so that a busy machine does not change the rate.
    Lifted,
}

/// The name of the agent that benchmarks start.
pub(crate) const AGENT: &str = "bench";

fn own(name: &str) -> anyhow::Result<PathBuf> {
    find_program(name, None).with_context(|| format!("{name} was not found; run deploy/up --setup-only"))
}
