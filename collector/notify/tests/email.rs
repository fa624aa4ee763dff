//! E-mail, against a real SMTP server: aiosmtpd, which `deploy/test-sinks` fetches.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use fettle_alert::handoff::NotificationKind;
use fettle_notify::SendError;

use support::{cache, free_port, listens, notification, sender, Process};

async fn smtp(directory: &Path, certificate: Option<(&Path, &Path)>) -> (Process, u16) {
    let packages = cache().join("aiosmtpd");
    assert!(
        packages.join("aiosmtpd").is_dir(),
        "aiosmtpd is not in {}; run deploy/test-sinks",
        packages.display()
    );
    let port = free_port();
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", packages)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp_sink.py"))
        .arg(port.to_string())
        .arg(directory);
    if let Some((certificate, key)) = certificate {
        command.arg(certificate).arg(key);
    }
    let process = Process::start(&mut command);
    listens(port).await;
    (process, port)
}

/// A certificate for `localhost` that signs itself.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

fn mails(directory: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "eml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn a_mail_arrives_threaded_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let (_smtp, port) = smtp(directory.path(), None).await;
    let sender = sender(&format!(
        "channels:\n  mail: {{ kind: email, server: 127.0.0.1, port: {port}, tls: none, from: 'Fettle <fettle@example.org>', to: [ops@example.org, night@example.org] }}\n  \
         bad: {{ kind: email, server: 127.0.0.1, port: {port}, tls: none, from: fettle@example.org, to: [refused@example.org] }}\n"
    ));
    let mut firing = notification("mail", NotificationKind::Firing);
    firing.alerts[0].summary = "full\r\nBcc: thief@example.org".to_owned();
    sender.send(&firing).await.unwrap();
    sender.send(&notification("mail", NotificationKind::Resolved)).await.unwrap();
    let mails = mails(directory.path());
    assert_eq!(mails.len(), 2);
    let headers = mails[0].split("\r\n\r\n").next().unwrap();
    assert!(headers.contains("['ops@example.org', 'night@example.org']"), "{headers}");
    assert!(headers.contains(&firing.id) && headers.contains("References: <group-"), "{headers}");
    assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
    assert!(mails[1].contains("Subject: [RESOLVED] host=web-1"), "{}", mails[1]);
    let refused = sender.send(&notification("bad", NotificationKind::Firing)).await;
    assert!(
        matches!(&refused, Err(SendError::Refused { problem, .. }) if problem.contains("no such mailbox")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn starttls_checks_the_certificate_and_logs_in() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(directory.path());
    let (_smtp, port) = smtp(directory.path(), Some((&certificate, &key))).await;
    let (right, wrong) = (directory.path().join("right"), directory.path().join("wrong"));
    std::fs::write(&right, "right\n").unwrap();
    std::fs::write(&wrong, "wrong").unwrap();
    let channel = |name: &str, more: String| {
        format!("  {name}: {{ kind: email, server: localhost, port: {port}, from: a@example.org, to: [b@example.org], retries: 0, {more} }}\n")
    };
    let trusted = format!("ca_file: {}", certificate.display());
    let login = |file: &Path| format!("user: fettle, password_file: {}", file.display());
    let sender = sender(&format!(
        "channels:\n{}{}{}",
        channel("good", format!("{trusted}, {}", login(&right))),
        channel("bad_login", format!("{trusted}, {}", login(&wrong))),
        channel("bad_certificate", login(&right)),
    ));
    let good = sender.send(&notification("good", NotificationKind::Firing)).await;
    assert!(good.is_ok(), "{good:?}");
    assert!(mails(directory.path())[0].contains("X-Tls: True"));
    for channel in ["bad_login", "bad_certificate"] {
        let error = sender.send(&notification(channel, NotificationKind::Firing)).await.unwrap_err();
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    assert_eq!(mails(directory.path()).len(), 1);
}
