//! The push to a real Alertmanager, which `deploy/test-sinks` fetches: what it then shows is what was sent.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use fettle_alert::handoff::NotificationKind;
use serde_json::Value;

use support::{cache, free_port, listens, notification, sender, Process};

async fn alerts(port: u16) -> Vec<Value> {
    let url = format!("http://127.0.0.1:{port}/api/v2/alerts?active=true");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn alertmanager_shows_what_fires_and_drops_what_is_resolved() {
    let program = cache().join("bin/prometheus-alertmanager");
    assert!(program.is_file(), "{} is not there; run deploy/test-sinks", program.display());
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yml");
    std::fs::write(&config, "route: { receiver: none }\nreceivers: [{ name: none }]\n").unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", directory.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=");
    let _alertmanager = Process::start(&mut command);
    listens(port).await;
    let sender =
        sender(&format!("channels:\n  am: {{ kind: alertmanager, url: 'http://127.0.0.1:{port}' }}\n"));

    let mut firing = notification("am", NotificationKind::Firing);
    let now_us = i64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros(),
    )
    .unwrap();
    firing.at_us = now_us;
    firing.alerts[0].since_us = now_us - 60_000_000;
    firing.alerts[0].labels.insert("mount point".to_owned(), "/data".to_owned());
    sender.send(&firing).await.unwrap();
    sender.send(&firing).await.unwrap();
    let shown = alerts(port).await;
    assert_eq!(shown.len(), 1, "the same alert twice is one: {shown:?}");
    assert_eq!(shown[0]["labels"]["alertname"], "disk_full");
    assert_eq!(shown[0]["labels"]["mount_point"], "/data");
    assert_eq!(shown[0]["annotations"]["runbook_url"], "https://runbooks.example.org/disk");

    let mut resolved = firing.clone();
    resolved.kind = NotificationKind::Resolved;
    resolved.alerts[0].standing = fettle_alert::handoff::Standing::Resolved;
    resolved.alerts[0].resolved_us = Some(now_us);
    sender.send(&resolved).await.unwrap();
    sender.send(&notification("am", NotificationKind::Acknowledged)).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !alerts(port).await.is_empty() {
        assert!(Instant::now() < until, "it still shows what is resolved");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
