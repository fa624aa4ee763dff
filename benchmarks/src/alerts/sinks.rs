//! Where notifications end: an HTTP server that takes every message and drops no double, and a real SMTP server
//! (aiosmtpd, the one that the tests of notifications use). Both note when a message came.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{ensure, Context as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::child::{cache_directory, find_program, free_address, words, Child, Start, POLL};

/// Longest head and body taken.
const MOST: usize = 8 << 20;
const READY: Duration = Duration::from_secs(60);
/// The server, as the tests of notifications run it.
const SMTP_SINK: &str = "collector/notify/tests/smtp_sink.py";

/// Now, µs since 1970.
pub(super) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// One message over HTTP.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    /// When all of it was there, µs since 1970.
    pub(super) at_us: i64,
    /// Its `Idempotency-Key`.
    pub(super) key: String,
    /// The notification.
    pub(super) body: Value,
}

impl Posted {
    /// Whether it is of this kind and about this component.
    pub(super) fn is(&self, kind: &str, component: &str) -> bool {
        let about = |alert: &Value| alert["labels"]["component"] == component;
        self.body["kind"] == kind && self.body["alerts"].as_array().is_some_and(|all| all.iter().any(about))
    }
}

#[derive(Debug, Default)]
struct Inbox {
    posted: Vec<Posted>,
    /// The next message is to be kept waiting for its answer.
    armed: bool,
    /// One waits.
    caught: bool,
}

/// The HTTP server; it ends with the runtime.
#[derive(Debug, Clone)]
pub(super) struct HttpSink {
    address: SocketAddr,
    shared: Arc<Mutex<Inbox>>,
}

fn lock(shared: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpSink {
    /// Listens.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
        let sink = Self { address: listener.local_addr()?, shared: Arc::default() };
        let shared = sink.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // A sender that is killed half-way has said nothing.
                    let _ = serve(stream, &shared).await;
                });
            }
        });
        Ok(sink)
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// How many messages came so far.
    pub(super) fn len(&self) -> usize {
        lock(&self.shared).posted.len()
    }

    /// Messages from this one on.
    pub(super) fn since(&self, first: usize) -> Vec<Posted> {
        lock(&self.shared).posted.get(first..).unwrap_or_default().to_vec()
    }

    /// The first message from this one on that is like that.
    pub(super) fn find(&self, first: usize, is_it: impl Fn(&Posted) -> bool) -> Option<Posted> {
        lock(&self.shared).posted.get(first..)?.iter().find(|posted| is_it(posted)).cloned()
    }

    /// Keeps the sender of the next message waiting for its answer, until [`HttpSink::release`].
    pub(super) fn arm(&self) {
        lock(&self.shared).armed = true;
    }

    /// Whether a sender waits.
    pub(super) fn has_caught(&self) -> bool {
        lock(&self.shared).caught
    }

    /// Answers again.
    pub(super) fn release(&self) {
        let mut shared = lock(&self.shared);
        (shared.armed, shared.caught) = (false, false);
    }
}

async fn serve(mut stream: TcpStream, shared: &Mutex<Inbox>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(bytes.len() < MOST && stream.read_buf(&mut bytes).await? > 0, "no head");
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let header = |wanted: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = header("Content-Length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < head + length {
        ensure!(bytes.len() < MOST && stream.read_buf(&mut bytes).await? > 0, "no body");
    }
    let body = serde_json::from_slice(&bytes[head..head + length]).unwrap_or_default();
    let key = header("Idempotency-Key").unwrap_or_default();
    let waits = {
        let mut shared = lock(shared);
        shared.posted.push(Posted { at_us: now_us(), key, body });
        shared.caught |= shared.armed;
        std::mem::take(&mut shared.armed)
    };
    while waits && lock(shared).caught {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
    Ok(())
}

/// The SMTP server; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct MailSink {
    _server: Child,
    directory: PathBuf,
    port: u16,
    /// Subjects by the time of coming, µs since 1970.
    read: BTreeMap<i64, String>,
}

impl MailSink {
    /// Starts it below a directory.
    pub(super) async fn open(state: &Path, logs: &Path) -> anyhow::Result<Self> {
        let packages = cache_directory().join("aiosmtpd");
        ensure!(packages.join("aiosmtpd").is_dir(), "aiosmtpd was not found; run deploy/test-sinks");
        let program = find_program("python3", None).context("python3 was not found")?;
        let script = std::fs::canonicalize(SMTP_SINK)
            .with_context(|| format!("{SMTP_SINK} is not there; run this in the repository's root"))?;
        let directory = state.join("mails");
        std::fs::create_dir_all(&directory)?;
        let address = free_address()?;
        let mut server = Start {
            name: "smtp",
            program: &program,
            arguments: words([&script, &address.port().to_string(), &directory]),
            logs,
            environment: vec![("PYTHONPATH", packages.into())],
        }
        .spawn()?;
        server.ready(READY, async || TcpStream::connect(address).await.is_ok()).await?;
        Ok(Self { _server: server, directory, port: address.port(), read: BTreeMap::new() })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// When the first mail came after this moment whose subject says all of these words, µs since 1970.
    pub(super) fn first(
        &mut self,
        after_us: i64,
        holds: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Option<i64>> {
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(at_ns) = name.strip_suffix(".eml").and_then(|text| text.parse::<i64>().ok()) else {
                continue;
            };
            if let std::collections::btree_map::Entry::Vacant(place) = self.read.entry(at_ns / 1_000) {
                place.insert(subject(&std::fs::read_to_string(&path)?));
            }
        }
        let mut later = self.read.range(after_us..);
        Ok(later.find(|(_, subject)| holds(subject)).map(|(at_us, _)| *at_us))
    }
}

/// A mail's subject, on one line.
fn subject(mail: &str) -> String {
    let mut lines = mail.lines().skip_while(|line| !line.starts_with("Subject:"));
    let first = lines.next().unwrap_or_default().to_owned();
    lines.take_while(|line| line.starts_with([' ', '\t'])).fold(first, |all, line| all + line)
}

/// Asks until there is an answer, or for so long.
pub(super) async fn wait_for<T>(
    most: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let end = tokio::time::Instant::now() + most;
    loop {
        let answer = ask().await?;
        if answer.is_some() || tokio::time::Instant::now() >= end {
            return Ok(answer);
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_subject_is_read() {
        let mail =
            "X-To: a\nSubject: [HIGH] root.0/component=c1,\n host=bench: down\nFrom: b\n\nSubject: no\n";
        assert_eq!(subject(mail), "Subject: [HIGH] root.0/component=c1, host=bench: down");
        assert_eq!(subject("From: b\n\n"), "");
    }

    #[test]
    fn a_message_is_taken_with_its_key_and_its_sender_can_be_kept_waiting() -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let sink = HttpSink::open().await?;
            let post = |n: u8| {
                let headers = [("Idempotency-Key", "k1")];
                let body =
                    format!("{{\"kind\":\"firing\",\"alerts\":[{{\"labels\":{{\"component\":\"c{n}\"}}}}]}}");
                let address = sink.address;
                tokio::spawn(async move { crate::http::post(address, "/", &headers, body.as_bytes()).await })
            };
            post(1).await??;
            assert!(sink.since(0)[0].is("firing", "c1") && sink.since(0)[0].key == "k1");
            sink.arm();
            let waiting = post(2);
            assert!(wait_for(READY, async || Ok(sink.has_caught().then_some(()))).await?.is_some());
            assert!(!waiting.is_finished());
            sink.release();
            waiting.await??;
            assert_eq!((sink.len(), sink.since(1).len()), (2, 1));
            Ok(())
        })
    }
}
