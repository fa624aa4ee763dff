//! The agent and a real dockerd: containers are seen as they are, orders do what they say within their time, and a
//! container that died is mended with nobody touching anything.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fettle_shared::command::{Action, Order, Outcome, Receipt, Refusal};
use fettle_shared::signing::key_to_text;
use fettle_tests::binaries::fettle;
use fettle_tests::dockerd::Dockerd;
use fettle_tests::mended::{Given, Mended, HOST};
use fettle_tests::process::free_port;
use fettle_tests::sql::http_client;
use fettle_tests::stranger::{order, signer, Stranger};
use fettle_tests::systems::said;
use fettle_tests::wait::{until, when};
use rustix::process::Signal;
use serde_json::Value;

/// Longest wait for anything, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// Ends as soon as it is asked to.
const WAITS: [&str; 4] = ["busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];

fn run(dockerd: &Dockerd, name: &str, more: &[&str], words: &[&str]) {
    dockerd.say(&[&["run", "--detach", "--name", name, "--network", "none"], more, words].concat());
}

fn state(dockerd: &Dockerd, name: &str) -> String {
    dockerd.say(&["inspect", "--format", "{{.State.Status}}", name])
}

/// One round of checks of the components in `file`, by the agent's own command, as seen from where dockerd is.
fn look(space: &[String], file: &Path, agent: &[&str]) -> Value {
    let mut command = Command::new("nsenter");
    command.args(space).args(agent);
    let looked = said(command.args(["components", "--json", "--file"]).arg(file)).unwrap();
    serde_json::from_str::<Value>(&looked).unwrap()["components"].clone()
}

fn error<'a>(seen: &'a Value, name: &str) -> &'a str {
    seen[name]["now"]["error"].as_str().unwrap()
}

fn declared(dockerd: &Dockerd, names: &[&str], more: &str) -> String {
    let socket = dockerd.socket();
    let one = |name: &&str| {
        format!("[components.{name}]\nruns = {{ container = \"{name}\", socket = {socket:?} }}\n{more}")
    };
    names.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_are_seen_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut dockerd) = Dockerd::start(dir.path(), dir.path()).await else { return };
    let health = |script| ["--health-cmd", script, "--health-interval", "200ms", "--health-retries", "1"];
    // What a container was made with can be long.
    let long = format!("long={}", "x".repeat(100_000));
    run(&dockerd, "good", &["--label", &long], &WAITS);
    run(&dockerd, "ended", &[], &["busybox", "sh", "-c", "exit 3"]);
    run(&dockerd, "looping", &["--restart", "always"], &["busybox", "sh", "-c", "exit 5"]);
    run(&dockerd, "paused", &[], &WAITS);
    run(&dockerd, "ill", &health("echo '/data: Permission denied'; exit 1"), &WAITS);
    run(&dockerd, "healthy", &health("exit 0"), &WAITS);
    dockerd.say(&["create", "--name", "made", "--network", "none", "busybox", "sh"]);
    let wrong = dockerd.run(&["run", "--name", "wrong", "--network", "none", "busybox", "/no/such/program"]);
    assert!(wrong.is_err());
    dockerd.say(&["pause", "paused"]);
    until("all containers are as they are to be", SOON, || async {
        let wanted = [("ended", "exited"), ("looping", "restarting"), ("paused", "paused")];
        let healths = [("ill", "unhealthy"), ("healthy", "healthy")];
        let health = |name| dockerd.say(&["inspect", "--format", "{{.State.Health.Status}}", name]);
        let as_wanted = wanted.iter().all(|(name, wanted)| state(&dockerd, name) == *wanted)
            && healths.iter().all(|(name, wanted)| health(name) == *wanted);
        when(dockerd.say(&["ps", "--all"]), |_| as_wanted)
    })
    .await;
    let file = dir.path().join("components.toml");
    let names = ["good", "ended", "looping", "paused", "ill", "healthy", "made", "wrong", "missing"];
    std::fs::write(&file, declared(&dockerd, &names, "timeout = \"10s\"\n")).unwrap();
    // Where somebody who is not root gets to it.
    let agent = dir.path().join("fettle-agent").display().to_string();
    std::fs::copy(fettle("fettle-agent"), &agent).unwrap();
    let space = dockerd.space();
    let look = |as_user: &[&str]| look(&space, &file, &[as_user, &[&agent]].concat());
    let seen = look(&[]);
    for (name, wanted) in [
        ("good", ""),
        ("healthy", ""),
        ("ended", "ended is exited, it ended with 3"),
        ("paused", "paused is paused"),
        ("ill", "ill runs and calls itself unhealthy: /data: Permission denied"),
        ("made", "made is created, it ended with 0"),
    ] {
        assert_eq!(error(&seen, name), wanted);
        assert_eq!(seen[name]["now"]["well"], wanted.is_empty(), "{name}");
    }
    assert!(error(&seen, "wrong").contains("no such file or directory"), "{seen:#}");
    assert!(error(&seen, "missing").contains("No such container: missing"), "{seen:#}");
    assert_eq!(seen["ill"]["now"]["error_kind"], "permission");
    // It runs for a moment every now and then, which is not to be taken for well.
    until("the one that loops is seen to", SOON, || async {
        when(error(&look(&[]), "looping").to_owned(), |said| said == "looping is restarting, it ended with 5")
    })
    .await;
    let pid: i64 = dockerd.say(&["inspect", "--format", "{{.State.Pid}}", "good"]).parse().unwrap();
    assert_eq!(seen["good"]["now"]["processes"], serde_json::json!([pid]));

    // Somebody who may not ask.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let nobody = look(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    assert!(error(&nobody, "good").contains("Permission denied"), "{nobody:#}");
    assert_eq!(nobody["good"]["now"]["error_kind"], "permission");

    hangs_and_is_gone(&mut dockerd, &file, &agent).await;
}

