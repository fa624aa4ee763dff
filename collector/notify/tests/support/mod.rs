//! What the tests of sending share: a notification, channels from YAML, processes that end with the test.
#![allow(dead_code)] // each test binary uses some of it

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fettle_alert::handoff::{AlertView, Notification, NotificationKind, Severity, Standing};
use fettle_notify::{Channels, Sender};

/// A notification about one alert on `web-1`.
pub fn notification(channel: &str, kind: NotificationKind) -> Notification {
    let labels = BTreeMap::from([("host".to_owned(), "web-1".to_owned())]);
    let resolved = kind == NotificationKind::Resolved;
    Notification {
        id: format!("00000000000000{:02x}", kind as u8),
        group: "host=web-1".to_owned(),
        labels: labels.clone(),
        kind,
        channel: channel.to_owned(),
        severity: Severity::Critical,
        alerts: vec![AlertView {
            id: "0123456789abcdef".to_owned(),
            rule: "disk_full".to_owned(),
            labels,
            severity: Severity::Critical,
            standing: if resolved { Standing::Resolved } else { Standing::Firing },
            value: 97.0,
            since_us: 1_767_700_000_000_000,
            resolved_us: resolved.then_some(1_767_700_900_000_000),
            summary: "the disk is 97 % full <b>& growing</b>".to_owned(),
            description: "It will be full in 20 minutes.".to_owned(),
            runbook: Some("https://runbooks.example.org/disk".to_owned()),
        }],
        alerts_total: 1,
        held_back: 0,
        held_back_list: Vec::new(),
        incident: Some("00000000000000aa".to_owned()),
        cause: Some("disk_full on web-1".to_owned()),
        at_us: 1_767_700_800_000_000,
        reason: "new".to_owned(),
    }
}

/// A sender to the channels of this YAML.
pub fn sender(yaml: &str) -> Sender {
    Sender::new(Channels::from_yaml(yaml).unwrap()).unwrap()
}

/// A process that is killed when the test ends.
pub struct Process(pub Child);

impl Process {
    /// Starts it, silent.
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where `deploy/test-sinks` puts what it fetches.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    cache.unwrap_or_else(home).join("fettle")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something listens.
pub async fn listens(port: u16) {
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on port {port} after a minute");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
