//! A host that is mended: the whole stack with operations, an agent with a host's own file, and services
//! (`fettle-test-victim`) to break.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use super::process::{free_port, Process};
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
    head: String,
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
}

impl Default for Given<'_> {
    fn default() -> Self {
        let limits = "per_hour = 1000\ncooldown = \"1s\"\nlocal_per_hour = 100\n";
        Self { rules: "", policies: "", alerts: "", keys: &[], limits }
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
        std::fs::write(stack.path("collector.toml"), operations).expect("the directory is writable");
        stack.start().await;
        let key = until("operations give their key", START, || async {
            when(ask(&stack, "operations").await.unwrap_or_default()["public_key"].clone(), Value::is_string)
        })
        .await;
        let keys: String = given.keys.iter().map(|key| format!(", \"{key}\"")).collect();
        let head = format!("trusted_keys = [{key}{keys}]\n[limits]\n{}", given.limits);
        let own = files.join("components.toml");
        std::fs::write(&own, format!("{head}{}", components(&files))).expect("the directory is writable");
        let config = files.join("agent.toml");
        let state = stack.path("act").display().to_string();
        let text = format!("[act]\nfile = \"{}\"\nstate_dir = \"{state}\"\n", own.display());
        std::fs::write(&config, text).expect("the directory is writable");
        let mut agent = stack.agent(HOST);
        agent.argue(&["--config", &config.display().to_string()]);
        agent.start();
        Self { stack, agent, sink, components: own, head }
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
        ask(&self.stack, what).await.unwrap_or_default()
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

async fn ask(stack: &Stack, what: &str) -> anyhow::Result<Value> {
    let url = format!("{}/api/v3/{what}", stack.http_url());
    Ok(http_client().get(url).send().await?.error_for_status()?.json().await?)
}

/// A service of the host's file.
#[derive(Debug)]
pub struct Service {
    /// Its address.
    pub address: String,
    program: String,
}

impl Service {
    /// One on a free port, that is not running yet.
    pub fn new(victim: &str) -> Self {
        Self { address: format!("127.0.0.1:{}", free_port()), program: victim.to_owned() }
    }

    /// The same whose process is called `name`, so that rules can tell it from others.
    pub fn named(victim: &str, name: &str) -> Self {
        let program = Path::new(victim).with_file_name(name);
        if std::fs::symlink_metadata(&program).is_err() {
            // The kernel calls a process by the name it was started under.
            let _ = std::os::unix::fs::symlink(victim, &program);
        }
        Self::new(&program.display().to_string())
    }

    /// Its command line, as TOML.
    pub fn command(&self, more: &[&str]) -> String {
        let mut words = vec![self.program.as_str(), "--listen", &self.address];
        words.extend(more);
        serde_json::to_string(&words).expect("words are JSON")
    }

    /// `runs` and `check` of a supervised component, checked by HTTP four times a second.
    pub fn declared(&self, more: &[&str]) -> String {
        format!(
            "interval = \"250ms\"\ntimeout = \"500ms\"\nfailures = 2\n\
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

    /// Asks it for something, such as `/leak?mib=20`.
    pub async fn get(&self, path: &str) -> anyhow::Result<u16> {
        let asked =
            http_client().get(format!("http://{}{path}", self.address)).timeout(Duration::from_secs(2));
        Ok(asked.send().await?.status().as_u16())
    }
}

impl Drop for Service {
    /// What an agent supervises outlives it; a test's services must not.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
