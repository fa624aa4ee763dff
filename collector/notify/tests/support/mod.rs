//! What the tests of sending share: a notification, channels from YAML, processes that end with the test.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses some of it; a panic is the report

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
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

/// A port that is free and stays so: it is below those that the kernel gives to whoever asks for any
/// (`net.ipv4.ip_local_port_range`), and the search begins where no other test's process begins.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + ((std::process::id() * 31 + count) % 17_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something listens.
pub async fn listens(port: u16) {
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on port {port} after a minute");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
