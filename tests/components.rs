//! What a host's file declares is supervised, checked and told of: the agent is killed and what it supervises
//! lives on and is found again; then the process itself is killed, and the rows say so within three seconds.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fettle_tests::binaries::fettle;
use fettle_tests::process::Process;
use fettle_tests::sql::Sql;
use fettle_tests::stack::Stack;
use fettle_tests::wait::{until, when};
use rustix::process::{kill_process, test_kill_process, Pid, Signal};

const AGENT: &str = "components-1";
const SOON: Duration = Duration::from_secs(60);
/// From a kill to the time of the first row that says so.
const SEEN_WITHIN_US: u64 = 3_000_000;
const FILE: &str = "\
[components.sleeper]
runs = { command = [\"/bin/sleep\", \"100000\"] }
interval = \"1s\"
critical = true
";

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// The supervised process, as the agent has written it down.
async fn supervised(record: &Path) -> Pid {
    until("the process is on record", SOON, || async {
        let text = std::fs::read(record).map_err(|error| error.to_string())?;
        let record: serde_json::Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let pid = record["components"]["sleeper"]["processes"][0][0].as_i64();
        pid.and_then(|pid| Pid::from_raw(pid as i32)).ok_or_else(|| record.to_string())
    })
    .await
}

/// The time of the first row after `from_us` that says up or down, µs.
async fn first_row(sql: &Sql, up: u8, from_us: u64) -> u64 {
    let query = format!(
        "SELECT min(toUInt64(toUnixTimestamp64Micro(ts))) FROM fettle.component WHERE host = '{AGENT}' \
         AND component = 'sleeper' AND kind = 'supervised' AND critical = 1 AND up = {up} \
         AND toUnixTimestamp64Micro(ts) >= {from_us}"
    );
    until("a row that says so", SOON, || async {
        let first = sql.number(&query).await.map_err(|error| error.to_string())?;
        when(first, |first| *first > 0).map_err(|none| none.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_component_is_down_in_the_rows_within_three_seconds() {
    let mut stack = Stack::new("");
    stack.start().await;
    let (file, config) = (stack.path("components.toml"), stack.path("agent.toml"));
    std::fs::write(&file, FILE).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&config, format!("[act]\nfile = {file:?}\nstate_dir = {:?}\n", stack.path("state")))
        .unwrap();
    let (spool, nats) = (stack.path("spool").display().to_string(), stack.nats_url());
    let config = config.display().to_string();
    let arguments = [
        "run",
        "--config",
        &config,
        "--nats",
        &nats,
        "--spool",
        &spool,
        "--agent",
        AGENT,
        "--metrics",
        "off",
    ];
    let mut agent = Process::new("agent", fettle("fettle-agent"), &arguments, &stack.logs());
    agent.start();
    let record = stack.path("state/components/supervised.json");
    let first = supervised(&record).await;
    let sql = stack.sql();
    first_row(&sql, 1, 0).await;

    agent.kill();
    test_kill_process(first).expect("it lives on when the agent is killed");
    agent.start();
    let again = now_us();
    first_row(&sql, 1, again).await;
    assert_eq!(supervised(&record).await, first, "it is found again, not started twice");

    let killed = now_us();
    kill_process(first, Signal::KILL).unwrap();
    let down = first_row(&sql, 0, killed).await;
    eprintln!(
        "down in the rows {} ms after the kill, to be read {} ms after",
        (down - killed) / 1000,
        (now_us() - killed) / 1000
    );
    assert!(down - killed <= SEEN_WITHIN_US, "{} µs", down - killed);
    stack.nobody_fell();
}
