//! A storm: 10,000 alerts of 500 hosts begin within 10 s, a quarter of them critical. What rules would say is
//! published as the owners of partitions do, on the real subject over the real NATS, and said again every 5 s as
//! they do; routes, storm protection and policies are as shipped. The names of the rules are those of the default
//! pack, so that mending has as much to think about as in life.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use bytes::Bytes;
use serde_json::{json, Value};
use tokio::time::Instant;

use super::percentile;
use super::sinks::{now_us, HttpSink};
use crate::child::POLL;
use crate::ingest::Path;
use crate::report::{mib, number, Aim, Report, Table};
use crate::stack::Stack;
use crate::usage::Usage;

const HOSTS: usize = 500;
/// Each host has one alert of each; the first of four is critical, then high, medium, low.
const RULES: [&str; 20] = [
    "component_down_critical",
    "component_down",
    "cpu_pressure",
    "zombies",
    "disk_space_low",
    "memory_low",
    "io_pressure",
    "thread_count_high",
    "memory_exhausted_soon",
    "disk_full_soon",
    "disk_latency",
    "tcp_retransmits",
    "filesystem_became_read_only",
    "swap_thrashing",
    "network_drops",
    "context_switch_storm",
    "oom_kill",
    "blocked_tasks",
    "listen_drops",
    "cgroup_throttled",
];
const SEVERITIES: [&str; 4] = ["critical", "high", "medium", "low"];
/// The storm rises for so long.
const RISES: Duration = Duration::from_secs(10);
/// It is said again this often, as rules say it.
const AGAIN: Duration = Duration::from_secs(5);
/// How long it stands before it is over, and how long is looked on afterwards.
const STANDS: Duration = Duration::from_secs(120);
const AFTERWARDS: Duration = Duration::from_secs(45);

/// An alert: its rule and its host.
type Name = (String, String);

/// What was seen.
#[derive(Default)]
struct Seen {
    begun_us: BTreeMap<Name, i64>,
    named_us: BTreeMap<Name, i64>,
    notifications: Vec<(f64, String, String, u64, u64)>,
    state_bytes: u64,
    read: usize,
}

/// Makes a storm, and tells of it in the report.
pub(super) async fn run(report: &mut Report, directory: &FilePath, alerts: usize) -> anyhow::Result<()> {
    let stack = Stack::below(directory)?;
    let sink = HttpSink::open().await?;
    let alerting = directory.join("alerts.yaml");
    let routes = format!(
        "channels:\n  hook: {{ kind: webhook, url: \"{}\" }}\nroute:\n  channels: [hook]\n",
        sink.url()
    );
    std::fs::write(&alerting, routes)?;
    let path = Path::configured(&stack, &format!("[operations]\nalerting = {alerting:?}\n")).await?;
    let client = async_nats::connect(format!("nats://{}", path.nats.address)).await?;
    let bucket = wait_until_decides(&client, &path).await?;
    let before = path.collector.child.usage()?;
    let began = Instant::now();
    let began_us = now_us();
    let mut seen = Seen::default();
    let per_host = (alerts / HOSTS).clamp(1, RULES.len());
    let mut said = began;
    let mut highest = before;
    let mut standing = 0;
    while began.elapsed() < STANDS {
        // So many alerts of each host have begun by now.
        let risen = began.elapsed().as_secs_f64() / RISES.as_secs_f64();
        let now = ((per_host as f64 * risen).ceil() as usize).clamp(1, per_host);
        if now > standing || said.elapsed() >= AGAIN {
            standing = now;
            said = Instant::now();
            publish(&client, standing, "firing", &mut seen.begun_us).await?;
        }
        look(&path, &bucket, &sink, began_us, &mut seen, &mut highest).await?;
        tokio::time::sleep(POLL * 5).await;
    }
    let during = path.collector.child.usage()?;
    let told = seen.notifications.len();
    publish(&client, standing, "resolved", &mut BTreeMap::new()).await?;
    let over = Instant::now();
    while over.elapsed() < AFTERWARDS {
        look(&path, &bucket, &sink, began_us, &mut seen, &mut highest).await?;
        tokio::time::sleep(POLL * 5).await;
    }
    let after = path.collector.child.usage()?;
    path.stop().await?;
    let memory = [before, during, highest, after];
    tell(report, &seen, &memory, told, per_host * HOSTS);
    Ok(())
}

/// Operations take a lease first; then there is a bucket with their state.
async fn wait_until_decides(client: &async_nats::Client, path: &Path) -> anyhow::Result<jetstream::Context> {
    let context = jetstream::new(client.clone());
    let decides = super::sinks::wait_for(Duration::from_secs(60), async || {
        Ok(crate::http::get(path.collector.address, "/api/v3/operations").await.ok())
    });
    decides.await?.context("operations were not taken within a minute")?;
    Ok(context)
}

/// Publishes a report of each host about its first `standing` alerts.
async fn publish(
    client: &async_nats::Client,
    standing: usize,
    word: &str,
    begun_us: &mut BTreeMap<Name, i64>,
) -> anyhow::Result<()> {
    for host in 0..HOSTS {
        let (name, at_us) = (format!("host-{host}"), now_us());
        let findings: Vec<Value> = RULES[..standing]
            .iter()
            .enumerate()
            .map(|(at, rule)| {
                let since_us = *begun_us.entry(((*rule).to_owned(), name.clone())).or_insert(at_us);
                json!({
                    "rule": rule, "labels": {"host": name, "component": "app"}, "severity": SEVERITIES[at % 4],
                    "standing": word, "value": 1.0, "at_us": at_us, "since_us": since_us,
                    "summary": format!("{rule} on {name}"), "description": "A storm for the benchmark.",
                    "runbook": null, "action": null,
                })
            })
            .collect();
        let component = json!({
            "kind": "supervised", "up": word != "firing", "critical": false, "replicas": 1, "error_kind": 0,
        });
        let report = json!({
            "host": name, "at_us": at_us, "findings": findings, "components": {"app": component}, "values": {},
        });
        let payload = Bytes::from(serde_json::to_vec(&report)?);
        client.publish(format!("fettle.reports.{name}"), payload).await?;
    }
    client.flush().await?;
    Ok(())
}

