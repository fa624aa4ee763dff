//! The agent takes orders over a real NATS: does what is allowed, once; refuses everything else with its reason;
//! is killed in the middle; and says what became of it until somebody has stored that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fettle_shared::command::{Action, Order, Outcome, Receipt, Refusal, SignedOrder};
use fettle_shared::signing::{key_to_text, write, Signer};
use fettle_shared::subjects::{orders_subject, RECEIPTS_FILTER};
use futures_util::StreamExt;
use rustix::process::{kill_process, Pid, Signal};
use tokio::task::JoinHandle;

use crate::nats::Nats;

const PATIENCE: Duration = Duration::from_secs(60);

fn signer() -> Signer {
    Signer::from_seed(&[5; 32])
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

/// A host with an agent on it.
struct Host {
    dir: tempfile::TempDir,
    root: PathBuf,
    child: Option<Child>,
}

impl Host {
    /// The host's file with these components; `{root}` is a directory of the test's.
    fn new(nats: &Nats, components: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let keys = format!("trusted_keys = [\"{}\"]\n", key_to_text(&signer().public()));
        let freeze = format!("freeze_file = \"{}\"\n", root.join("freeze").display());
        let components = components.replace("{root}", &root.display().to_string());
        std::fs::write(root.join("components.toml"), keys + &freeze + &components).unwrap();
        let config = format!(
            "agent = \"a\"\n[nats]\nurl = \"{}\"\n[spool]\ndir = \"{root}/spool\"\n[metrics]\nlisten = \"off\"\n\
             [act]\nfile = \"{root}/components.toml\"\nstate_dir = \"{root}/state\"\n",
            nats.url(),
            root = root.display(),
        );
        std::fs::write(root.join("agent.toml"), config).unwrap();
        Self { dir, root, child: None }
    }

    fn agent(&self) -> Command {
        Command::new(env!("CARGO_BIN_EXE_fettle-agent"))
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut agent = self.agent();
        agent.args(["run", "--config"]).arg(self.path("agent.toml")).stderr(Stdio::from(log));
        self.child = Some(agent.spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `fettle-agent actions --json`.
    fn ledger(&self) -> Vec<serde_json::Value> {
        let mut agent = self.agent();
        let said =
            agent.args(["actions", "--json", "--config"]).arg(self.path("agent.toml")).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let text = String::from_utf8(said.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("{log}");
        }
    }
}

/// Stores receipts and says so, as a collector does.
struct Office {
    stored: Arc<Mutex<BTreeMap<String, Receipt>>>,
    task: JoinHandle<()>,
}

impl Office {
    async fn open(client: &async_nats::Client) -> Self {
        let stored = Arc::<Mutex<BTreeMap<String, Receipt>>>::default();
        let mut receipts = client.subscribe(RECEIPTS_FILTER).await.unwrap();
        let (client, shared) = (client.clone(), stored.clone());
        let task = tokio::spawn(async move {
            while let Some(message) = receipts.next().await {
                let receipt: Receipt = serde_json::from_slice(&message.payload).unwrap();
                let id = receipt.id.clone();
                assert_ne!(receipt.outcome, Outcome::Accepted, "only ends are handed in");
                shared.lock().unwrap().insert(id.clone(), receipt);
                client.publish(message.reply.unwrap(), id.into()).await.unwrap();
            }
        });
        Self { stored, task }
    }

    fn all(&self) -> Vec<Receipt> {
        self.stored.lock().unwrap().values().cloned().collect()
    }

    async fn receipt(&self, id: &str) -> Receipt {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(receipt) = self.stored.lock().unwrap().get(id) {
                return receipt.clone();
            }
            assert!(Instant::now() < deadline, "no receipt of {id}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn order(generation: u64, component: &str, action: Action) -> Order {
    let now = now_us();
    Order {
        id: format!("o-{generation}"),
        host: "a".into(),
        generation,
        issued_us: now,
        expires_us: now + 60_000_000,
        component: component.into(),
        action,
        timeout_s: 0,
        dry_run: false,
        plan: "plan-1/2".into(),
    }
}

fn run(command: &str) -> Action {
    Action::Run { command: command.into() }
}

/// Sends bytes until the agent answers: it may not be there yet.
async fn ask(client: &async_nats::Client, bytes: Vec<u8>) -> Receipt {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = client.request(orders_subject("a"), bytes.clone().into());
        match tokio::time::timeout(Duration::from_secs(10), request).await {
            Ok(Ok(answer)) => return serde_json::from_slice(&answer.payload).unwrap(),
            other => assert!(Instant::now() < deadline, "no answer: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the agent takes orders: one given before its ledger began would be refused as too old.
async fn ready(client: &async_nats::Client) {
    ask(client, b"no order".to_vec()).await;
}

async fn give(client: &async_nats::Client, order: &Order) -> Receipt {
    ask(client, write(&signer().sign(order).unwrap())).await
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

const COMPONENTS: &str = r#"
[limits]
cooldown = "0s"
[components.web]
check = { file = "{root}/agent.toml", oldest = "26h" }
[components.web.allow]
run.count = { command = ["/bin/sh", "-c", "echo ran >> {root}/count; echo done"] }
run.hang = { command = ["/bin/sh", "-c", "echo $$ > {root}/begun; exec sleep 600"] }
run.fail = { command = ["/bin/false"] }
clean_up.logs = { root = "{root}/logs", pattern = "*.log", older_than = "1s", most = "1GiB", most_files = 100 }
[components.quiet]
check = { file = "{root}/agent.toml", oldest = "26h" }
"#;

fn refused(reason: Refusal) -> Outcome {
    Outcome::Refused { reason }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn an_order_is_done_once_and_its_receipt_arrives() {
    runtime().block_on(async {
        let nats = Nats::up();
        let mut host = Host::new(&nats, COMPONENTS);
        host.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        ready(&client).await;
        let office = Office::open(&client).await;
        let first = order(1, "web", run("count"));
        assert_eq!(give(&client, &first).await.outcome, Outcome::Accepted);
        let receipt = office.receipt("o-1").await;
        assert_eq!((receipt.outcome, receipt.output.as_str()), (Outcome::Succeeded, "done\n"));
        assert!(receipt.begun_us > 0 && receipt.ended_us >= receipt.begun_us && !receipt.local);
        assert_eq!(receipt.because, "plan-1/2");
        let again = give(&client, &first).await;
        assert_eq!(again.outcome, Outcome::Succeeded, "the same order is answered with what is known");
        let failing = order(2, "web", run("fail"));
        assert_eq!(give(&client, &failing).await.outcome, Outcome::Accepted);
        assert!(matches!(office.receipt("o-2").await.outcome, Outcome::Failed { .. }));
        let dry = Order { dry_run: true, ..order(3, "web", run("count")) };
        give(&client, &dry).await;
        assert_eq!(office.receipt("o-3").await.outcome, Outcome::WouldDo);
        assert_eq!(lines(&host.path("count")), 1, "it ran once");
        let short = Order { timeout_s: 1, ..order(4, "web", run("hang")) };
        give(&client, &short).await;
        assert_eq!(office.receipt("o-4").await.outcome, Outcome::TimedOut);
        until("the ledger knows that all is stored", || {
            host.ledger().iter().all(|entry| entry["confirmed"] == true)
        })
        .await;
        // The one that asked whether the agent is there is on record beside them.
        assert_eq!(host.ledger().iter().filter(|entry| entry["noted"] == false).count(), 4);
    });
}

#[test]
fn a_clean_up_is_done_by_order() {
    runtime().block_on(async {
        let nats = Nats::up();
        let mut host = Host::new(&nats, COMPONENTS);
        std::fs::create_dir(host.path("logs")).unwrap();
        for name in ["a.log", "b.log", "keep.txt"] {
            let file = std::fs::File::create(host.path("logs").join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
        }
        std::os::unix::fs::symlink("/etc", host.path("logs/etc.log")).unwrap();
        host.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        ready(&client).await;
        let office = Office::open(&client).await;
        give(&client, &order(1, "web", Action::CleanUp { policy: "logs".into() })).await;
        let receipt = office.receipt("o-1").await;
        assert_eq!(receipt.outcome, Outcome::Succeeded);
        assert!(receipt.output.starts_with("deleted 2 of 3 files"), "{}", receipt.output);
        assert!(host.path("logs/keep.txt").exists() && host.path("logs/etc.log").exists());
    });
}

#[test]
fn what_must_not_be_done_is_refused_with_its_reason_and_is_on_record() {
    runtime().block_on(async {
        let nats = Nats::up();
        let mut host = Host::new(&nats, COMPONENTS);
        host.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        ready(&client).await;
        let office = Office::open(&client).await;
        let taken = order(10, "web", run("count"));
        give(&client, &taken).await;
        office.receipt("o-10").await;
        let ready = |number, component: &str| order(number, component, run("count"));
        let stranger = Signer::from_seed(&[6; 32]);
        let good = signer().sign(&ready(11, "web")).unwrap();
        let other = signer().sign(&ready(12, "quiet")).unwrap();
        let expired = Order {
            issued_us: now_us() - 120_000_000,
            expires_us: now_us() - 60_000_000,
            ..ready(13, "web")
        };
        let eternal = Order { expires_us: now_us() + 86_400_000_000, ..ready(14, "web") };
        let sign = |order: &Order| write(&signer().sign(order).unwrap());
        for (what, bytes, reason) in [
            ("another's key", write(&stranger.sign(&ready(11, "web")).unwrap()), Refusal::UntrustedKey),
            (
                "forged",
                write(&SignedOrder { order: other.order.clone(), ..good.clone() }),
                Refusal::BadSignature,
            ),
            ("cut short", write(&good)[..100].to_vec(), Refusal::Malformed),
            ("too long", vec![b' '; 17 << 10], Refusal::Malformed),
            ("another host's", sign(&Order { host: "b".into(), ..ready(11, "web") }), Refusal::WrongHost),
            ("expired", sign(&expired), Refusal::Expired),
            ("for ever", sign(&eternal), Refusal::Expired),
            ("an old generation", sign(&ready(9, "web")), Refusal::StaleGeneration),
            ("the id of another", sign(&Order { id: "o-10".into(), ..ready(15, "web") }), Refusal::Repeated),
            ("a stranger to the file", sign(&ready(16, "ssh")), Refusal::UnknownComponent),
            ("not allowed there", sign(&ready(17, "quiet")), Refusal::NotAllowed),
            ("not declared", sign(&order(18, "web", run("count; id"))), Refusal::NotAllowed),
            ("never allowed", sign(&order(19, "web", Action::Restart)), Refusal::NotAllowed),
            (
                "a path for a name",
                sign(&order(20, "web", Action::CleanUp { policy: "../..".into() })),
                Refusal::NotAllowed,
            ),
        ] {
            assert_eq!(ask(&client, bytes).await.outcome, refused(reason), "{what}");
        }
        let replayed = ask(&client, sign(&ready(17, "quiet"))).await.outcome;
        assert!(matches!(replayed, Outcome::Refused { .. }), "{replayed:?}");
        std::fs::write(host.path("freeze"), "").unwrap();
        assert_eq!(give(&client, &ready(21, "web")).await.outcome, refused(Refusal::Frozen));
        std::fs::remove_file(host.path("freeze")).unwrap();
        let late = give(&client, &ready(21, "web")).await.outcome;
        assert!(matches!(late, Outcome::Refused { .. }), "refused once is refused for ever: {late:?}");
        assert_eq!(lines(&host.path("count")), 1, "nothing of it was done");
        // Every refusal reaches the audit; none under the id of an order that is another's.
        until("all are stored", || office.all().len() >= 16).await;
        let stored = office.all();
        assert_eq!(stored.iter().filter(|receipt| receipt.id == "o-10").count(), 1);
        assert_eq!(office.receipt("o-10").await.outcome, Outcome::Succeeded);
        assert!(stored
            .iter()
            .any(|receipt| receipt.id.starts_with("refused-") && receipt.because == "order o-10"));
    });
}

#[test]
fn an_agent_killed_in_the_middle_says_that_it_never_completed() {
    runtime().block_on(async {
        let nats = Nats::up();
        let mut host = Host::new(&nats, COMPONENTS);
        let client = async_nats::connect(nats.url()).await.unwrap();
        let office = Office::open(&client).await;
        for round in 1..=3 {
            host.start();
            ready(&client).await;
            let hang = order(200 * round, "web", run("hang"));
            assert_eq!(give(&client, &hang).await.outcome, Outcome::Accepted);
            until("it runs", || lines(&host.path("begun")) == 1).await;
            let busy = give(&client, &order(200 * round + 1, "web", run("count"))).await;
            assert_eq!(busy.outcome, refused(Refusal::Busy));
            host.kill();
            // What the killed agent left behind.
            let left = std::fs::read_to_string(host.path("begun")).unwrap().trim().parse().unwrap();
            kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
            std::fs::remove_file(host.path("begun")).unwrap();
            host.start();
            let receipt = office.receipt(&hang.id).await;
            assert_eq!(receipt.outcome, Outcome::NeverCompleted);
            assert_eq!(give(&client, &hang).await.outcome, Outcome::NeverCompleted, "it is not begun again");
            let stale = order(200 * round + 1, "web", run("count"));
            let stale = Order { id: format!("s-{round}"), ..stale };
            assert_eq!(give(&client, &stale).await.outcome, refused(Refusal::StaleGeneration));
            host.kill();
        }
        assert!(!host.path("begun").exists());
        assert_eq!(lines(&host.path("count")), 0);
    });
}

#[test]
fn a_receipt_waits_for_its_collector_through_restarts_of_everything() {
    runtime().block_on(async {
        let mut nats = Nats::up();
        let mut host = Host::new(&nats, COMPONENTS);
        host.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        ready(&client).await;
        give(&client, &order(1, "web", run("count"))).await;
        until("it is done", || host.ledger().iter().any(|entry| entry["receipt"]["outcome"] == "succeeded"))
            .await;
        nats.kill();
        let mut child = host.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        host.start();
        nats.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        let office = Office::open(&client).await;
        assert_eq!(office.receipt("o-1").await.outcome, Outcome::Succeeded);
        until("the agent knows", || host.ledger().iter().all(|entry| entry["confirmed"] == true)).await;
        assert_eq!(lines(&host.path("count")), 1);
    });
}

#[test]
fn a_flood_of_forgeries_neither_stops_the_agent_nor_fills_its_disk() {
    runtime().block_on(async {
        let nats = Nats::up();
        let mut host = Host::new(&nats, COMPONENTS);
        host.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        ready(&client).await;
        let office = Office::open(&client).await;
        give(&client, &order(1, "web", run("count"))).await;
        let forged = write(&Signer::from_seed(&[6; 32]).sign(&order(2, "web", run("count"))).unwrap());
        for _ in 0..5_000 {
            client.publish(orders_subject("a"), forged.clone().into()).await.unwrap();
        }
        client.flush().await.unwrap();
        give(&client, &order(3, "web", run("count"))).await;
        assert_eq!(
            office.receipt("o-3").await.outcome,
            Outcome::Succeeded,
            "a true order still gets through"
        );
        let size = std::fs::metadata(host.path("state/act/ledger")).unwrap().len();
        assert!(size < 1 << 20, "{size}");
        assert!(host.ledger().len() <= 62, "{}", host.ledger().len());
    });
}

const SUPERVISED: &str = r#"
[limits]
cooldown = "0s"
local_per_hour = 3
[components.svc]
runs = { command = ["/bin/sh", "-c", "echo $$ >> {root}/pids; exec sleep 600"] }
interval = "250ms"
failures = 1
[components.svc.allow]
restart = true
signals = ["KILL"]
[[components.svc.local]]
action = "restart"
after = "0s"
alone_for = "0s"
"#;

/// The processes the service had, newest last.
fn pids(host: &Host) -> Vec<i32> {
    let text = std::fs::read_to_string(host.path("pids")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn a_dead_service_is_restarted_by_the_hosts_own_rule_and_reported_later() {
    runtime().block_on(async {
        // Nobody is there: no NATS, no collector.
        let mut nats = Nats::down();
        let mut host = Host::new(&nats, SUPERVISED);
        host.start();
        for round in 1..=3 {
            until("it runs", || pids(&host).len() == round).await;
            let pid = Pid::from_raw(*pids(&host).last().unwrap()).unwrap();
            until("its action is over", || {
                host.ledger().iter().all(|entry| entry["receipt"]["outcome"] == "succeeded")
            })
            .await;
            kill_process(pid, Signal::KILL).unwrap();
        }
        until("it runs again", || pids(&host).len() == 4).await;
        nats.start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        let office = Office::open(&client).await;
        until("three reports", || office.all().len() == 3).await;
        for receipt in office.all() {
            assert!(receipt.local && receipt.outcome == Outcome::Succeeded, "{receipt:?}");
            assert_eq!((receipt.component.as_str(), receipt.action), ("svc", Action::Restart));
        }
        // The quota is used up: now it stays down until an order comes.
        kill_process(Pid::from_raw(pids(&host)[3]).unwrap(), Signal::KILL).unwrap();
        until("the refusal is logged", || {
            std::fs::read_to_string(host.path("log")).unwrap().contains("a local rule may not act now")
        })
        .await;
        assert_eq!(pids(&host).len(), 4);
        assert_eq!(give(&client, &order(1, "svc", Action::Restart)).await.outcome, Outcome::Accepted);
        assert_eq!(office.receipt("o-1").await.outcome, Outcome::Succeeded);
        until("it runs by order", || pids(&host).len() == 5).await;
        give(&client, &order(2, "svc", Action::Signal { signal: "KILL".into() })).await;
        assert_eq!(office.receipt("o-2").await.outcome, Outcome::Succeeded);
        host.kill();
        let last = Pid::from_raw(*pids(&host).last().unwrap()).unwrap();
        let _ = kill_process(last, Signal::KILL);
    });
}
