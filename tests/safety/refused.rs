//! Orders that must not be followed. A true order is heard as it goes by and used in every way it can be; then a
//! stolen key is tried against what the hosts' own files say. Nothing of it is done, and every refusal is found,
//! by its reason, in `fettle.actions` and in the agents' own ledgers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fettle_shared::command::{Action, Order, Outcome, Refusal, SignedOrder};
use fettle_shared::signing::{key_to_text, write, Signer};
use fettle_tests::binaries::fettle;
use fettle_tests::mended::{Mended, Service, HOST};
use fettle_tests::process::Process;
use fettle_tests::wait::{until, when};
use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use crate::tree::tree;
use crate::SOON;
use fettle_tests::stranger::{now_us, order, run, sealed, signer, Stranger};

const NEIGHBOUR: &str = "neighbour";

/// A service that may be restarted, one that nothing may be done to, and three with commands.
pub fn components(files: &Path, web: &Service) -> String {
    let checked =
        format!("check = {{ file = \"{}\", oldest = \"26h\" }}\n", files.join("agent.toml").display());
    let holding = |name: &str| {
        let pid = files.join(format!("{name}.pid"));
        let count = files.join("count");
        format!(
            "[components.{name}]\n{checked}[components.{name}.allow]\n\
             run.hold = {{ command = [\"/bin/sh\", \"-c\", \"echo $$ > {}; exec sleep 600\"] }}\n\
             run.count = {{ command = [\"/bin/sh\", \"-c\", \"echo ran >> {}\"] }}\n",
            pid.display(),
            count.display()
        )
    };
    let allowed = "allow = { restart = true, signals = [\"HUP\"], nice = [0, 5] }";
    let web = format!("[components.web]\n{}{allowed}\n", web.declared(&[]));
    let quiet = format!("[components.quiet]\n{checked}");
    web + &quiet + &["one", "two", "three"].map(holding).concat()
}

/// All of it.
pub async fn attack(mended: &Mended, stranger: &Stranger, web: &Service) {
    mended.sees("web", true, SOON).await;
    web.signal(Signal::KILL);
    mended.plan_ends("web", "succeeded", SOON).await;
    let captured = until("the order goes by", SOON, || async {
        stranger.heard("web").first().cloned().ok_or("nothing was heard")
    })
    .await;
    let pids = web.pids();
    let neighbour = Neighbour::start(mended).await;
    let before = tree(&mended.stack.path("files"));
    let mut refused = BTreeMap::<Refusal, usize>::new();
    let mut note = |reason: Refusal| *refused.entry(reason).or_default() += 1;

    assert_eq!(
        stranger.send(HOST, write(&captured)).await,
        Outcome::Succeeded,
        "the same order again is answered with what became of it"
    );
    let mut all = uses_of(&captured);
    all.extend(garbage(&captured));
    all.extend(unwanted(&captured));
    for (what, agent, bytes, reason) in all {
        assert_eq!(stranger.send(agent, bytes).await, Outcome::Refused { reason }, "{what}");
        note(reason);
    }
    for reason in neighbour.limits(stranger).await {
        note(reason);
    }
    let after = tree(&mended.stack.path("files"));
    assert_eq!(before, after, "nothing on the disk is changed");
    assert_eq!(web.pids(), pids, "what runs is left alone");
    note(too_many_at_once(mended, stranger).await);

    is_on_record(mended, &refused).await;
    let ledgers = [neighbour.ledger(), ledger(&mended.stack.path("files/agent.toml"))].concat();
    let noted = ledgers.iter().filter(|entry| entry["receipt"]["outcome"] == "refused").count();
    assert!(noted >= refused.values().sum(), "{noted} in the agents' ledgers, said were {refused:?}");
}

type Attempt = (&'static str, &'static str, Vec<u8>, Refusal);

/// A true order of the collector's, used for what it was not given for.
fn uses_of(captured: &SignedOrder) -> Vec<Attempt> {
    let stranger = Signer::from_seed(&[6; 32]);
    let true_order: Order = serde_json::from_str(&captured.order).unwrap();
    let with = |order: String| write(&SignedOrder { order, ..captured.clone() });
    let other = captured.order.replace("\"component\":\"web\"", "\"component\":\"one\"");
    let moved = captured.order.replace(HOST, NEIGHBOUR);
    assert!(other != captured.order && moved != captured.order, "{}", captured.order);
    let own = SignedOrder { key: key_to_text(&signer().public()), ..captured.clone() };
    vec![
        ("sent to another host", NEIGHBOUR, write(captured), Refusal::WrongHost),
        ("its host changed", NEIGHBOUR, with(moved), Refusal::BadSignature),
        ("its component changed", HOST, with(other), Refusal::BadSignature),
        ("said to be another's", HOST, write(&own), Refusal::BadSignature),
        (
            "signed anew by a stranger",
            HOST,
            write(&stranger.sign(&true_order).unwrap()),
            Refusal::UntrustedKey,
        ),
    ]
}

