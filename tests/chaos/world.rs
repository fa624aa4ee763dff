//! The host under Fettle: the rules and policies of its operator, and what can be asked of the whole.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fettle_tests::mended::Mended;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::faults::Fault;
use super::host::Host;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub mended: Mended,
    pub host: Host,
    /// The policies in force.
    pub policies: String,
}

/// What was done about a fault, µs since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// When it was first decided to do something about it.
    pub noticed_us: Option<i64>,
    /// When it was proven that something had helped.
    pub proven_us: Option<i64>,
    /// Whether an action is under way.
    pub under_way: bool,
}

/// Policies wait this long between two attempts of a strategy on one target, unless they say otherwise.
const COOLDOWN_US: i64 = 16_000_000;
/// Rules about the last minutes: they go on long after all is well.
const REMEMBERED: [&str; 2] = ["component_flapping", "component_actions_failing"];
const START: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);
/// Seconds that arrive no later than this arrive as they end, µs.
const LATE_US: i64 = 2_000_000;
const STEADY: Duration = Duration::from_secs(5);

/// Rules beside the default pack: what this operator calls too much.
const RULES: &str = "rules:
  - name: component_memory_high
    kind: threshold
    metric: process.rss_bytes
    select: {comm: v-leaky}
    above: {high: 200MiB}
    labels: {component: leaky}
    summary: \"leaky takes too much memory\"
  - name: opener_descriptors_high
    kind: threshold
    metric: process_detail.fds
    select: {comm: v-opener}
    above: {high: 400}
    labels: {component: opener}
    summary: \"opener has too many files open\"
  - name: component_cpu_high
    kind: threshold
    expr: process.utime_ticks + process.stime_ticks
    select: {comm: v-hog}
    reduce: mean
    window: 2s
    above: {high: 60}
    labels: {component: hog}
    summary: \"hog burns the processor\"
  - name: breeder_zombies
    kind: threshold
    expr: process.state == 90
    select: {comm: \"true\"}
    group: sum
    above: {high: 30}
    labels: {component: breeder}
    summary: \"breeder does not wait for its children\"
  - name: pool_overloaded
    kind: threshold
    metric: component.latency_ms
    select: {component: pool}
    reduce: min
    window: 1s
    above: {high: 250}
    clear: {high: 150}
    summary: \"pool answers slowly\"
  - name: pool_idle
    kind: threshold
    expr: if(component.latency_ms < 15, component.replicas, 0)
    select: {component: pool}
    above: {low: 1}
    for: 3s
    summary: \"pool has more replicas than it needs\"
";

/// Entries of this operator's own.
const ENTRIES: &str = "entries:
  proxy_failed:
    match: {rules: [component_down], labels: {component: proxy}}
    strategies:
      - action: {fail_over: any}
        risk: medium
        cooldown: 1s
        verify: component.up == 1 for 3s within 15s

  pool_idle:
    match: {rules: [pool_idle]}
    strategies:
      - action: {scale: {by: -1}}
        risk: low
        cooldown: 1s
        verify: component.replicas == 1 within 15s

";

impl World {
    /// Starts everything.
    pub async fn start() -> Self {
        let policies = policies();
        let mut host = None;
        let mended = Mended::start_with(RULES, &policies, |directory: &Path| {
            host.insert(Host::below(directory)).components()
        })
        .await;
        let world = Self { mended, host: host.unwrap(), policies };
        world.everything_is_up().await;
        world
    }

    async fn everything_is_up(&self) {
        let declared = self.host.components();
        let names = declared.lines().filter_map(|line| {
            let name = line.strip_prefix("[components.")?.strip_suffix(']')?;
            (!name.contains('.')).then_some(name)
        });
        for name in names {
            self.mended.sees(name, true, START).await;
        }
    }

    /// What was done about this kind's component since then.
    pub async fn done(&self, kind: Fault, since_us: i64) -> Done {
        if kind.is_local() {
            return self.done_alone(kind, since_us);
        }
        let mut done = Done::default();
        for plan in rows(&self.mended.ask("plans").await) {
            let made_us = read_us(&plan["since"]);
            if plan["component"] != kind.component() || made_us < since_us {
                continue;
            }
            done.noticed_us = Some(done.noticed_us.map_or(made_us, |us| us.min(made_us)));
            done.under_way |= plan["state"] == "ordered" || plan["state"] == "verifying";
            if plan["state"] == "succeeded" {
                let ended_us = read_us(&plan["changed"]);
                done.proven_us = Some(done.proven_us.map_or(ended_us, |us| us.min(ended_us)));
            }
        }
        done
    }

    /// What the agent has done by its own rules, as its own ledger says.
    fn done_alone(&self, kind: Fault, since_us: i64) -> Done {
        let mut done = Done::default();
        for entry in self.mended.own_actions() {
            let receipt = &entry["receipt"];
            let decided_us = entry["decided_us"].as_i64().unwrap_or_default();
            let is_own = receipt["local"] == true && receipt["component"] == kind.component();
            if is_own && decided_us >= since_us {
                done.noticed_us = done.noticed_us.or(Some(decided_us));
                let helped = receipt["outcome"] == "succeeded";
                done.proven_us = done.proven_us.or(receipt["ended_us"].as_i64().filter(|_| helped));
            }
        }
        done
    }

    /// Waits until this kind's component is well and nothing is wrong with it or was done about it lately, so
    /// that no run depends on the one before; gives what is in the way when the time is over.
    pub async fn becomes_calm(&self, kind: Fault, deadline: Duration) -> Result<(), String> {
        let end = Instant::now() + deadline;
        loop {
            match self.is_calm(kind).await {
                Err(why) if Instant::now() > end => return Err(why),
                Err(_) => tokio::time::sleep(LOOK).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Waits until seconds of the host arrive as they end, for a while: a collector that was away has much to make
    /// up for, and what is slow by that is not the next fault's.
    pub async fn keeps_up(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let mut since = Instant::now();
        while since.elapsed() < STEADY && Instant::now() < end {
            let seen = self.mended.ask("components").await;
            let newest_us = rows(&seen).map(|row| read_us(&row["seen"])).max().unwrap_or_default();
            if now_us() - newest_us > LATE_US {
                since = Instant::now();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn is_calm(&self, kind: Fault) -> Result<(), String> {
        if !kind.is_well(&self.host).await {
            return Err(format!("{} is not well", kind.component()));
        }
        let is_about = |row: &&Value| {
            let rule = row["rule"].as_str().unwrap_or_default();
            row["component"] == kind.component() && !REMEMBERED.contains(&rule)
        };
        let now = self.mended.ask("plan").await;
        if now["would"].is_null() {
            return Err("operations do not answer".to_owned());
        }
        let mut wrong = ["would", "would_not"].iter().flat_map(|side| rows(&now[*side]));
        if let Some(wrong) = wrong.find(is_about) {
            return Err(wrong.to_string());
        }
        let late_us = now_us() - COOLDOWN_US;
        let plans = self.mended.ask("plans").await;
        let is_late = |plan: &&Value| plan["end"].is_null() || read_us(&plan["changed"]) > late_us;
        let late = rows(&plans).filter(is_about).find(is_late);
        late.map_or(Ok(()), |plan| Err(plan.to_string()))
    }
}

impl Drop for World {
    /// Nobody mends any more, and the small disk goes before the directory that it is mounted in.
    fn drop(&mut self) {
        self.mended.agent.kill();
        self.host.disk = None;
    }
}

/// The built-in policy for an operator who breaks his host all the time: the brakes on repeats are wide, and what
/// a host with files of seconds would wait minutes for is waited for seconds.
fn policies() -> String {
    let changes = [
        ("repeat: {max: 5, per: 10m}", "repeat: {max: 1000, per: 10m}"),
        ("actions: 20,", "actions: 10000,"),
        ("actions: 40,", "actions: 10000,"),
        ("actions: 120,", "actions: 10000,"),
        ("alerts: 50,", "alerts: 10000,"),
        ("cooldown: 5m", "cooldown: 1s"),
        ("cooldown: 1m", "cooldown: 1s"),
        ("cooldown: 30s", "cooldown: 1s"),
        ("within 60s", "within 15s"),
        ("budgets:\n", "attempt_window: 1m\nbudgets:\n"),
        ("entries:\n", ENTRIES),
    ];
    let mut text = include_str!("../../collector/decide/src/policy/default.yaml").to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "the built-in policy does not say {from:?} any more; change this test");
        text = text.replace(from, to);
    }
    text
}

/// The rows of an answer.
pub fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Now, µs since 1970.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// A time as the collector writes it, in µs since 1970.
fn read_us(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    let at = DateTime::strptime("%Y-%m-%d %H:%M:%S.%f", text).and_then(|at| at.to_zoned(TimeZone::UTC));
    at.unwrap_or_else(|error| panic!("{text:?} is no time: {error}")).timestamp().as_microsecond()
}
