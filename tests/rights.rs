//! The rights on NATS of docs/agent.md and docs/collector.md, word for word, on a real nats-server: each login may say and
//! hear what it needs, and nothing else, however it asks. What is refused is refused by the server's own word, and the very same
//! message is heard when somebody says it who may.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, kv, stream};
use async_nats::{Client, ConnectOptions};
use fettle_tests::rights::{password, COLLECTOR, ROOT};
use fettle_tests::stack::Stack;
use fettle_tests::wait::{until, when};
use futures_util::StreamExt as _;

/// Longest wait for anything, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// Two agents.
const ONE: &str = "one";
const TWO: &str = "two";

/// Said by one agent or about another, by nobody but those who may.
const NO_AGENT_SAYS: [&str; 17] = [
    "fettle.metrics.0.two",
    "fettle.metrics.0.x",
    "fettle.receipts.two",
    "fettle.inventory.two",
    "fettle.orders.one",
    "fettle.orders.two",
    "fettle.stored.one",
    "fettle.stored.two",
    "fettle.reports.two",
    "fettle.state.two.0.head",
    "fettle.quarantine.0.x",
    "$KV.fettle_operations.state",
    "$KV.fettle_leases.partition.0",
    "_INBOX_two.1",
    "_INBOX.1",
    "$JS.API.STREAM.NAMES",
    "other",
];
/// What an agent must not listen to.
const NO_AGENT_HEARS: [&str; 9] = [
    "fettle.orders.two",
    "fettle.stored.two",
    "fettle.inventory.two",
    "fettle.reports.x",
    "fettle.metrics.0.one",
    "_INBOX_two.1",
    "_INBOX.1",
    "$KV.fettle_operations.state",
    "other",
];
const NO_COLLECTOR_SAYS: [&str; 5] =
    ["fettle.metrics.0.one", "fettle.receipts.one", "fettle.inventory.one", "_INBOX_one.1", "other"];
const NO_COLLECTOR_HEARS: [&str; 6] =
    ["fettle.orders.one", "fettle.stored.one", "fettle.metrics.0.one", "_INBOX_one.1", "$KV.x.y", "other"];

/// A connection, what it has heard and what it was refused.
struct Login {
    client: Client,
    /// Subject and text.
    heard: Arc<Mutex<Vec<(String, String)>>>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Login {
    async fn of(url: &str, user: &str) -> Self {
        let refused = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&refused);
        // Collectors have the library's own inbox.
        let inbox = if user == COLLECTOR { "_INBOX".to_owned() } else { format!("_INBOX_{user}") };
        let client = ConnectOptions::with_user_and_password(user.to_owned(), password(user))
            .custom_inbox_prefix(inbox)
            .event_callback(move |event| {
                told.lock().unwrap().push(event.to_string().to_lowercase());
                async {}
            })
            .connect(url)
            .await
            .unwrap();
        Self { client, heard: Arc::default(), refused }
    }

    /// Listens, whether it may or not. The server may come to that later than to what another connection says: the
    /// library's flush waits for the socket, and not for the server.
    async fn listen(&self, filter: &str) {
        let mut messages = self.client.subscribe(filter.to_owned()).await.unwrap();
        let heard = Arc::clone(&self.heard);
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                heard.lock().unwrap().push((message.subject.to_string(), text));
            }
        });
    }

    /// Waits until the server has come to all that was asked of it here: what one connection says is taken in order.
    async fn is_there(&self, observer: &Login, on: &str) {
        self.say(on, "here").await;
        observer.heard_until("here", on).await;
    }

    async fn say(&self, subject: &str, text: &str) {
        self.client.publish(subject.to_owned(), text.to_owned().into()).await.unwrap();
    }

    /// Subjects on which this text was heard, in order, once `last` is among them: what one connection said before
    /// has come by then.
    async fn heard_until(&self, text: &str, last: &str) -> Vec<String> {
        until(&format!("{text:?} is heard on {last}"), SOON, || async {
            let heard = self.heard.lock().unwrap().clone();
            let marked: Vec<String> =
                heard.iter().filter(|(_, said)| said == text).map(|(subject, _)| subject.clone()).collect();
            if marked.iter().any(|subject| subject == last) {
                Ok(marked)
            } else {
                Err(heard)
            }
        })
        .await
    }

    /// Waits until the server has refused this: `publish to` or `subscription to`.
    async fn is_refused(&self, what: &str, subject: &str) {
        let words = format!("{what} \"{}\"", subject.to_lowercase());
        until(&format!("{words} is refused"), SOON, || async {
            when(self.refused.lock().unwrap().clone(), |all| all.iter().any(|said| said.contains(&words)))
        })
        .await;
    }

    /// What it says here nobody hears; what it says last on `own` is heard.
    async fn cannot_say(&self, observer: &Login, text: &str, subjects: &[&str], own: &[&str]) {
        for subject in subjects.iter().chain(own) {
            self.say(subject, text).await;
        }
        assert_eq!(observer.heard_until(text, own.last().unwrap()).await, own);
        for subject in subjects {
            self.is_refused("publish to", subject).await;
        }
    }

    /// What root says here it does not hear, whatever it listens to; what root says on `own` it hears. It may speak
    /// on `on`.
    async fn cannot_hear(
        &self,
        (root, observer): (&Login, &Login),
        on: &str,
        subjects: &[&str],
        own: &[&str],
    ) {
        for filter in subjects.iter().chain(&["fettle.>", "fettle.*.*", "$KV.>", ">"]) {
            self.listen(filter).await;
            self.is_refused("subscription to", filter).await;
        }
        for filter in own {
            self.listen(filter).await;
        }
        self.is_there(observer, on).await;
        for subject in subjects.iter().chain(own) {
            root.say(subject, "from root").await;
        }
        let mut wanted: Vec<&str> = own.to_vec();
        wanted.sort_unstable();
        until(&format!("{own:?} are heard"), SOON, || async {
            let all = self.heard.lock().unwrap().clone();
            let said = all.into_iter().filter(|(_, text)| text == "from root");
            let mut heard: Vec<String> = said.map(|(on, _)| on).collect();
            heard.sort();
            when(heard, |heard| *heard == wanted)
        })
        .await;
    }
}