/// What is no order.
fn garbage(captured: &SignedOrder) -> Vec<Attempt> {
    let whole = write(captured);
    let text = String::from_utf8(whole.clone()).unwrap();
    let spaced = signer().sign(&order(HOST, "one", run("count"))).unwrap();
    let spaced = SignedOrder { order: spaced.order.replacen("{\"", "{ \"", 1), ..spaced };
    let bytes = [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 300]),
        ("bytes that are no text", vec![0xff; 300]),
        ("an empty object", b"{}".to_vec()),
        ("a deep one", vec![b'['; 8 << 10]),
        ("too much", vec![b' '; 17 << 10]),
        ("far too much", vec![b'a'; 1 << 20]),
        ("half an order", whole[..whole.len() / 2].to_vec()),
        ("two orders", [whole.clone(), whole].concat()),
        ("an order with more in it", text.replacen('{', "{\"root\":true,", 1).into_bytes()),
    ];
    let mut all: Vec<Attempt> =
        bytes.into_iter().map(|(what, bytes)| (what, HOST, bytes, Refusal::Malformed)).collect();
    all.push(("another spelling of a signed one", HOST, write(&spaced), Refusal::BadSignature));
    all
}

/// Well signed, and still not to be followed: its time, its number, what it asks for.
fn unwanted(captured: &SignedOrder) -> Vec<Attempt> {
    let taken: Order = serde_json::from_str(&captured.order).unwrap();
    let count = || order(HOST, "one", run("count"));
    let now = now_us();
    let expired = Order { issued_us: now - 120_000_000, expires_us: now - 60_000_000, ..count() };
    let eternal = Order { expires_us: now + 86_400_000_000, ..count() };
    let early = Order { issued_us: now + 600_000_000, expires_us: now + 660_000_000, ..count() };
    let stale = Order { generation: taken.generation, ..count() };
    let repeated = Order { id: taken.id, ..count() };
    let mut all = vec![
        ("expired", expired, Refusal::Expired),
        ("for ever", eternal, Refusal::Expired),
        ("from the future", early, Refusal::Expired),
        ("of a generation that was", stale, Refusal::StaleGeneration),
        ("of generation 0", Order { generation: 0, ..count() }, Refusal::StaleGeneration),
        ("under the id of another", repeated, Refusal::Repeated),
    ];
    let path = "../../../etc";
    for (what, component, action) in [
        ("a command that is not declared", "one", run("count; id")),
        ("a command by its path", "one", run("/bin/sh")),
        ("nothing is allowed there", "quiet", Action::Restart),
        ("a stop where only restarts are", "web", Action::Stop),
        ("another signal", "web", Action::Signal { signal: "KILL".into() }),
        ("a nice value out of bounds", "web", Action::Renice { nice: -20 }),
        ("replicas that are not declared", "web", Action::Scale { replicas: 1_000 }),
        ("a clean-up of a path", "one", Action::CleanUp { policy: path.into() }),
        ("a roll-back of a path", "one", Action::RollBack { entry: path.into() }),
        ("modes of a path", "one", Action::FixPermissions { entry: path.into() }),
        ("a fail-over to a path", "one", Action::FailOver { entry: path.into(), to: path.into() }),
        ("the host's caches", "", Action::DropCaches),
    ] {
        all.push((what, order(HOST, component, action), Refusal::NotAllowed));
    }
    all.push((
        "a component that is not declared",
        order(HOST, "ssh", run("count")),
        Refusal::UnknownComponent,
    ));
    all.push(("a component by its path", order(HOST, path, run("count")), Refusal::UnknownComponent));
    all.into_iter().map(|(what, order, reason)| (what, HOST, sealed(&order), reason)).collect()
}

/// Two actions run: a third is refused. Gives the reason, and lets the two end.
async fn too_many_at_once(mended: &Mended, stranger: &Stranger) -> Refusal {
    let held: Vec<Order> = ["one", "two"].map(|name| order(HOST, name, run("hold"))).into();
    for one in &held {
        assert_eq!(stranger.give(one).await, Outcome::Accepted);
    }
    let third = stranger.give(&order(HOST, "three", run("count"))).await;
    assert_eq!(third, Outcome::Refused { reason: Refusal::Busy });
    for (name, one) in ["one", "two"].into_iter().zip(&held) {
        end(&mended.stack.path(&format!("files/{name}.pid"))).await;
        assert!(matches!(stranger.is_over(one).await, Outcome::Failed { .. }));
    }
    assert!(!mended.stack.path("files/count").exists());
    Refusal::Busy
}

