//! A real nats-server that can be killed, started again and robbed of its disk.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

/// The server's binary, where `deploy/setup` puts it or the environment says.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FETTLE_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    match cache.map(|cache| cache.join("fettle/bin/nats-server")) {
        Some(path) if path.is_file() => path,
        _ => "nats-server".into(),
    }
}

/// A port that is free and stays so while nobody listens there: it is below those that the kernel gives to whoever
/// asks for any (`net.ipv4.ip_local_port_range`), such as an agent that looks for its server, and the search begins
/// where no other test's process begins. It is not listened on: what another test starts just then would have the open
/// socket until it is another program, and be taken for the server.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + ((std::process::id() * 31 + count) % 17_000) as u16;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(([127, 0, 0, 1], port).into()).is_ok() {
            return port;
        }
    }
}

/// The server and its directory.
pub(crate) struct Nats {
    port: u16,
    dir: TempDir,
    /// With its configuration, if it has one.
    config: Option<tempfile::NamedTempFile>,
    child: Option<Child>,
}

impl Nats {
    /// A port and a directory; no server yet.
    pub(crate) fn down() -> Self {
        Self { port: free_port(), dir: tempfile::tempdir().unwrap(), config: None, child: None }
    }

    /// A running server.
    pub(crate) fn up() -> Self {
        let mut nats = Self::down();
        nats.start();
        nats
    }

    /// A running server that was given this configuration too.
    pub(crate) fn up_with(config: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let mut nats = Self::down();
        nats.config = Some(file);
        nats.start();
        nats
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Whether a NATS server greets whoever comes.
    fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut greeting = [0; 4];
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.read_exact(&mut greeting).is_ok() && greeting == *b"INFO"
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn start(&mut self) {
        let config = self.config.as_ref().map(|file| ["-c".as_ref(), file.path().as_os_str()]);
        let child = Command::new(binary())
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.dir.path())
            .args(config.into_iter().flatten())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed: run `deploy/setup`");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.greets() {
            assert!(Instant::now() < deadline, "nats-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Deletes all the server has stored.
    pub(crate) fn wipe(&self) {
        wipe(self.dir.path());
    }
}

fn wipe(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
