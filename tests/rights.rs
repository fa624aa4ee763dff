//! The rights on NATS of docs/agent.md and docs/collector.md, word for word, on a real nats-server: an agent and a
//! collector that have them and no more store samples and mend a service, and somebody with another agent's login
//! can neither say anything in others' names, nor write what collectors remember, nor give orders, nor listen.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions};
use fettle_tests::mended::{Given, Mended, Service, HOST};
use fettle_tests::rights::{password, ROOT};
use fettle_tests::wait::{until, when};
use futures_util::StreamExt as _;
use rustix::process::Signal;

const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");
/// Longest wait for anything, on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// The agent whose login was stolen.
const STOLEN: &str = "stolen";
/// What an intruder writes.
const MARK: &str = "written by an intruder";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_and_no_more_than_that() {
    let service = Service::new(VICTIM);
    let given = Given { logins: Some(&[STOLEN]), ..Given::default() };
    let components = format!("[components.web]\n{}allow = {{ restart = true }}\n", service.declared(&[]));
    let mended = Mended::start_given(given, |_| components).await;
    mended.sees("web", true, SOON).await;
    let url = mended.stack.nats_url();
    let (root, stolen) = (Login::of(&url, ROOT).await, Login::of(&url, STOLEN).await);
    cannot_speak(&root, &stolen).await;
    cannot_listen(&root, &stolen).await;
    cannot_reach_what_is_kept(&root, &stolen).await;

    // All the while, and after it: samples are stored, a fault is mended by an order, its receipt is taken.
    service.signal(Signal::KILL);
    let plan = mended.plan_ends("web", "succeeded", SOON).await;
    assert_eq!(plan["doing"], "restart", "{plan}");
    let sql = mended.stack.sql();
    until("the receipt is stored, and all that the spool gave is confirmed", SOON, || async {
        let receipts = "SELECT count() FROM fettle.actions WHERE component = 'web' AND outcome = 'succeeded'";
        let confirmed = "SELECT max(stored_seq) FROM fettle.self WHERE component = 'agent'";
        let numbers = (
            sql.number(receipts).await.unwrap_or(0),
            sql.number(confirmed).await.unwrap_or(0),
            sql.number("SELECT count() FROM fettle.ledger_gaps").await.unwrap_or(1),
        );
        when(numbers, |(receipts, confirmed, gaps)| *receipts > 0 && *confirmed > 5 && *gaps == 0)
    })
    .await;
    let foreign = format!("SELECT count() FROM fettle.ledger WHERE agent != '{HOST}'");
    assert_eq!(sql.number(&foreign).await.unwrap(), 0, "nothing of the intruder's is in the ledger");
    let status = mended.ask("operations").await;
    assert_eq!(
        (&status["states_refused"], &status["frozen"]),
        (&serde_json::json!({}), &serde_json::Value::Null)
    );
}

/// A connection, and all that was heard on it.
struct Login {
    client: Client,
    heard: Arc<Mutex<Vec<(String, String)>>>,
    refused: Arc<Mutex<String>>,
}

impl Login {
    async fn of(url: &str, user: &str) -> Self {
        let refused = Arc::<Mutex<String>>::default();
        let told = Arc::clone(&refused);
        let client = ConnectOptions::with_user_and_password(user.to_owned(), password(user))
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .event_callback(move |event| {
                *told.lock().unwrap() += &(event.to_string().to_lowercase() + "\n");
                async {}
            })
            .connect(url)
            .await
            .unwrap();
        Self { client, heard: Arc::default(), refused }
    }

    async fn listen(&self, subject: &str) {
        let mut messages = self.client.subscribe(subject.to_owned()).await.unwrap();
        let heard = Arc::clone(&self.heard);
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                heard.lock().unwrap().push((message.subject.to_string(), text));
            }
        });
    }

    async fn say(&self, subject: &str) {
        self.client.publish(subject.to_owned(), MARK.into()).await.unwrap();
    }

    /// Subjects on which the mark was heard, up to and with `last`: what was said before it has gone by then.
    async fn heard_until(&self, last: &str) -> Vec<String> {
        until(&format!("{last} is heard"), SOON, || async {
            let heard = self.heard.lock().unwrap();
            let marked = heard.iter().filter(|(_, text)| text == MARK).map(|(subject, _)| subject.clone());
            when(marked.collect::<Vec<_>>(), |marked| marked.iter().any(|subject| subject == last))
        })
        .await
    }
}

