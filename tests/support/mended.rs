//! A host that is mended: the whole stack with operations, an agent with a host's own file, and services
//! (`fettle-test-victim`) to break.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::binaries::fettle;
use super::process::{free_port, free_ports, Process};
use super::rights;
use super::sink::Sink;
use super::sql::http_client;
use super::stack::{Stack, START};
use super::wait::{until, when};

/// The stack, its agent and the sink of its notifications.
#[derive(Debug)]
pub struct Mended {
    /// NATS, engine, collector.
    pub stack: Stack,
    /// The agent.
    pub agent: Process,
    /// Where notifications go.
    pub sink: Sink,
    components: PathBuf,
    config: PathBuf,
    head: String,
    http: reqwest::Client,
}

/// What a mended host is given beside its components; by default everything as shipped but for limits that do
/// not slow a test down.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Rules on top of the default pack.
    pub rules: &'a str,
    /// Policies in place of those that are built in.
    pub policies: &'a str,
    /// Lines of `alerts.yaml` beside its routes and channels.
    pub alerts: &'a str,
    /// Public keys that the host trusts beside the collector's.
    pub keys: &'a [String],
    /// The `[limits]` of the host's file.
    pub limits: &'a str,
    /// Agents beside this one that may log in to NATS, where everybody then has the documented rights and no more;
    /// none: NATS asks nobody who they are.
    pub logins: Option<&'a [&'a str]>,
}

impl Default for Given<'_> {
    fn default() -> Self {
        let limits = "per_hour = 1000\ncooldown = \"1s\"\nlocal_per_hour = 100\n";
        Self { rules: "", policies: "", alerts: "", keys: &[], limits, logins: None }
    }
}

/// Name of the agent.
pub const HOST: &str = "mended";

impl Mended {
    /// Starts everything. `victim` is the test's own `env!("CARGO_BIN_EXE_fettle-test-victim")`; `components`
    /// makes the components of the host's file, given a place for their files.
    pub async fn start(policies: &str, components: impl FnOnce(&Path) -> String) -> Self {
        Self::start_with("", policies, components).await
    }

    /// The same with rules of its own on top of the default pack.
    pub async fn start_with(rules: &str, policies: &str, components: impl FnOnce(&Path) -> String) -> Self {
        Self::start_given(Given { rules, policies, ..Given::default() }, components).await
    }

    /// The same with everything that can be given.
    pub async fn start_given(given: Given<'_>, components: impl FnOnce(&Path) -> String) -> Self {
        let mut mended = Self::prepare(given, components).await;
        mended.agent.start();
        mended
    }

    /// The same with an agent that is not started.
    pub async fn prepare(given: Given<'_>, components: impl FnOnce(&Path) -> String) -> Self {
        let sink = Sink::start().await;
        let mut stack = Stack::new("");
        let files = stack.path("files");
        std::fs::create_dir_all(&files).expect("the directory is writable");
        let path = |name: &str| files.join(name).display().to_string();
        let mut operations = String::from("[operations]\n");
        let alerts = alerting(&sink) + given.alerts;
        for (key, text) in [("rules", given.rules), ("policies", given.policies), ("alerting", &alerts)] {
            if !text.is_empty() {
                std::fs::write(path(key) + ".yaml", text).expect("the directory is writable");
                operations += &format!("{key} = \"{}.yaml\"\n", path(key));
            }
        }
        let mut login = String::new();
        if let Some(others) = given.logins {
            stack.restrict_nats(&[&[HOST][..], others].concat());
            operations += &rights::login(&files, rights::COLLECTOR);
            login = rights::login(&files, HOST);
        }
        std::fs::write(stack.path("collector.toml"), operations).expect("the directory is writable");
        stack.start().await;
        let http = http_client();
        let key = until("operations give their key", START, || async {
            let said = ask(&http, &stack, "operations").await.unwrap_or_default();
            when(said["public_key"].clone(), Value::is_string)
        })
        .await;
        let keys: String = given.keys.iter().map(|key| format!(", \"{key}\"")).collect();
        let head = format!("trusted_keys = [{key}{keys}]\n[limits]\n{}", given.limits);
        let own = files.join("components.toml");
        std::fs::write(&own, format!("{head}{}", components(&files))).expect("the directory is writable");
        let config = files.join("agent.toml");
        let state = stack.path("act").display().to_string();
        // A test's machine is busy, and these services are checked four times a second.
        let text = format!(
            "[act]\nfile = \"{}\"\nstate_dir = \"{state}\"\n[sample]\ncpu_budget = \"100%\"\n{login}",
            own.display()
        );
        std::fs::write(&config, text).expect("the directory is writable");
        let mut agent = stack.agent(HOST);
        agent.argue(&["--config", &config.display().to_string()]);
        Self { stack, agent, sink, components: own, config, head, http }
    }