/// A server with these rights, somebody who may do everything, and an observer of everything.
async fn world() -> (Stack, String, Login, Login) {
    let mut stack = Stack::new("");
    stack.restrict_nats(&[ONE, TWO]);
    stack.nats.start();
    let url = stack.nats_url();
    until("nats-server answers", SOON, || {
        ConnectOptions::with_user_and_password(ROOT.into(), password(ROOT)).connect(&url)
    })
    .await;
    let (root, observer) = (Login::of(&url, ROOT).await, Login::of(&url, ROOT).await);
    observer.listen(">").await;
    observer.is_there(&observer, "ready").await;
    (stack, url, root, observer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_says_and_hears_what_is_its_own_and_nothing_else() {
    let (_stack, url, root, observer) = world().await;
    // What is refused below is heard when somebody says it who may: the observer is no deaf one.
    for subject in NO_AGENT_SAYS {
        root.say(subject, "from root").await;
    }
    assert_eq!(observer.heard_until("from root", "other").await, NO_AGENT_SAYS);
    let one = Login::of(&url, ONE).await;
    let own =
        ["fettle.metrics.0.one", "fettle.metrics.255.one", "fettle.receipts.one", "fettle.inventory.one"];
    one.cannot_say(&observer, "from one", &NO_AGENT_SAYS, &own).await;
    let own = ["fettle.orders.one", "fettle.stored.one", "_INBOX_one.1"];
    one.cannot_hear((&root, &observer), "fettle.inventory.one", &NO_AGENT_HEARS, &own).await;

    // An order is answered where its giver waits, which the agent may not write to otherwise.
    let two = Login::of(&url, TWO).await;
    let mut orders = two.client.subscribe("fettle.orders.two").await.unwrap();
    two.is_there(&observer, "fettle.inventory.two").await;
    let collector = Login::of(&url, COLLECTOR).await;
    let answering = async {
        let order = orders.next().await.unwrap();
        two.client.publish(order.reply.unwrap(), "accepted".into()).await.unwrap();
    };
    let asking = collector.client.request("fettle.orders.two", "restart".into());
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap().payload, "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_says_no_samples_and_hears_no_orders() {
    let (_stack, url, root, observer) = world().await;
    let collector = Login::of(&url, COLLECTOR).await;
    let own = [
        "fettle.state.one.0.head",
        "fettle.quarantine.0.x",
        "fettle.reports.one",
        "fettle.stored.one",
        "fettle.orders.one",
    ];
    collector.cannot_say(&observer, "from a collector", &NO_COLLECTOR_SAYS, &own).await;
    let own = ["fettle.receipts.one", "fettle.inventory.one", "fettle.reports.one", "_INBOX.1.2"];
    collector.cannot_hear((&root, &observer), "fettle.stored.one", &NO_COLLECTOR_HEARS, &own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_reaches_nothing_that_is_kept() {
    let (_stack, url, root, _) = world().await;
    let collector = jetstream::new(Login::of(&url, COLLECTOR).await.client);
    let metrics = stream::Config {
        name: "FETTLE_METRICS".into(),
        subjects: vec!["fettle.metrics.>".into()],
        ..stream::Config::default()
    };
    collector.create_stream(metrics).await.unwrap();
    let bucket = kv::Config { bucket: "fettle_operations".into(), ..kv::Config::default() };
    let store = collector.create_key_value(bucket).await.unwrap();
    store.put("state", "the collector's".into()).await.unwrap();

    // Its samples are kept, and it may see that the stream is there.
    let one = Login::of(&url, ONE).await;
    let context = jetstream::new(one.client.clone());
    context.publish("fettle.metrics.0.one", "a sample".into()).await.unwrap().await.unwrap();
    let info = "$JS.API.STREAM.INFO.FETTLE_METRICS";
    let said = one.client.request(info, "".into()).await.unwrap();
    assert!(String::from_utf8_lossy(&said.payload).contains("\"messages\":1"), "{said:?}");

    for name in ["FETTLE_METRICS", "KV_fettle_operations"] {
        for verb in ["PURGE", "DELETE", "UPDATE", "MSG.GET", "MSG.DELETE", "SNAPSHOT"] {
            let subject = format!("$JS.API.STREAM.{verb}.{name}");
            one.say(&subject, "").await;
            one.is_refused("publish to", &subject).await;
        }
    }
    let consumer = "$JS.API.CONSUMER.CREATE.FETTLE_METRICS.mine";
    let get = "$JS.API.DIRECT.GET.KV_fettle_operations.$KV.fettle_operations.state";
    for subject in [consumer, get, "$KV.fettle_operations.state"] {
        one.say(subject, "").await;
        one.is_refused("publish to", subject).await;
    }
    assert_eq!(store.get("state").await.unwrap().unwrap(), "the collector's");
    let kept = jetstream::new(root.client.clone());
    let info = kept.get_stream("FETTLE_METRICS").await.unwrap().get_info().await.unwrap();
    assert_eq!((info.state.messages, info.state.consumer_count), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_without_a_login() {
    let (_stack, url, ..) = world().await;
    assert!(async_nats::connect(&url).await.is_err());
    let wrong = ConnectOptions::with_user_and_password(ONE.into(), password(TWO)).connect(&url).await;
    assert!(wrong.is_err());
}