/// What is another agent's or a collector's to say.
async fn cannot_speak(root: &Login, stolen: &Login) {
    for filter in ["fettle.>", "$KV.>"] {
        root.listen(filter).await;
    }
    root.client.flush().await.unwrap();
    for subject in [
        &format!("fettle.metrics.0.{HOST}"),
        &format!("fettle.receipts.{HOST}"),
        &format!("fettle.inventory.{HOST}"),
        &format!("fettle.orders.{HOST}"),
        &format!("fettle.orders.{STOLEN}"),
        &format!("fettle.stored.{HOST}"),
        &format!("fettle.stored.{STOLEN}"),
        &format!("fettle.reports.{HOST}"),
        &format!("fettle.state.{HOST}.0.head"),
        "fettle.quarantine.0.x",
        "fettle.metrics.0.x",
        "$KV.fettle_operations.state",
        "$KV.fettle_leases.partition.0",
    ] {
        stolen.say(subject).await;
    }
    let own = format!("fettle.inventory.{STOLEN}");
    stolen.say(&own).await;
    assert_eq!(root.heard_until(&own).await, [own]);
}

/// What is meant for others.
async fn cannot_listen(root: &Login, stolen: &Login) {
    let own = format!("fettle.stored.{STOLEN}");
    for filter in [
        &format!("fettle.orders.{HOST}"),
        &format!("fettle.stored.{HOST}"),
        &format!("_INBOX_{HOST}.>"),
        "fettle.orders.>",
        "fettle.>",
        "_INBOX.>",
        "$KV.>",
        ">",
        &own,
    ] {
        stolen.listen(filter).await;
    }
    stolen.client.flush().await.unwrap();
    for subject in [
        &format!("fettle.orders.{HOST}"),
        &format!("fettle.stored.{HOST}"),
        &format!("_INBOX_{HOST}.1"),
        "fettle.reports.x",
        "_INBOX.1",
        &own,
    ] {
        root.say(subject).await;
    }
    assert_eq!(stolen.heard_until(&own).await, [own]);
    assert_eq!(stolen.heard.lock().unwrap().len(), 1, "{:?}", stolen.heard.lock().unwrap());
}

/// Streams and buckets: neither read, nor emptied, nor deleted.
async fn cannot_reach_what_is_kept(root: &Login, stolen: &Login) {
    let kept = jetstream::new(root.client.clone());
    let names = ["FETTLE_METRICS", "KV_fettle_operations", "KV_fettle_leases"];
    let store = until("the state is saved", SOON, || kept.get_key_value("fettle_operations")).await;
    until("there is a state", SOON, || async { store.get("state").await.ok().flatten().ok_or("none") }).await;
    for name in names {
        for verb in ["PURGE", "DELETE", "UPDATE"] {
            let subject = format!("$JS.API.STREAM.{verb}.{name}");
            stolen.say(&subject).await;
            until("it is refused", SOON, || async {
                when(stolen.refused.lock().unwrap().clone(), |said| said.contains(&subject.to_lowercase()))
            })
            .await;
        }
    }
    let state = "$JS.API.DIRECT.GET.KV_fettle_operations.$KV.fettle_operations.state".to_owned();
    let patience = Duration::from_secs(2);
    let asked = tokio::time::timeout(patience, stolen.client.request(state, "".into())).await;
    assert!(!matches!(asked, Ok(Ok(_))), "{asked:?}");
    for name in names {
        let mut stream = kept.get_stream(name).await.unwrap();
        assert!(stream.info().await.unwrap().state.last_sequence > 0, "{name}");
    }
}
