//! Who the agent is to a real nats-server that lets nobody in without a login: each way to log in, and a login that may not make
//! the stream.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use async_nats::ConnectOptions;
use fettle_shared::access::{Access, Credentials};
use fettle_shared::subjects::METRICS_SHAPE;
use futures_util::StreamExt as _;
use nkeys::{KeyPair, KeyPairType};

use crate::nats::Nats;
use crate::publishing::{runtime, Agent, PATIENT};

/// A file that only its owner may read.
fn secret(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn each_login_is_let_in_and_its_frames_are_taken() {
    runtime().block_on(async {
        let (dir, key) =
            (tempfile::tempdir().unwrap(), KeyPair::new_from_raw(KeyPairType::User, [7; 32]).unwrap());
        let users = format!("{{ nkey: {} }}, {{ user: web, password: \"open sesame\" }}", key.public_key());
        let nats = Nats::up_with(&format!("authorization {{ users = [ {users} ] }}"));
        let seed = secret(dir.path(), "seed", &format!("{}\n", key.seed().unwrap()));
        let password_file = secret(dir.path(), "password", "open sesame\n");
        let logins =
            [Credentials::NkeyFile(seed), Credentials::User { name: "web".to_owned(), password_file }];
        for (number, credentials) in logins.into_iter().enumerate() {
            let access = Access { credentials, ..Access::new(nats.url()) };
            let mut agent = Agent::log_in(access, &dir.path().join(number.to_string()), PATIENT).await;
            agent.offer(3);
            agent.until("three acknowledgements", |figures| figures.publish_acks.get() == 3).await;
            agent.stop().await;
        }
    });
}

/// The server refuses to make the stream beside the request, which is never answered: an agent that waited for the answer
/// would look again only after a request's time, 5 s.
#[test]
fn an_agent_that_may_not_make_the_stream_goes_on_at_once_and_finds_a_collectors() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let rights = "{ publish: [\"fettle.metrics.*.a\", \"$JS.API.STREAM.INFO.FETTLE_METRICS\"], \
                        subscribe: [\"fettle.stored.a\", \"_INBOX_a.>\"] }";
        let agent = format!("{{ user: a, password: word, permissions: {rights} }}");
        let nats = Nats::up_with(&format!(
            "authorization {{ users = [ {agent}, {{ user: root, password: root }} ] }}"
        ));
        let root = ConnectOptions::with_user_and_password("root".into(), "root".into());
        let root = root.connect(nats.url()).await.unwrap();
        let mut looks = root.subscribe("$JS.API.STREAM.INFO.FETTLE_METRICS").await.unwrap();
        root.flush().await.unwrap();
        let credentials =
            Credentials::User { name: "a".to_owned(), password_file: secret(dir.path(), "word", "word") };
        let access = Access { credentials, ..Access::new(nats.url()) };
        let mut agent = Agent::log_in(access, &dir.path().join("spool"), PATIENT).await;
        agent.offer(3);
        looks.next().await.unwrap();
        let again = tokio::time::timeout(Duration::from_secs(4), looks.next()).await;
        assert!(again.is_ok(), "it waits for what is never answered");
        let made = stream::Config {
            name: METRICS_SHAPE.name.to_owned(),
            subjects: vec![METRICS_SHAPE.subjects.to_owned()],
            ..Default::default()
        };
        jetstream::new(root).create_stream(made).await.unwrap();
        agent.until("three acknowledgements", |figures| figures.publish_acks.get() == 3).await;
        agent.stop().await;
    });
}
