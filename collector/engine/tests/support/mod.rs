//! An engine in its own process, and an HTTP client small enough to do what clients should not:
//! break off in the middle, send damaged bodies, hold connections open.
#![allow(dead_code, clippy::unwrap_used)] // Each test binary uses its own part.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{mpsc, OnceLock};
use std::time::{Duration, Instant};

/// How long any condition may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Names the directory that a process of this binary serves.
const SERVE: &str = "FETTLE_TEST_SERVE";

/// No test: what [`Engine`] starts as its own process. It ends with its standard input.
#[test]
fn engine_process() {
    let Some(path) = std::env::var_os(SERVE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (ready, told) = tokio::sync::oneshot::channel::<fettle_engine::Ready>();
    runtime.spawn(async move {
        if let Ok(ready) = told.await {
            eprintln!("ready http://{} version {}", ready.address, ready.version);
        }
    });
    let (closed, shutdown) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(closed);
    });
    let settings = fettle_engine::ServeSettings::new(path, "127.0.0.1:0".parse().unwrap());
    let served = runtime.block_on(fettle_engine::serve(settings, ready, async { drop(shutdown.await) }));
    if let Err(error) = &served {
        eprintln!("{error}");
    }
    std::process::exit(i32::from(served.is_err()));
}

/// A running engine; dropped, it is killed.
pub(crate) struct Engine {
    child: Child,
    pub(crate) address: String,
    pub(crate) password: String,
    pub(crate) path: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl Engine {
    /// Starts on a new directory.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clickhouse");
        let mut engine = Self::start_on(&path);
        engine._directory = Some(directory);
        engine
    }

    /// Starts on a directory that stays. It ends with this process, however that ends, because it
    /// ends with its standard input.
    pub(crate) fn start_on(path: &Path) -> Self {
        // This very test binary, told to be the engine: whatever is built is what is tested.
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "support::engine_process", "--nocapture"])
            .env(SERVE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("engine: {line}");
                let _ = sender.send(line);
            }
        });
        let address = loop {
            let line = lines
                .recv_timeout(PATIENCE)
                .expect("the engine did not become ready; is libchdb installed? run deploy/up --setup-only");
            if let Some(rest) = line.strip_prefix("ready http://") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        let password = std::fs::read_to_string(path.join("writer.password")).unwrap().trim().to_owned();
        Self { child, address, password, path: path.to_owned(), _directory: None }
    }

    /// One engine for all tests of a binary.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes its standard input, which asks it to end as SIGTERM does, and waits.
    pub(crate) fn stop(&mut self) -> bool {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().success()
    }

    /// As `stop`, without waiting.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Resident memory in bytes.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// A request by the open reader.
    pub(crate) fn reader(&self, target: &str) -> Request<'_> {
        Request {
            engine: self,
            method: "POST",
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A request by the writer.
    pub(crate) fn writer(&self, target: &str) -> Request<'_> {
        self.reader(target).header("X-ClickHouse-User", "fettle").header("X-ClickHouse-Key", &self.password)
    }

    /// What a query by the reader gives, without the last line end.
    pub(crate) fn ask(&self, sql: &str) -> String {
        self.reader("/").body(sql).send().ok().trim_end().to_owned()
    }

    /// Runs a statement of the writer's.
    pub(crate) fn run(&self, sql: &str) -> Answer {
        let answer = self.writer("/").body(sql).send();
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request being put together.
#[derive(Clone)]
pub(crate) struct Request<'e> {
    engine: &'e Engine,
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request<'_> {
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a parameter to the URL, encoded.
    pub(crate) fn parameter(mut self, name: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        self.target.extend(value.bytes().map(|byte| format!("%{byte:02X}")));
        self
    }

    /// Sends all of it and reads the whole response.
    pub(crate) fn send(self) -> Answer {
        read_answer(self.open())
    }

    /// Sends all of it; the response is the caller's to read, or not.
    pub(crate) fn open(self) -> TcpStream {
        let mut stream = self.open_with_length(self.body.len());
        // A server that refuses early may close before it has read all.
        let _ = stream.write_all(&self.body);
        stream
    }

    /// Sends a head that promises `length` bytes of body.
    pub(crate) fn open_with_length(&self, length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.engine.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n",
            self.method, self.target
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The body came to its proper end.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of a success.
    pub(crate) fn ok(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(self.complete);
        self.text()
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, u32) {
        (self.status, self.header("x-clickhouse-exception-code").parse().unwrap_or(0))
    }
}

/// Reads a response to its end.
pub(crate) fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let _ = stream.shutdown(Shutdown::Both);
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a response head");
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let raw = &bytes[split + 4..];
    let (body, complete) = if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        unchunk(raw)
    } else {
        (raw.to_vec(), true)
    };
    Answer { status, headers, body, complete }
}

fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = raw.windows(2).position(|pair| pair == b"\r\n") else { return (body, false) };
        let Ok(size) = usize::from_str_radix(&String::from_utf8_lossy(&raw[..line]), 16) else {
            return (body, false);
        };
        raw = &raw[line + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&raw[..size.min(raw.len())]);
        if raw.len() < size + 2 {
            return (body, false);
        }
        raw = &raw[size + 2..];
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}