/// A dockerd that hangs costs a check its time and no more; one that is gone is said to be.
async fn hangs_and_is_gone(dockerd: &mut Dockerd, file: &Path, agent: &str) {
    let space = dockerd.space();
    let look = || look(&space, file, &[agent]);
    std::fs::write(file, declared(dockerd, &["good"], "")).unwrap();
    dockerd.signal(Signal::STOP);
    let begun = Instant::now();
    let hanging = look();
    dockerd.signal(Signal::CONT);
    assert_eq!(error(&hanging, "good"), "no answer within 1s");
    assert_eq!(hanging["good"]["now"]["error_kind"], "timeout");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    dockerd.kill().await;
    assert!(error(&look(), "good").contains("Connection refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_are_mended_and_orders_reach_docker() {
    let dir = tempfile::tempdir().unwrap();
    let Some(dockerd) = Dockerd::start(dir.path(), dir.path()).await else { return };
    let keys = [key_to_text(&signer().public())];
    let given = Given { keys: &keys, ..Given::default() };
    let port = free_port();
    let mut mended = Mended::prepare(given, |_| components(&dockerd, port)).await;
    let listen = format!("127.0.0.1:{port}");
    let web = ["busybox", "sh", "-c", "echo well > /index.html; exec httpd -f -p \"$LISTEN\""];
    let environment = format!("LISTEN={listen}");
    let words = ["run", "--detach", "--name", "web", "--network", "host", "--env", &environment];
    dockerd.say(&[&words[..], &web].concat());
    for name in ["shut", "frozen"] {
        run(&dockerd, name, &[], &WAITS);
    }
    let twice = "trap 'exit 0' TERM; trap 'echo > /heard' USR1; while :; do sleep 0.1; done";
    run(&dockerd, "box", &[], &["busybox", "sh", "-c", twice]);
    mended.agent.through(PathBuf::from("nsenter"), &dockerd.space());
    mended.agent.start();
    for component in ["web", "shut", "frozen", "box"] {
        mended.sees(component, true, SOON).await;
    }

    // One dies, one is stopped by somebody, one is frozen: all at once.
    let begun = Instant::now();
    dockerd.say(&["kill", "--signal", "KILL", "web"]);
    dockerd.say(&["stop", "shut"]);
    dockerd.say(&["pause", "frozen"]);
    for component in ["web", "shut", "frozen"] {
        let plan = mended.plan_ends(component, "succeeded", SOON).await;
        assert_eq!(plan["doing"], "restart", "{plan}");
        assert_eq!(state(&dockerd, component), "running");
    }
    eprintln!("three containers mended and verified {:.1} s after", begun.elapsed().as_secs_f64());
    let answer = http_client().get(format!("http://{listen}/index.html")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "well\n");
    mended.is_told("component_down", "resolved", SOON).await;

    let stranger = Stranger::on(&mended.stack.nats_url()).await;
    orders(&dockerd, &stranger).await;
    hanging(&dockerd, &stranger).await;
}

fn components(dockerd: &Dockerd, port: u16) -> String {
    // A busy machine's dockerd may take its time; containers that are broken here are said to be at once.
    let often = "interval = \"250ms\"\ntimeout = \"5s\"\nfailures = 2\n";
    let mended = declared(dockerd, &["shut", "frozen"], &format!("{often}allow = {{ restart = true }}\n"));
    let web = format!(
        "{often}check = {{ http = \"http://127.0.0.1:{port}/index.html\" }}\nallow = {{ restart = true }}\n"
    );
    let allowed = "[components.box.allow]\nstart = true\nstop = true\nrestart = true\nsignals = [\"USR1\"]\n\
                   nice = [0, 10]\nlimits.memory_bytes = [1048576, 1073741824]\nlimits.pids = [1, 100]\n";
    let missing = declared(dockerd, &["missing"], "interval = \"1h\"\nallow = { start = true }\n");
    // Looked at once: nobody is to mend what orders do to it.
    let ordered = declared(dockerd, &["box"], &format!("interval = \"1h\"\n{allowed}"));
    mended + &declared(dockerd, &["web"], &web) + &ordered + &missing
}

async fn orders(dockerd: &Dockerd, stranger: &Stranger) {
    let done = async |action| {
        let receipt = stranger.receipt(&order(HOST, "box", action)).await;
        assert_eq!(receipt.outcome, Outcome::Succeeded, "{receipt:?}");
        receipt
    };
    let pid = || dockerd.say(&["inspect", "--format", "{{.State.Pid}}", "box"]);
    // First of all: one that has just been started may not listen yet.
    done(Action::Signal { signal: "USR1".into() }).await;
    until("the main process has heard", SOON, || async {
        when(dockerd.run(&["exec", "box", "test", "-e", "/heard"]), Result::is_ok)
    })
    .await
    .unwrap();
    assert_eq!(done(Action::Stop).await.output, "stopped box");
    assert_eq!(state(dockerd, "box"), "exited");
    assert_eq!(done(Action::Start).await.output, "started box");
    dockerd.say(&["pause", "box"]);
    let thawed = until("it has cooled down", SOON, || async {
        let receipt = stranger.receipt(&order(HOST, "box", Action::Start)).await;
        when(receipt, |receipt| receipt.outcome != Outcome::Refused { reason: Refusal::CoolingDown })
    })
    .await;
    assert_eq!((thawed.output.as_str(), state(dockerd, "box").as_str()), ("unpaused box", "running"));
    let first = pid();
    assert_eq!(done(Action::Restart).await.output, "restarted box");
    assert!(state(dockerd, "box") == "running" && pid() != first);
    assert!(done(Action::Renice { nice: 7 }).await.before.contains_key("nice"));
    let limit = |resource: &str, value| Action::Limit { resource: resource.into(), value };
    assert_eq!(done(limit("memory_bytes", 64 << 20)).await.before.get("value"), None);
    done(limit("pids", 50)).await;
    let set =
        dockerd.say(&["inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", "box"]);
    assert_eq!(set, "67108864 50");
    let again = until("it has cooled down", SOON, || async {
        let receipt = stranger.receipt(&order(HOST, "box", limit("memory_bytes", 32 << 20))).await;
        when(receipt, |receipt| receipt.outcome != Outcome::Refused { reason: Refusal::CoolingDown })
    })
    .await;
    assert_eq!(again.before["value"], "67108864", "what a policy puts it back to: {again:?}");
    let missing = stranger.finish("missing", Action::Start).await;
    assert!(
        matches!(&missing, Outcome::Failed { error } if error.contains("No such container")),
        "{missing:?}"
    );
    let refused = stranger.finish("web", Action::Stop).await;
    assert_eq!(refused, Outcome::Refused { reason: Refusal::NotAllowed });
}

/// An order takes its time and no more when dockerd does not answer.
async fn hanging(dockerd: &Dockerd, stranger: &Stranger) {
    dockerd.signal(Signal::STOP);
    let begun = Instant::now();
    let receipt: Receipt =
        stranger.receipt(&Order { timeout_s: 2, ..order(HOST, "shut", Action::Restart) }).await;
    dockerd.signal(Signal::CONT);
    assert_eq!(receipt.outcome, Outcome::TimedOut, "{receipt:?}");
    assert!(receipt.output.contains("Docker may go on"), "{receipt:?}");
    assert!((2.0..10.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
}

/// Copies of a declared container are made, known again and removed; what fails is said in Docker's words and leaves
/// nothing behind; nobody else's container is touched. It is looked at once: nobody is to mend what orders do to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_scaled_between_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let Some(dockerd) = Dockerd::start(dir.path(), dir.path()).await else { return };
    let program = Program::write(&dir.path().join("data/tools"));
    let volume = format!("{}:/tools:ro", program.0.parent().unwrap().display());
    let more = ["--volume", &volume, "--env", "FLEET=north", "--label", "fleet=north", "--memory", "64m"];
    run(&dockerd, "many", &more, &["busybox", "/tools/run"]);
    dockerd.say(&["create", "--name", "many-4", "--network", "none", "busybox", "sh"]);
    let declared = format!(
        "[components.many]\nruns = {{ container = \"many\", socket = {:?}, replicas_max = 4 }}\ninterval = \"1h\"\ntimeout = \"10s\"\n\
         allow = {{ scale = true, restart = true }}\n",
        dockerd.socket()
    );
    let keys = [key_to_text(&signer().public())];
    let mut mended = Mended::prepare(Given { keys: &keys, ..Given::default() }, |_| declared).await;
    mended.agent.through(PathBuf::from("nsenter"), &dockerd.space());
    mended.agent.start();
    mended.sees("many", true, SOON).await;
    let stranger = Stranger::on(&mended.stack.nats_url()).await;
    let fleet = Fleet { dockerd: &dockerd, stranger: &stranger };

    let made = fleet.scale(3).await;
    assert_eq!((made.outcome, made.before["replicas"].as_str()), (Outcome::Succeeded, "1"));
    assert_eq!(made.output, "scaled many from 1 to 3 replicas: made many-2, made many-3");
    assert_eq!(fleet.running(), ["many", "many-2", "many-3"]);
    let words = "{{.Config.Env}} {{.Config.Labels.fleet}} {{.HostConfig.Memory}} {{.HostConfig.Binds}} {{.Config.Cmd}} {{.Image}}";
    let like = |name| dockerd.say(&["inspect", "--format", words, name]);
    assert_eq!((like("many-2"), like("many-3")), (like("many"), like("many")));
    let agent = fettle("fettle-agent").display().to_string();
    let look = || look(&dockerd.space(), mended.hosts_file(), &[&agent])["many"]["now"].clone();
    let seen = look();
    assert_eq!((&seen["running"], &seen["wanted"], &seen["well"]), (&3.into(), &3.into(), &true.into()));

    let ids = || dockerd.say(&["ps", "--all", "--quiet", "--no-trunc"]);
    let before = ids();
    assert_eq!(fleet.scale(3).await.output, "scaled many from 3 to 3 replicas: nothing was done");
    for replicas in [0, 5] {
        assert_eq!(fleet.scale(replicas).await.outcome, Outcome::Refused { reason: Refusal::NotAllowed });
    }
    let tried = Order { dry_run: true, ..order(HOST, "many", Action::Scale { replicas: 1 }) };
    let tried = stranger.receipt(&tried).await;
    assert_eq!(tried.outcome, Outcome::WouldDo);
    assert_eq!(tried.output, "would scale many from 3 to 1 replicas: remove many-3, remove many-2");
    assert_eq!(ids(), before);

    // One that died is seen, and started again with the others.
    dockerd.say(&["kill", "many-2"]);
    let seen = look();
    assert!(seen["error"].as_str().unwrap().starts_with("many-2 is exited"), "{seen}");
    assert_eq!((&seen["running"], &seen["wanted"]), (&2.into(), &3.into()));
    let restarted = stranger.receipt(&order(HOST, "many", Action::Restart)).await;
    assert_eq!(restarted.output, "restarted many, restarted many-2, restarted many-3", "{restarted:?}");
    assert_eq!(fleet.scale(4).await.output, "scaled many from 3 to 4 replicas: made many-5");
    assert_eq!(
        fleet.scale(2).await.output,
        "scaled many from 4 to 2 replicas: removed many-5, removed many-3"
    );

    // It can be made and not be started: that is said, and what was made is gone again.
    program.take_away();
    let failed = fleet.scale(4).await;
    let Outcome::Failed { error } = &failed.outcome else { panic!("{failed:?}") };
    assert!(error.starts_with("many-3: Docker would not: "), "{error}");
    assert_eq!(failed.output, "nothing was done; removed many-3 again");
    let names = || dockerd.say(&["ps", "--all", "--format", "{{.Names}}"]);
    assert_eq!(names().lines().filter(|name| name.starts_with("many")).count(), 3, "{}", names());
    assert_eq!(fleet.running(), ["many", "many-2"]);
    assert_eq!(fleet.scale(1).await.output, "scaled many from 2 to 1 replicas: removed many-2");
    assert_eq!((fleet.running(), state(&dockerd, "many-4").as_str()), (vec!["many".to_owned()], "created"));
}

/// The program of a container, in a directory of this host.
struct Program(PathBuf);

impl Program {
    fn write(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let program = dir.join("run");
        std::fs::write(&program, "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(program)
    }

    fn take_away(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// The replicas of `many`.
struct Fleet<'a> {
    dockerd: &'a Dockerd,
    stranger: &'a Stranger,
}

impl Fleet<'_> {
    async fn scale(&self, replicas: u32) -> Receipt {
        until("it has cooled down", SOON, || async {
            let receipt = self.stranger.receipt(&order(HOST, "many", Action::Scale { replicas })).await;
            when(receipt, |receipt| receipt.outcome != Outcome::Refused { reason: Refusal::CoolingDown })
        })
        .await
    }

    fn running(&self) -> Vec<String> {
        let said = self.dockerd.say(&["ps", "--format", "{{.Names}}"]);
        let mut names: Vec<String> =
            said.lines().filter(|name| name.starts_with("many")).map(str::to_owned).collect();
        names.sort();
        names
    }
}