    /// The host's file.
    pub fn hosts_file(&self) -> &Path {
        &self.components
    }

    /// Writes the host's file anew.
    pub fn redeclare(&self, components: &str) {
        std::fs::write(&self.components, format!("{}{components}", self.head)).expect("it is writable");
    }

    /// Puts other policies in the place of those it was given, and waits until they are in force.
    pub async fn set_policies(&self, policies: &str) {
        let before = self.ask("operations").await["policies"].clone();
        std::fs::write(self.stack.path("files/policies.yaml"), policies).expect("the directory is writable");
        until("the policies are in force", START, || async {
            when(self.ask("operations").await["policies"].clone(), |now| now.is_string() && *now != before)
        })
        .await;
    }

    /// Asks the collector.
    pub async fn ask(&self, what: &str) -> Value {
        ask(&self.http, &self.stack, what).await.unwrap_or_default()
    }

    /// Actions that stand in the agent's own ledger, oldest first.
    pub fn own_actions(&self) -> Vec<Value> {
        let asked = Command::new(fettle("fettle-agent"))
            .args(["actions", "--json", "--config"])
            .arg(&self.config)
            .output()
            .expect("the agent's program can be started");
        let lines = String::from_utf8_lossy(&asked.stdout).into_owned();
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Whether `fettle audit verify` finds the chain whole, and what it said.
    pub fn verify_audit(&self) -> Result<String, String> {
        let asked = Command::new(fettle("fettle"))
            .args(["audit", "verify", "--http", &format!("127.0.0.1:{}", self.stack.http_port)])
            .args(["--url", &format!("http://127.0.0.1:{}", self.stack.sql_port)])
            .output()
            .expect("fettle can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if asked.status.success() {
            Ok(text(&asked.stdout))
        } else {
            Err(text(&asked.stderr))
        }
    }

    /// Waits until operations see the component up (or down).
    pub async fn sees(&self, component: &str, up: bool, deadline: Duration) {
        until(&format!("{component} is seen up={up}"), deadline, || async {
            let rows = self.ask("components").await;
            let found = rows
                .as_array()
                .into_iter()
                .flatten()
                .any(|row| row["component"] == component && row["host"] == HOST && row["up"] == up);
            if found {
                Ok(())
            } else {
                Err(rows)
            }
        })
        .await;
    }

    /// Waits until a plan for the component has ended in this state; gives it.
    pub async fn plan_ends(&self, component: &str, state: &str, deadline: Duration) -> Value {
        until(&format!("a plan for {component} ends as {state}"), deadline, || async {
            let plans = self.ask("plans").await;
            let found = plans
                .as_array()
                .into_iter()
                .flatten()
                .find(|plan| plan["component"] == component && plan["state"] == state)
                .cloned();
            found.ok_or(plans)
        })
        .await
    }

    /// Waits until so many notifications of this kind and rule came.
    pub async fn is_told(&self, rule: &str, kind: &str, deadline: Duration) -> Vec<Value> {
        until(&format!("{kind} of {rule} is told"), deadline, || async {
            when(self.told(rule, kind), |told| !told.is_empty())
        })
        .await
    }

    /// Notifications of this kind that name the rule.
    pub fn told(&self, rule: &str, kind: &str) -> Vec<Value> {
        self.sink
            .posted()
            .iter()
            .filter_map(|posted| serde_json::from_str::<Value>(&posted.body).ok())
            .filter(|body| body["kind"] == kind)
            .filter(|body| {
                body["alerts"].as_array().is_some_and(|all| all.iter().any(|one| one["rule"] == rule))
            })
            .collect()
    }
}

/// Everything goes to the sink, at once.
fn alerting(sink: &Sink) -> String {
    format!(
        "route:\n  channels: [sink]\n  group_by: [rule, host, component]\n  group_wait: 0s\n\
         channels:\n  sink:\n    kind: webhook\n    url: {}\n",
        sink.url("/told")
    )
}

async fn ask(http: &reqwest::Client, stack: &Stack, what: &str) -> anyhow::Result<Value> {
    let url = format!("{}/api/v3/{what}", stack.http_url());
    Ok(http.get(url).send().await?.error_for_status()?.json().await?)
}

/// A directory of its own for the victim's program: other users must get there, and below the home of
/// root they cannot. It also holds a name for each service.
///
/// # Panics
/// The program or the directory for temporary files is not there.
pub fn lend(victim: &str) -> TempDir {
    let directory = TempDir::with_prefix("fettle-victim-").expect("a temporary directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("a directory of one's own can be opened");
    std::fs::copy(victim, directory.path().join(VICTIM)).expect("the program can be copied");
    directory
}

/// Time for an answer to a check.
const PATIENCE: &str = "5s";
/// Name of the program in the directory that it is lent in.
const VICTIM: &str = "victim";

/// A service of the host's file.
#[derive(Debug)]
pub struct Service {
    /// Its address.
    pub address: String,
    program: String,
    http: reqwest::Client,
}

impl Service {
    /// One on a free port, that is not running yet.
    pub fn new(victim: &str) -> Self {
        Self::on(victim, free_port())
    }

    fn on(program: &str, port: u16) -> Self {
        Self { address: format!("127.0.0.1:{port}"), program: program.to_owned(), http: http_client() }
    }

    /// One whose process is called `name`, so that rules can tell it from others; `programs` was [`lend`].
    /// It has the port for each of so many replicas, one after the other.
    ///
    /// # Panics
    /// There is a service of this name already.
    pub fn named(programs: &Path, name: &str, replicas: u16) -> Self {
        let program = programs.join(name);
        // The kernel calls a process by the name it was started under.
        std::os::unix::fs::symlink(VICTIM, &program).expect("each service has a name of its own");
        Self::on(&program.display().to_string(), free_ports(replicas))
    }

    /// Words of its command line.
    pub fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec![self.program.as_str(), "--listen", &self.address];
        words.extend(more);
        words
    }

    /// Its first port.
    ///
    /// # Panics
    /// Never: its address was made from a port.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address ends in a port")
    }

