//! Somebody who may write to NATS, and what operations remember: whatever is put in the place of the state, a
//! forged one, an old one, another collector's, or nothing at all, is refused by name, mending is frozen, people are told, and what an
//! older version left can be adopted by whoever has the collector's host.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use fettle_tests::binaries::fettle;
use fettle_tests::sql::http_client;
use fettle_tests::stack::Stack;
use fettle_tests::wait::{until, when};
use serde_json::{json, Value};

/// Longest wait for anything, on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// What stands in front of a sealed state: kind, number, key, signature.
const SEAL: usize = 1 + 8 + 32 + 64;

struct World {
    stack: Stack,
    http: reqwest::Client,
    store: kv::Store,
    /// How often a state was refused so far.
    refused: u64,
}

impl World {
    async fn new() -> Self {
        let mut stack = Stack::new("");
        stack.start().await;
        let client = async_nats::connect(stack.nats_url()).await.unwrap();
        let context = jetstream::new(client);
        let store = until("a state was saved", SOON, || context.get_key_value("fettle_operations")).await;
        Self { stack, http: http_client(), store, refused: 0 }
    }

    async fn ask(&self, what: &str) -> Value {
        let url = format!("{}/api/v3/{what}", self.stack.http_url());
        match self.http.get(url).send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    async fn say(&self, what: &str, body: Value) {
        let token = std::fs::read_to_string(self.stack.path("collector/api.token")).unwrap();
        let url = format!("{}/api/v3/{what}", self.stack.http_url());
        let sent = self.http.post(url).bearer_auth(token.trim()).json(&body).send().await.unwrap();
        let status = sent.status();
        assert!(status.is_success(), "{what}: {status} {}", sent.text().await.unwrap());
    }

    /// Something that changes the state: a silence for a host of this name. Waits until it is saved.
    async fn silence(&self, host: &str) {
        let order =
            json!({ "matchers": { "host": host }, "author": "ann", "reason": "test", "seconds": 3600 });
        let before = self.head().await;
        self.say("silences", order).await;
        until("the silence is saved", SOON, || async {
            when(self.head().await, |head| *head != before && head.first() == Some(&3))
        })
        .await;
    }

    async fn head(&self) -> Bytes {
        self.store.get("state").await.unwrap().unwrap_or_default()
    }

    async fn unfreeze(&self) {
        self.say("operations/unfreeze", json!({ "author": "ann", "reason": "looked" })).await;
    }

    async fn silences(&self) -> usize {
        self.ask("silences").await.as_array().map_or(0, Vec::len)
    }

    /// Waits until operations decide; gives what they say of themselves.
    async fn status(&self) -> Value {
        until("operations decide", SOON, || async {
            when(self.ask("operations").await, |status| status["public_key"].is_string())
        })
        .await
    }

    /// Waits until a state was refused for this reason and all is frozen, on record; then ends that.
    async fn refuses(&mut self, reason: &str, words: &str) {
        let status = until(&format!("a state is refused as {reason}"), SOON, || async {
            when(self.ask("operations").await, |status| status["states_refused"][reason] == 1)
        })
        .await;
        let frozen = &status["frozen"];
        assert_eq!(frozen["who"], "collector", "{status}");
        assert!(frozen["why"].as_str().unwrap().contains(words), "{status}");
        let metrics = self.stack.metrics().await.unwrap();
        let line = "fettle_collector_states_refused_total ";
        let counted = metrics.lines().find_map(|text| text.strip_prefix(line)).unwrap();
        assert_ne!(counted.trim(), "0");
        self.refused += 1;
        let (sql, refused) = (self.stack.sql(), self.refused);
        until("the freeze is in the audit", SOON, || async {
            let freezes = "SELECT count() FROM fettle.audit WHERE kind = 'frozen' AND who = 'collector'";
            when(sql.number(freezes).await.unwrap_or(0), |count| *count == refused)
        })
        .await;
        self.unfreeze().await;
    }

    async fn saved(&self) -> Bytes {
        until("there is a sealed state", SOON, || async {
            when(self.store.get("state").await.unwrap().unwrap_or_default(), |head| head.first() == Some(&3))
        })
        .await
    }

    /// The collector is killed, this is put in the place of its state, and it is started again.
    async fn start_on(&mut self, head: Bytes) {
        self.stack.collector.kill();
        self.store.put("state", head).await.unwrap();
        self.stack.collector.start();
        self.stack.healthy(SOON).await;
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.stack.path("collector/command.key")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_collectors_own_is_refused_frozen_and_told() {
    let mut world = World::new().await;
    world.status().await;
    world.silence("one").await;
    let first = world.saved().await;

    // While the owner works: it puts its own back, and keeps what it knows.
    let unsigned = Bytes::copy_from_slice(&first[SEAL..]);
    world.store.put("state", unsigned.clone()).await.unwrap();
    world.silence("two").await;
    world.refuses("unsigned", "it is not signed").await;
    assert_eq!(world.silences().await, 2);
    let second = world.saved().await;

    // While it is away: an older one, one without a signature, one of another key.
    world.start_on(first).await;
    world.refuses("put_back", "it is older than what stood there before").await;
    assert_eq!(world.silences().await, 0, "nothing of the older state is taken");
    world.start_on(unsigned).await;
    world.refuses("unsigned", "it is not signed").await;

    // The directory is new, and so is what was seen: the audit in ClickHouse knows more than the state. A collector at
    // work would write down again what it has seen.
    world.stack.collector.kill();
    std::fs::remove_file(world.stack.path("collector/seen.state")).unwrap();
    world.start_on(second).await;
    world.refuses("behind_the_audit", "ClickHouse has").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_goes_on_from_collector_to_collector_and_from_version_to_version() {
    let mut world = World::new().await;
    let own = world.status().await["public_key"].as_str().unwrap().to_owned();
    world.silence("one").await;
    let aside = world.stack.path("first.key");

    // A collector with another key believes nothing of the first before it is told whose key that is.
    world.stack.collector.kill();
    std::fs::rename(world.key_file(), &aside).unwrap();
    world.stack.collector.start();
    world.stack.healthy(SOON).await;
    world.refuses("unknown_key", &own).await;
    let other = world.status().await["public_key"].as_str().unwrap().to_owned();
    assert_ne!(other, own);
    world.silence("two").await;
    world.stack.collector.kill();
    std::fs::rename(&aside, world.key_file()).unwrap();
    let trusted = format!("[operations]\ntrusted_keys = [\"{other}\"]\n");
    std::fs::write(world.stack.path("collector.toml"), trusted).unwrap();
    world.stack.collector.start();
    world.stack.healthy(SOON).await;
    let status = world.status().await;
    assert_eq!((&status["states_refused"], &status["frozen"]), (&json!({}), &Value::Null));
    assert_eq!((world.silences().await, status["public_key"].as_str()), (1, Some(own.as_str())));

    // What a version without signatures left is adopted by a command, and stays frozen until a person has looked.
    world.stack.collector.kill();
    let unsigned = world.saved().await.slice(SEAL..);
    world.store.put("state", unsigned).await.unwrap();
    let path = |name: &str| world.stack.path(name).display().to_string();
    let adopt = Command::new(fettle("fettle-collector"))
        .args(["adopt-state", "--config", &path("collector.toml"), "--nats", &world.stack.nats_url()])
        .args(["--state-dir", &path("collector")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&adopt.stderr).into_owned();
    assert!(adopt.status.success() && said.contains("1 silences"), "{said}");
    world.stack.collector.start();
    world.stack.healthy(SOON).await;
    let status = world.status().await;
    assert_eq!((&status["states_refused"], world.silences().await), (&json!({}), 1));
    assert!(status["frozen"]["why"].as_str().unwrap().contains("adopted"), "{status}");
    world.unfreeze().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_gone_is_no_new_fleet() {
    let mut world = World::new().await;
    let status = world.status().await;
    assert_eq!(
        (&status["states_refused"], &status["frozen"]),
        (&json!({}), &Value::Null),
        "a new fleet is not frozen"
    );
    world.silence("one").await;
    world.saved().await;

    // ClickHouse is away, a person freezes, and the state is deleted: nobody knows of that freeze any more.
    world.stack.engine.kill();
    world.say("operations/freeze", json!({ "author": "ann", "reason": "a look first" })).await;
    world.stack.collector.kill();
    world.store.delete("state").await.unwrap();
    world.stack.engine.start();
    world.stack.engine_answers().await;
    world.stack.collector.start();
    world.stack.healthy(SOON).await;
    world.refuses("lost", "the saved state is gone").await;
    assert_eq!(world.silences().await, 0);

    // NATS forgot it without a trace, and this collector never saw one: the audit in ClickHouse did.
    world.stack.collector.kill();
    std::fs::remove_file(world.stack.path("collector/seen.state")).unwrap();
    world.stack.wipe_nats();
    world.stack.collector.start();
    world.stack.healthy(SOON).await;
    world.refuses("lost", "the saved state is gone").await;
}
