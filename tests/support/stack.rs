//! The whole system in one temporary directory: nats-server, engine, collector and, if wanted, an
//! agent. Each part can be killed and started again alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::binaries::{fettle, nats_server};
use super::process::{free_port, Process};
use super::rights::authorization;
use super::sql::{http_client, Sql};
use super::wait::until;

/// How long a part may take to come up on a busy machine.
pub const START: Duration = Duration::from_secs(60);

/// Ports and paths of a system, and its parts.
#[derive(Debug)]
pub struct Stack {
    /// Port of NATS.
    pub nats_port: u16,
    /// Port of SQL.
    pub sql_port: u16,
    /// Port of the collector's HTTP interface.
    pub http_port: u16,
    /// The parts.
    pub nats: Process,
    /// The embedded ClickHouse.
    pub engine: Process,
    /// The collector.
    pub collector: Process,
    http: reqwest::Client,
    /// Last, because parts that are dropped show their logs in it.
    dir: TempDir,
}

impl Stack {
    /// A system that is not running yet. `collector` are further lines of the collector's
    /// configuration file.
    pub fn new(collector: &str) -> Self {
        let dir = TempDir::with_prefix("fettle-test-").expect("a temporary directory");
        let root = dir.path();
        let [nats_port, sql_port, http_port] = [free_port(), free_port(), free_port()];
        for name in ["logs", "nats", "engine", "collector"] {
            std::fs::create_dir(root.join(name)).expect("a new directory is empty");
        }
        let logs = root.join("logs");
        std::fs::write(root.join("nats.conf"), nats_configuration(nats_port, &root.join("nats")))
            .expect("the directory is writable");
        std::fs::write(root.join("collector.toml"), collector).expect("the directory is writable");
        let path = |name: &str| root.join(name).display().to_string();
        let nats = Process::new("nats", nats_server(), &["-c", &path("nats.conf")], &logs);
        let password = path("engine/writer.password");
        let listen = format!("127.0.0.1:{sql_port}");
        let data = path("engine/data");
        let serve = [
            "clickhouse",
            "serve",
            "--path",
            &data,
            "--listen",
            &listen,
            "--writer-password-file",
            &password,
        ];
        let engine = Process::new("engine", fettle("fettle"), &serve, &logs);
        let (nats_url, sql_url) = (format!("nats://127.0.0.1:{nats_port}"), format!("http://{listen}"));
        let http = format!("127.0.0.1:{http_port}");
        let (config, state) = (path("collector.toml"), path("collector"));
        let run = [
            ["run", "--config"],
            [&config, "--nats"],
            [&nats_url, "--clickhouse-url"],
            [&sql_url, "--clickhouse-user"],
            ["fettle", "--clickhouse-password-file"],
            [&password, "--http"],
            [&http, "--state-dir"],
        ];
        let mut run: Vec<&str> = run.into_iter().flatten().collect();
        run.push(&state);
        let collector = Process::new("collector", fettle("fettle-collector"), &run, &logs);
        Self { nats_port, sql_port, http_port, nats, engine, collector, http: http_client(), dir }
    }

    /// Starts everything and waits until the collector says that all parts are ready.
    pub async fn start(&mut self) {
        self.nats.start();
        self.engine.start();
        self.engine_answers().await;
        self.collector.start();
        self.healthy(START).await;
    }

    /// The directory of a part or of a test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where logs go.
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// URL of the collector's HTTP interface.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// URL of NATS.
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.nats_port)
    }

    /// A client of the engine.
    pub fn sql(&self) -> Sql {
        Sql::new(format!("http://127.0.0.1:{}/", self.sql_port))
    }

    /// An agent on this host, not running yet. Its spool is in `path("spool")`.
    pub fn agent(&self, name: &str) -> Process {
        let spool = self.path("spool").display().to_string();
        let nats = self.nats_url();
        let arguments = ["run", "--nats", &nats, "--spool", &spool, "--agent", name, "--metrics", "off"];
        Process::new("agent", fettle("fettle-agent"), &arguments, &self.logs())
    }

    /// From its next start on NATS lets in the collector, these agents and who may do everything, each with the
    /// documented rights.
    pub fn restrict_nats(&self, agents: &[&str]) {
        let text = nats_configuration(self.nats_port, &self.path("nats")) + &authorization(agents);
        std::fs::write(self.path("nats.conf"), text).expect("the directory is writable");
    }

    /// Waits until the engine answers.
    pub async fn engine_answers(&self) {
        let url = format!("http://127.0.0.1:{}/ping", self.sql_port);
        until("the engine answers", START, || async {
            self.http.get(&url).send().await.and_then(reqwest::Response::error_for_status).map(|_| ())
        })
        .await;
    }

    /// Waits until health says that all is ready; gives what it said.
    pub async fn healthy(&self, deadline: Duration) -> serde_json::Value {
        until("health is 200", deadline, || async {
            let (status, body) = self.health().await.map_err(|e| e.to_string())?;
            if status == 200 {
                Ok(body)
            } else {
                Err(format!("{status}: {body}"))
            }
        })
        .await
    }

    /// What health says now.
    pub async fn health(&self) -> anyhow::Result<(u16, serde_json::Value)> {
        let url = format!("http://127.0.0.1:{}/api/v3/health", self.http_port);
        let answer = self.http.get(url).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// The collector's counters, as Prometheus reads them.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.http_port);
        Ok(self.http.get(url).send().await?.text().await?)
    }

    /// Fails when a part has ended that nobody killed.
    pub fn nobody_fell(&mut self) {
        for part in [&mut self.nats, &mut self.engine, &mut self.collector] {
            assert!(!part.has_ended(), "{} has ended by itself:\n{}", part.name(), part.last_words(20));
        }
    }

    /// Kills nats-server, throws everything away that it has stored, and starts it again.
    pub fn wipe_nats(&mut self) {
        self.nats.kill();
        let store = self.path("nats");
        std::fs::remove_dir_all(&store).expect("nobody else uses the directory");
        std::fs::create_dir(&store).expect("the directory above is there");
        self.nats.start();
    }
}

fn nats_configuration(port: u16, store: &Path) -> String {
    format!(
        "server_name: test\nhost: \"127.0.0.1\"\nport: {port}\nmax_payload: 8388608\nmax_pending: 67108864\n\
         jetstream {{ store_dir: \"{}\" }}\n",
        store.display()
    )
}