/// Ends the process that wrote its number there.
pub async fn end(file: &Path) {
    let pid = until("a command has begun", SOON, || async {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.trim().parse().ok().and_then(Pid::from_raw).ok_or(text)
    })
    .await;
    kill_process(pid, Signal::KILL).unwrap();
    std::fs::remove_file(file).unwrap();
}

/// What a ledger holds, by the agent's own command.
pub fn ledger(config: &Path) -> Vec<Value> {
    let mut agent = Command::new(fettle("fettle-agent"));
    let said = agent.args(["actions", "--json", "--config"]).arg(config).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each refusal is stored with its reason, at least as often as it was said.
async fn is_on_record(mended: &Mended, refused: &BTreeMap<Refusal, usize>) {
    let sql = mended.stack.sql();
    let query =
        "SELECT detail, toUInt64(count()) AS n FROM fettle.actions WHERE outcome = 'refused' GROUP BY detail";
    until("every refusal is on record", SOON, || async {
        let rows = sql.rows(query).await.map_err(|error| error.to_string())?;
        let counted = |reason: &Refusal| {
            let name = serde_json::to_value(reason).unwrap();
            rows.iter().find(|row| row["detail"] == name).and_then(|row| row["n"].as_u64()).unwrap_or(0)
        };
        let all = refused.iter().all(|(reason, said)| counted(reason) >= *said as u64);
        when(format!("{rows:?}, said were {refused:?}"), |_| all)
    })
    .await;
}

/// A second host of the same collector, with tight limits of its own.
struct Neighbour {
    _agent: Process,
    directory: PathBuf,
}

impl Neighbour {
    async fn start(mended: &Mended) -> Self {
        let stack = &mended.stack;
        let directory = stack.path(NEIGHBOUR);
        std::fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name).display().to_string();
        let collector = mended.ask("operations").await["public_key"].clone();
        let own = key_to_text(&signer().public());
        let (freeze, file, state) = (path("freeze"), path("components.toml"), path("state"));
        let text = format!(
            "trusted_keys = [{collector}, \"{own}\"]\nfreeze_file = \"{freeze}\"\n\
             [limits]\nper_hour = 2\ncooldown = \"1h\"\n[components.box]\n\
             check = {{ file = \"{file}\", oldest = \"26h\" }}\n[components.box.allow]\n\
             run.one = {{ command = [\"/bin/true\"] }}\nrun.two = {{ command = [\"/bin/true\"] }}\n\
             run.three = {{ command = [\"/bin/true\"] }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let act = format!("[act]\nfile = \"{file}\"\nstate_dir = \"{state}\"\n");
        std::fs::write(directory.join("agent.toml"), act).unwrap();
        let (config, spool, nats) = (path("agent.toml"), path("spool"), stack.nats_url());
        let arguments = [
            ["run", "--config"],
            [&config, "--nats"],
            [&nats, "--spool"],
            [&spool, "--agent"],
            [NEIGHBOUR, "--metrics"],
        ];
        let mut arguments: Vec<&str> = arguments.into_iter().flatten().collect();
        arguments.push("off");
        let mut agent = Process::new(NEIGHBOUR, fettle("fettle-agent"), &arguments, &stack.logs());
        agent.start();
        Self { _agent: agent, directory }
    }

    /// Comes up against each limit; gives what was refused.
    async fn limits(&self, stranger: &Stranger) -> Vec<Refusal> {
        let freeze = self.directory.join("freeze");
        let done = async |command| stranger.is_over(&order(NEIGHBOUR, "box", run(command))).await;
        assert_eq!(done("one").await, Outcome::Succeeded);
        let mut refused = Vec::new();
        for (command, reason) in [("one", Refusal::CoolingDown), ("three", Refusal::RateLimited)] {
            if reason == Refusal::RateLimited {
                assert_eq!(done("two").await, Outcome::Succeeded);
            }
            assert_eq!(done(command).await, Outcome::Refused { reason });
            refused.push(reason);
        }
        std::fs::write(&freeze, "").unwrap();
        assert_eq!(done("three").await, Outcome::Refused { reason: Refusal::Frozen });
        refused.push(Refusal::Frozen);
        refused
    }

    fn ledger(&self) -> Vec<Value> {
        ledger(&self.directory.join("agent.toml"))
    }
}
