//! From this host's /proc to SQL, through every part: the agent samples, NATS carries, the collector
//! stores, and the rows are there to be asked for.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use fettle_shared::catalogue::catalogue;
use fettle_tests::binaries::fettle;
use fettle_tests::proof;
use fettle_tests::sql::Sql;
use fettle_tests::stack::{Stack, START};
use fettle_tests::wait::{until, when};

const AGENT: &str = "spine-1";
const SOON: Duration = Duration::from_secs(60);

/// Families of which this host has anything, as the agent itself finds.
fn families_of_this_host() -> BTreeSet<String> {
    let sample = Command::new(fettle("fettle-agent"))
        .args(["sample", "--once", "--format", "json"])
        .output()
        .expect("the agent runs");
    let text = String::from_utf8_lossy(&sample.stdout).into_owned();
    assert!(sample.status.success(), "{text}{}", String::from_utf8_lossy(&sample.stderr));
    let seen: serde_json::Value = serde_json::from_str(&text).expect("--format json is JSON");
    let named = |name: &&str| seen["families"].get(*name).is_some();
    let families: BTreeSet<String> =
        catalogue().families.iter().map(|f| f.name.as_str()).filter(named).map(String::from).collect();
    assert!(families.len() >= 8, "only {families:?} in {seen}");
    families
}

async fn hosts_rows(sql: &Sql, family: &str) -> anyhow::Result<u64> {
    sql.number(&format!("SELECT count() FROM fettle.{family} WHERE host = '{AGENT}'")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_host_can_be_asked_about_in_sql() {
    let ballast = std::hint::black_box(vec![1u8; 64 << 20]);
    let mut stack = Stack::new("");
    stack.start().await;
    let mut agent = stack.agent(AGENT);
    agent.start();
    let sql = stack.sql();
    let families = families_of_this_host();
    until("every family of this host has rows", SOON, || async {
        let mut missing = Vec::new();
        for family in &families {
            if hosts_rows(&sql, family).await.unwrap_or(0) == 0 {
                missing.push(family.clone());
            }
        }
        when(missing, Vec::is_empty)
    })
    .await;
    let health = stack.healthy(START).await;
    assert_eq!(health["status"], "ready", "{health}");
    own_memory_is_right(&sql).await;
    drop(ballast);
    the_long_view_has_it(&sql).await;
    let metrics = stack.metrics().await.unwrap();
    assert!(metrics.contains("samples_stored"), "{metrics}");
    let code = agent.terminate(SOON).await;
    assert_eq!(code, Some(0), "{}", agent.last_words(20));
    proof::ledger_is_whole(&sql).await.unwrap();
    let frames =
        sql.number(&format!("SELECT count() FROM fettle.ledger WHERE agent = '{AGENT}'")).await.unwrap();
    assert!(frames > 0);
    assert_eq!(stack.collector.terminate(SOON).await, Some(0), "{}", stack.collector.last_words(20));
    assert_eq!(stack.engine.terminate(SOON).await, Some(0), "{}", stack.engine.last_words(20));
}

/// The test's own process holds 64 MiB that it has touched; the agent must have seen them.
async fn own_memory_is_right(sql: &Sql) {
    let pid = std::process::id();
    let query = format!("SELECT max(rss_bytes) FROM fettle.process WHERE host = '{AGENT}' AND pid = {pid}");
    let seen = until("this process is sampled", SOON, || async {
        when(sql.number(&query).await.unwrap_or(0), |rss| *rss > 0)
    })
    .await;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    let kernel = pages * rustix::param::page_size() as u64;
    assert!(seen > 64 << 20, "{seen} bytes seen, {kernel} by the kernel");
    assert!(seen.abs_diff(kernel) < 64 << 20, "{seen} bytes seen, {kernel} by the kernel");
}

async fn the_long_view_has_it(sql: &Sql) {
    let pid = std::process::id();
    let query = format!(
        "SELECT count() FROM fettle.metrics WHERE host = '{AGENT}' AND family = 'process' \
         AND metric = 'rss_bytes' AND entity['pid'] = '{pid}'"
    );
    let rows = sql.number(&query).await.unwrap();
    assert!(rows > 0, "the long view has nothing of process {pid}");
}
