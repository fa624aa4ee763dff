//! An engine in its own process for the store's tests: this very test binary, told to serve.
#![allow(dead_code, clippy::unwrap_used)] // Each test binary uses its own part.

pub mod any_frames;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use fettle_collector::store::{Secret, Store, StoreSettings};
use fettle_shared::catalogue::Catalogue;

/// Names the directory that a process of this binary serves.
const SERVE: &str = "FETTLE_STORE_TEST_SERVE";

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

/// A running engine; it ends with this process, because it ends with its standard input.
pub(crate) struct Engine {
    child: Child,
    url: String,
    password: String,
    _directory: tempfile::TempDir,
}

impl Engine {
    /// One engine for all tests of a binary; each test has its own database.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clickhouse");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store_support::engine_process", "--nocapture"])
            .env(SERVE, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = loop {
            let line =
                lines.next().expect("the engine did not start; is libchdb installed? run deploy/setup");
            if let Some(rest) = line.strip_prefix("ready ") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(|line| eprintln!("engine: {line}")));
        let password = std::fs::read_to_string(path.join("writer.password")).unwrap().trim().to_owned();
        Self { child, url, password, _directory: directory }
    }

    /// Settings of the writer, with a database of its own.
    pub(crate) fn settings(&self, database: &str) -> StoreSettings {
        StoreSettings {
            user: Some("fettle".into()),
            password: Some(Secret(self.password.clone())),
            database: database.into(),
            ..StoreSettings::new(self.url.clone())
        }
    }

    /// A store with its schema made.
    pub(crate) async fn store(&self, database: &str, catalogue: &'static Catalogue) -> Store {
        let store = Store::connect(self.settings(database), catalogue).unwrap();
        store.migrate().await.unwrap();
        store
    }
}