/// Takes what came, and looks at memory and state.
async fn look(
    path: &Path,
    bucket: &jetstream::Context,
    sink: &HttpSink,
    began_us: i64,
    seen: &mut Seen,
    highest: &mut Usage,
) -> anyhow::Result<()> {
    for posted in sink.since(seen.read) {
        seen.read += 1;
        let body = &posted.body;
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let count = |key: &str| body[key].as_u64().unwrap_or(0);
        let at_s = (posted.at_us - began_us) as f64 / 1e6;
        let row = (at_s, text("kind"), text("group"), count("alerts_total"), count("held_back"));
        seen.notifications.push(row);
        for name in named(body) {
            seen.named_us.entry(name).or_insert(posted.at_us);
        }
    }
    *highest = path.collector.child.usage()?;
    if let Ok(mut stream) = bucket.get_stream("KV_fettle_operations").await {
        seen.state_bytes = seen.state_bytes.max(stream.info().await.map_or(0, |info| info.state.bytes));
    }
    Ok(())
}

/// Alerts a notification names: whole, or in a line such as `zombies (low): host-7/app, host-8/app`.
fn named(body: &Value) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for alert in body["alerts"].as_array().into_iter().flatten() {
        names.insert((text(&alert["rule"]), text(&alert["labels"]["host"])));
    }
    for line in body["held_back_list"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some((rule, hosts)) = line.split_once(": ") else { continue };
        let rule = rule.split(' ').next().unwrap_or_default();
        for host in hosts.split(", ") {
            names.insert((rule.to_owned(), host.split('/').next().unwrap_or_default().to_owned()));
        }
    }
    names
}

fn tell(report: &mut Report, seen: &Seen, memory: &[Usage; 4], told: usize, alerts: usize) {
    let is_critical =
        |name: &&Name| RULES.iter().position(|rule| *rule == name.0).is_some_and(|at| at % 4 == 0);
    let criticals: Vec<&Name> = seen.begun_us.keys().filter(is_critical).collect();
    let waits: Vec<f64> = criticals
        .iter()
        .filter_map(|name| Some((seen.named_us.get(*name)? - seen.begun_us.get(*name)?) as f64 / 1e6))
        .collect();
    let unnamed = criticals.len() - waits.len();
    report.aim("storm: alerts", "", alerts as f64, Aim::AtLeast(10_000.0));
    report.aim("storm: notifications in two minutes", "", told as f64, Aim::AtMost(50.0));
    report.aim("storm: critical alerts that no notification named", "", unnamed as f64, Aim::AtMost(0.0));
    let last = seen.notifications.iter().take(told).map(|one| one.0).fold(0.0, f64::max);
    let first_critical = percentile(&waits, 0.5);
    report.figure("storm: critical alerts", criticals.len() as f64);
    report.figure("storm: begin to named, critical, p50 s", first_critical);
    report.figure("storm: begin to named, critical, p99 s", percentile(&waits, 0.99));
    report.figure("storm: begin to named, critical, longest s", percentile(&waits, 1.0));
    report.figure("storm: last notification, s after the first alert", last);
    report.figure("storm: state in the key-value store, most bytes", seen.state_bytes);
    let [before, during, highest, after] = memory;
    let mut table = Table::new("Storm: the collector", &["when", "RSS", "CPU s since the start"]);
    for (when, usage) in [("before", before), ("after two minutes", during), ("it is over", after)] {
        table.row(&[when, &mib(usage.rss_bytes), &number(usage.cpu_s)]);
    }
    table.row(&["the most", &mib(highest.peak_bytes.max(after.peak_bytes)), ""]);
    report.figure("storm: collector RSS before, bytes", before.rss_bytes);
    report.figure("storm: collector RSS, most bytes", highest.peak_bytes.max(after.peak_bytes));
    report.figure("storm: collector RSS when it is over, bytes", after.rss_bytes);
    report.table(table);
    let columns = ["s after the first alert", "kind", "group", "alerts", "held back"];
    let mut table = Table::new("Storm: what was told", &columns);
    for (at_s, kind, group, alerts, held) in seen.notifications.iter().take(60) {
        table.row(&[&number(*at_s), kind, group, &alerts.to_string(), &held.to_string()]);
    }
    report.table(table);
    report.note(format!(
        "Storm: each of {} critical alerts was named {} s (p50), {} s (p99), {} s (longest) after it began; the last of {told} \
         notifications came {} s after the first alert, {} more when it was over. The state took at most {} in JetStream.",
        criticals.len(),
        number(first_critical),
        number(percentile(&waits, 0.99)),
        number(percentile(&waits, 1.0)),
        number(last),
        seen.notifications.len() - told,
        mib(seen.state_bytes),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole_and_in_lines() {
        let body = json!({
            "alerts": [{"rule": "oom_kill", "labels": {"host": "host-1"}}],
            "held_back_list": ["zombies (low): host-7/app, host-8/app", "zombies: 3 more, over already"],
        });
        let names = named(&body);
        let of = |rule: &str, host: &str| (rule.to_owned(), host.to_owned());
        assert!(names.contains(&of("oom_kill", "host-1")) && names.contains(&of("zombies", "host-8")));
        assert!(!names.contains(&of("zombies", "host-1")));
    }
}