    /// Its command line, as TOML.
    pub fn command(&self, more: &[&str]) -> String {
        serde_json::to_string(&self.words(more)).expect("words are JSON")
    }

    /// `runs` and `check` of a supervised component, checked by HTTP four times a second. A busy machine's service may
    /// take its time: only one that hangs is down for that.
    pub fn declared(&self, more: &[&str]) -> String {
        self.declared_within(PATIENCE, more)
    }

    /// The same with another time for an answer.
    pub fn declared_within(&self, timeout: &str, more: &[&str]) -> String {
        format!(
            "interval = \"250ms\"\ntimeout = \"{timeout}\"\nfailures = 2\n\
             check = {{ http = \"http://{}/health\" }}\n\
             runs = {{ command = {}, stop_timeout = \"2s\" }}\n",
            self.address,
            self.command(more)
        )
    }

    /// Process ids of those that run on this address.
    pub fn pids(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("there is /proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            let runs = words.next() == Some(self.program.as_bytes());
            if runs && words.any(|word| word == self.address.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }

    /// Sends a signal to all of them.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it is well, by its own word.
    pub async fn is_well(&self, deadline: Duration) {
        until(&format!("{} is well", self.address), deadline, || async {
            when(self.get("/health").await.unwrap_or(0), |status| *status == 200)
        })
        .await;
    }

    /// Asks it for something, such as `/leak?mib=20`.
    pub async fn get(&self, path: &str) -> anyhow::Result<u16> {
        self.get_within(path, Duration::from_secs(2)).await
    }

    /// The same with little patience.
    pub async fn get_within(&self, path: &str, patience: Duration) -> anyhow::Result<u16> {
        let asked = self.http.get(format!("http://{}{path}", self.address)).timeout(patience);
        Ok(asked.send().await?.status().as_u16())
    }
}

impl Drop for Service {
    /// What an agent supervises outlives it; a test's services must not.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
