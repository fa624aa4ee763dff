//! Starts the collector: HTTP first, so that health can be asked from the beginning, then the
//! schema, then a line for every partition; and stops it in the reverse order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fettle_analysis::live::Plan;
use fettle_shared::catalogue::catalogue;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api::{self, ApiState, OperationsState, Token};
use crate::config::Settings;
use crate::handoff::{OperationsHandle, ReadFindings, RecentDoors};
use crate::health::Health;
use crate::ingest::{self, IngestError};
use crate::orders::{OrdersError, Seals, SigningKey};
use crate::own;
use crate::pipeline::operate::{self, Start};
use crate::pipeline::{self, Context};
use crate::secret_file;
use crate::store::{Store, StoreError};
use crate::telemetry::Telemetry;

/// How often NATS and ClickHouse are asked how they are.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Judged seconds that wait for the rules.
const JUDGED: usize = 1024;
/// How long a stop waits for operations.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Why the collector could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A mistake in the program.
    #[error("a partition's line failed ({0}); start the collector again and report this")]
    Line(String),
    /// The HTTP address is taken or forbidden.
    #[error("HTTP cannot listen on {address} ({cause}); give another --http address or stop what uses it")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Why.
        cause: String,
    },
    /// The state directory cannot be made or is in use.
    #[error("the state directory {path} cannot be used ({cause}); choose another with --state-dir")]
    StateDir {
        /// Path.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// NATS settings cannot be used.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// ClickHouse refused for good.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key cannot be used.
    #[error(transparent)]
    Orders(#[from] OrdersError),
    /// A secret cannot be read, or can be read by others.
    #[error("{path} cannot be used: {cause}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why, and how to mend it.
        cause: String,
    },
    /// There is nothing to sign with.
    #[error(
        "without a state directory there is no key to sign with; give the collector's own with --state-dir"
    )]
    NoKey,
    /// The unsigned state was not taken.
    #[error(transparent)]
    NotAdopted(#[from] operate::NotAdopted),
}

