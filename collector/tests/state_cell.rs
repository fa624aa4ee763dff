//! What operations remember, against a real nats-server: it comes back as it was, in one piece or in many, to this
//! collector and those it trusts, and nothing that somebody else puts there is taken.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use fettle_collector::orders::{OrdersError, SealError, Seals, SigningKey, StateCell};

/// Incompressible bytes, of which some make pieces.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

fn nats_server() -> PathBuf {
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

/// A port that is free and stays so: it is below those that the kernel gives to whoever asks for any
/// (`net.ipv4.ip_local_port_range`), and the search begins where no other test's process begins.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + ((std::process::id() * 31 + count) % 17_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

struct World {
    server: Child,
    client: async_nats::Client,
    dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let server = Command::new(nats_server())
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(dir.path().join("js"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed: run deploy/setup");
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nats-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = async_nats::connect(format!("nats://127.0.0.1:{port}")).await.unwrap();
        Self { server, client, dir }
    }

    /// The seals of a collector that trusts these others; its directory has its name.
    fn seals(&self, name: &str, others: &[&str]) -> Seals {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let others: Vec<[u8; 32]> = others
            .iter()
            .map(|other| {
                fettle_shared::signing::key_from_text(&self.key(&self.dir.path().join(other)).public())
                    .unwrap()
            })
            .collect();
        Seals::new(self.key(&dir), &others, &dir)
    }

    fn key(&self, dir: &Path) -> SigningKey {
        std::fs::create_dir_all(dir).unwrap();
        SigningKey::open(&dir.join("command.key")).unwrap()
    }

    /// The state's cell as a collector just started has it.
    fn cell(&self, run: &str, seals: &Seals) -> StateCell {
        StateCell::new(self.client.clone(), "state", run, Some(seals.clone()))
    }

    async fn store(&self) -> kv::Store {
        jetstream::new(self.client.clone()).get_key_value("fettle_operations").await.unwrap()
    }

    async fn head(&self) -> Bytes {
        self.store().await.get("state").await.unwrap().unwrap()
    }

    async fn put(&self, key: &str, value: Bytes) {
        self.store().await.put(key, value).await.unwrap();
    }

    async fn pieces(&self) -> Vec<String> {
        use futures_util::TryStreamExt as _;
        let keys: Vec<String> = self.store().await.keys().await.unwrap().try_collect().await.unwrap();
        keys.into_iter().filter(|key| key.starts_with("state.")).collect()
    }
}

fn refused(loaded: Result<Option<Vec<u8>>, OrdersError>) -> SealError {
    match loaded {
        Err(OrdersError::NotTaken { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_state_comes_back_whole_and_a_changed_one_does_not() {
    let world = World::new().await;
    let seals = world.seals("a", &[]);
    let mut cell = world.cell("1", &seals);
    assert_eq!(cell.load().await.unwrap(), None);
    let (small, large) = (bytes(1, 1_000), bytes(2, 1_500_000));
    cell.save(&small, 1).await.unwrap();
    assert_eq!(world.cell("2", &seals).load().await.unwrap().unwrap(), small);
    cell.save(&large, 2).await.unwrap();
    assert_eq!(world.pieces().await.len(), 3);
    assert_eq!(world.cell("3", &seals).load().await.unwrap().unwrap(), large);

    // A piece that somebody put in the place of another.
    let piece = world.pieces().await.remove(0);
    let was = world.store().await.get(piece.as_str()).await.unwrap().unwrap();
    world.put(&piece, Bytes::from_static(b"another piece")).await;
    assert!(matches!(world.cell("4", &seals).load().await, Err(OrdersError::Damaged { .. })));
    world.put(&piece, was).await;
    // A head in which one byte is changed.
    let head = world.head().await;
    let mut changed = head.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    world.put("state", changed.into()).await;
    assert_eq!(refused(world.cell("5", &seals).load().await), SealError::BadSignature);
    world.put("state", head).await;
    let mut cell = world.cell("6", &seals);
    assert_eq!(cell.load().await.unwrap().unwrap(), large);
    // The next one takes the pieces of the last away.
    cell.save(&small, 3).await.unwrap();
    assert_eq!(world.pieces().await, Vec::<String>::new());
}

#[tokio::test]
async fn only_collectors_that_are_trusted_are_believed() {
    let world = World::new().await;
    let (a, b) = (world.seals("a", &[]), world.seals("b", &["a"]));
    world.cell("1", &a).save(b"a's", 10).await.unwrap();
    let mut of_b = world.cell("2", &b);
    assert_eq!(of_b.load().await.unwrap().unwrap(), b"a's");
    of_b.save(b"b's", 11).await.unwrap();
    assert!(matches!(refused(world.cell("3", &a).load().await), SealError::UnknownKey(_)));
    // What is refused is replaced all the same.
    let mut of_a = world.cell("4", &a);
    assert!(of_a.load().await.is_err());
    of_a.save(b"anew", 12).await.unwrap();
    assert_eq!(world.cell("5", &b).load().await.unwrap().unwrap(), b"anew");
    // Without a key there is another place, which those with a key do not read, and the reverse.
    let mut keyless = StateCell::new(world.client.clone(), "state", "6", None);
    assert_eq!(keyless.load().await.unwrap(), None);
    keyless.save(b"nobody's", 13).await.unwrap();
    assert_eq!(world.cell("7", &a).load().await.unwrap().unwrap(), b"anew");
}

#[tokio::test]
async fn an_older_state_is_known_after_a_restart_and_by_an_owner_at_work() {
    let world = World::new().await;
    let seals = world.seals("a", &[]);
    let mut cell = world.cell("1", &seals);
    cell.save(b"first", 100).await.unwrap();
    let first = world.head().await;
    cell.save(b"second", 200).await.unwrap();
    world.put("state", first.clone()).await;
    let floor = 200;
    assert_eq!(refused(world.cell("2", &seals).load().await), SealError::Old { number: 100, floor });
    // The owner finds it when it saves next, and then has its own way.
    match cell.save(b"third", 300).await {
        Err(OrdersError::NotTaken { reason: SealError::Old { number: 100, .. }, .. }) => {}
        other => panic!("{other:?}"),
    }
    cell.save(b"third", 300).await.unwrap();
    world.put("state", Bytes::from_static(b"\x01forged")).await;
    match cell.save(b"fourth", 400).await {
        Err(OrdersError::NotTaken { reason: SealError::Unsealed, .. }) => {}
        other => panic!("{other:?}"),
    }
    cell.save(b"fourth", 400).await.unwrap();
    assert_eq!(world.cell("3", &seals).load().await.unwrap().unwrap(), b"fourth");
    // Another one of the same key that has gone on is no intruder; and a clock set back does not stop it.
    let mut other = world.cell("4", &seals);
    other.load().await.unwrap();
    other.save(b"fifth", 1).await.unwrap();
    assert!(matches!(cell.save(b"sixth", 500).await, Err(OrdersError::Overtaken)));
    assert_eq!(world.cell("5", &seals).load().await.unwrap().unwrap(), b"fifth");
}

#[tokio::test]
async fn an_unsigned_state_is_refused_and_can_be_adopted() {
    let world = World::new().await;
    let seals = world.seals("a", &[]);
    let state = bytes(3, 400);
    let mut cell = world.cell("1", &seals);
    cell.save(b"to make the bucket", 1).await.unwrap();
    // As versions before signatures wrote it.
    let unsigned = [&[1][..], &zstd::encode_all(state.as_slice(), 1).unwrap()].concat();
    world.put("state", unsigned.into()).await;
    let mut cell = world.cell("2", &seals);
    assert_eq!(refused(cell.load().await), SealError::Unsealed);
    let adopted = cell.load_unsealed().await.unwrap().unwrap();
    assert_eq!(adopted, state);
    cell.save(&adopted, 2).await.unwrap();
    assert_eq!(world.cell("3", &seals).load().await.unwrap().unwrap(), state);
    assert_eq!(world.cell("4", &seals).load_unsealed().await.unwrap(), None);
    // In pieces; a name that leads to something else is none.
    let packed = zstd::encode_all(state.as_slice(), 1).unwrap();
    for (name, taken) in [("state.x.1.0", true), ("rules_x", false)] {
        world.put(name, packed.clone().into()).await;
        let hash = xxhash_rust::xxh3::xxh3_64(&packed).to_le_bytes();
        world.put("state", [&[2][..], &hash, name.as_bytes()].concat().into()).await;
        let loaded = world.cell("5", &seals).load_unsealed().await;
        assert_eq!(loaded.is_ok(), taken, "{loaded:?}");
    }
}

#[tokio::test]
async fn that_there_was_a_state_is_known_when_it_is_gone() {
    let world = World::new().await;
    let seals = world.seals("a", &[]);
    let known = async |seals: &Seals| {
        let mut cell = world.cell("again", seals);
        assert_eq!(cell.load().await.unwrap(), None);
        cell.had_state()
    };
    assert!(!known(&seals).await, "a new fleet");
    world.cell("one", &seals).save(b"state", 1_000).await.unwrap();
    world.store().await.delete("state").await.unwrap();
    assert!(known(&seals).await);
    assert!(
        known(&world.seals("b", &["a"])).await,
        "another collector, which has seen none, reads it in NATS"
    );
    jetstream::new(world.client.clone()).delete_key_value("fettle_operations").await.unwrap();
    assert!(known(&seals).await, "NATS knows nothing, this collector does");
    assert!(!known(&world.seals("c", &[])).await);
}