/// Runs until `stop` is set.
pub async fn run(
    settings: Settings,
    supervisor: Option<PathBuf>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ServiceError> {
    let _lock = settings.state_dir.as_ref().map(lock).transpose()?;
    let health = Arc::new(Health::new(supervisor));
    let telemetry = Arc::new(Telemetry::default());
    nothing_is_ready(&health);
    let listener = listen(settings.http).await?;
    let store = Store::connect(settings.store.clone(), catalogue())?;
    let findings: Arc<dyn ReadFindings> = Arc::new(store.clone());
    let (operations, questions) = OperationsHandle::new();
    let token = Token::new(&token(settings.state_dir.as_deref())?);
    let recent = RecentDoors::new(settings.partitions);
    let operations = OperationsState { operations, token, findings: findings.clone() };
    let app = api::router(
        ApiState { health: health.clone(), telemetry: telemetry.clone(), findings, recent: recent.clone() },
        operations,
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(api::serve(listener, app, api::LIMITS, api::ANSWER_TIME));
    let nats = ingest::connect(&settings.nats, "fettle-collector").await?;
    tasks.spawn(probe(health.clone(), store.clone(), nats.clone()));
    if !prepare(&store, &health, &mut stop).await? {
        return Ok(());
    }
    tasks.spawn(own::report(store.clone(), telemetry.clone(), catalogue()));
    let (watched, judged) = mpsc::channel(JUDGED);
    let context = Context {
        store,
        nats,
        catalogue: catalogue(),
        telemetry,
        health,
        owner: owner(settings.state_dir.as_deref())?,
        partitions: settings.partitions,
        recover_timeout: settings.recover_timeout,
        batch_samples: settings.batch_samples,
        analysis: settings.analysis.map(|live| Arc::new(Plan::new(catalogue(), live))),
        snapshot_interval: settings.snapshot_interval,
        watched: settings.operations.is_some().then_some(watched),
        heard: None,
        outlook: settings.outlook,
        outlooks: Arc::new(tokio::sync::watch::Sender::default()),
        recent,
        not_taken: operate::NotTaken::default(),
    };
    let directory = settings.state_dir;
    let seals = directory.as_deref().map(|dir| seals(dir, &settings.trusted_keys)).transpose()?;
    let begun = settings
        .operations
        .map(|files| operate::start(&context, Start { files, seals, questions, judged }, &stop));
    let (mut operating, heard) = begun.unzip();
    let context = Context { heard, ..context };
    let failed = run_lines(&context, &stop).await;
    // They save what they know; a stop that hangs does not hold up the collector.
    if let Some(operating) = &mut operating {
        let ended = async { while operating.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_PATIENCE, ended).await;
    }
    match failed {
        Some(error) => Err(ServiceError::Line(error.to_string())),
        None => {
            tasks.shutdown().await;
            Ok(())
        }
    }
}

/// Signs the state of operations that a version without signatures left, while no collector runs.
///
/// # Errors
/// Why it was not done.
pub async fn adopt_state(settings: &Settings) -> Result<operate::Adopted, ServiceError> {
    let Some(dir) = &settings.state_dir else { return Err(ServiceError::NoKey) };
    let _lock = lock(dir)?;
    let seals = seals(dir, &settings.trusted_keys)?;
    let nats = ingest::connect(&settings.nats, "fettle-collector adopt-state").await?;
    Ok(operate::adopt(nats, &owner(Some(dir))?, seals).await?)
}

/// The key of this state directory, and whose states are taken beside its own.
fn seals(dir: &Path, trusted: &[[u8; 32]]) -> Result<Seals, OrdersError> {
    Ok(Seals::new(SigningKey::open(&dir.join("command.key"))?, trusted, dir))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|e| ServiceError::Listen { address, cause: e.to_string() })?;
    tracing::info!(%address, "HTTP listens");
    Ok(listener)
}

/// Runs a line for every partition until all have ended; gives why one panicked, if one did.
async fn run_lines(context: &Context, stop: &watch::Receiver<bool>) -> Option<tokio::task::JoinError> {
    let mut lines = JoinSet::new();
    for partition in 0..context.partitions {
        lines.spawn(pipeline::run(context.clone(), partition, stop.clone()));
    }
    let mut failed = None;
    while let Some(ended) = lines.join_next().await {
        if let Err(error) = ended {
            // A mistake in the program. Whoever supervises it starts it anew, from what ClickHouse knows.
            tracing::error!(%error, "a partition's line ended by a panic; the collector stops");
            failed.get_or_insert(error);
            lines.abort_all();
        }
    }
    failed
}

/// Waits for ClickHouse and brings the schema up; false when told to stop meanwhile.
async fn prepare(
    store: &Store,
    health: &Health,
    stop: &mut watch::Receiver<bool>,
) -> Result<bool, StoreError> {
    loop {
        match store.migrate().await {
            Ok(()) => {
                health.set("schema", true, "up to date");
                return Ok(true);
            }
            Err(error) if error.is_retryable() => {
                health.set("schema", false, &error.to_string());
                tokio::select! {
                    () = tokio::time::sleep(PROBE_INTERVAL / 5) => {}
                    _ = stop.changed() => return Ok(false),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Keeps the health of NATS and ClickHouse fresh.
async fn probe(health: Arc<Health>, store: Store, nats: async_nats::Client) {
    loop {
        let connected = nats.connection_state() == async_nats::connection::State::Connected;
        health.set(
            "nats",
            connected,
            if connected { "connected" } else { "away; frames wait at the agents" },
        );
        match store.ping().await {
            Ok(version) => health.clickhouse(true, &version),
            Err(error) => health.clickhouse(false, &error.to_string()),
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

/// Until they have answered for the first time.
fn nothing_is_ready(health: &Health) {
    health.set("nats", false, "connecting");
    health.clickhouse(false, "connecting");
    health.set("schema", false, "waiting for ClickHouse");
}

/// This collector's name in leases: kept in the state directory, so that after a crash it may take
/// its own partitions back at once; made up anew where there is none.
fn owner(dir: Option<&Path>) -> Result<String, ServiceError> {
    use std::hash::{BuildHasher, RandomState};
    let fresh = format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1));
    let Some(dir) = dir else { return Ok(fresh) };
    let path = dir.join("owner");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.len() == fresh.len() => Ok(text),
        _ => {
            let fail = |e: std::io::Error| ServiceError::StateDir { path: dir.into(), cause: e.to_string() };
            std::fs::write(&path, &fresh).map_err(fail)?;
            Ok(fresh)
        }
    }
}

/// The token that changes over HTTP need: made on the first start, readable by its owner alone. Without a state
/// directory nobody has it.
fn token(dir: Option<&Path>) -> Result<String, ServiceError> {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    let Some(dir) = dir else { return Ok(String::new()) };
    let fail = |e: std::io::Error| ServiceError::StateDir { path: dir.into(), cause: e.to_string() };
    let path = dir.join("api.token");
    let known = secret_file::read_if_there(&path)
        .map_err(|cause| ServiceError::Secret { path: path.clone(), cause })?;
    match known {
        Some(text) if text.trim().len() == 64 => return Ok(text),
        Some(_) => std::fs::remove_file(&path).map_err(fail)?,
        None => {}
    }
    let mut random = [0; 32];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(fail)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
    writeln!(file, "{text}").map_err(fail)?;
    Ok(text)
}

/// Two collectors on one state directory would own the same partitions: the second is refused.
fn lock(dir: &PathBuf) -> Result<std::fs::File, ServiceError> {
    let fail = |cause: String| ServiceError::StateDir { path: dir.clone(), cause };
    std::fs::create_dir_all(dir).map_err(|e| fail(e.to_string()))?;
    let file = std::fs::File::create(dir.join("lock")).map_err(|e| fail(e.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(fail("another collector runs there".into())),
        Err(std::fs::TryLockError::Error(e)) => Err(fail(e.to_string())),
    }
}
