//! Where mending stops by itself: at its budgets when everything falls at once, at its limit when it does not
//! help, when what it mends does not stay well, and at a person's word.

use std::path::Path;
use std::process::Command;

use fettle_tests::binaries::fettle;
use fettle_tests::mended::{Mended, Service, HOST};
use fettle_tests::wait::{until, when};
use rustix::process::Signal;
use serde_json::Value;

use crate::{SOON, VICTIM};
use fettle_tests::stranger::Stranger;

/// Storms are another test's; a few changes are enough to be called flapping.
pub const ALERTS: &str = "storm: {similar: 100, total: 1000}\nflapping: {changes: 4, window: 10m}\n";
/// Rows of a component that show that some time went by: it has four a second.
const A_WHILE: u64 = 24;
const CELLS: usize = 5;

/// Policies under which a host sees at most so many actions.
pub fn policies(most: u32) -> String {
    let entry = |name: &str, more: &str| {
        format!("  {name}:\n    match: {{rules: [\"component_down*\"], labels: {{component: \"{name}*\"}}}}\n{more}")
    };
    let restart = "    strategies:\n      - action: restart\n        cooldown: 1s\n";
    let patient = format!("{restart}        verify: component.up == 1 for 1s within 60s\n");
    let hopeless =
        format!("{restart}        max_attempts: 2\n        verify: component.up == 1 for 1s within 5s\n");
    format!("budgets:\n  host: {{actions: {most}, per: 10m, in_flight: 1}}\nentries:\n")
        + &entry("cell", &patient)
        + &entry("calm", &patient)
        + &entry("flappy", &format!("    repeat: {{max: 2, per: 10m}}\n{patient}"))
        + &entry("hopeless", &hopeless)
}

/// What runs on the host.
pub struct Fleet {
    cells: Vec<Service>,
    flappy: Service,
    calm: Service,
    hopeless: Service,
}

impl Fleet {
    /// Nothing of it runs yet.
    pub fn new() -> Self {
        let service = || Service::new(VICTIM);
        Self {
            cells: (0..CELLS).map(|_| service()).collect(),
            flappy: service(),
            calm: service(),
            hopeless: service(),
        }
    }

    /// Its components; what is hopeless is well while a file is there.
    pub fn components(&self, files: &Path) -> String {
        std::fs::write(files.join("hope"), "").unwrap();
        let runs = |name: &str, service: &Service| {
            format!(
                "[components.{name}]\ninterval = \"250ms\"\nallow = {{ restart = true }}\n\
                 runs = {{ command = {}, stop_timeout = \"2s\" }}\n",
                service.command(&[])
            )
        };
        let cells = self.cells.iter().enumerate().map(|(at, cell)| runs(&format!("cell{at}"), cell));
        let hope = format!("check = {{ file = \"{}\", oldest = \"26h\" }}\n", files.join("hope").display());
        cells.collect::<String>()
            + &runs("flappy", &self.flappy)
            + &runs("calm", &self.calm)
            + &runs("hopeless", &self.hopeless)
            + &hope
    }

    fn cells_up(&self) -> usize {
        self.cells.iter().filter(|cell| !cell.pids().is_empty()).count()
    }
}

/// All cells fall at once: no more are mended than the budget has, one after the other; the others wait, and it
/// is said what for.
pub async fn everything_falls(mended: &Mended, fleet: &Fleet) {
    for at in 0..CELLS {
        mended.sees(&format!("cell{at}"), true, SOON).await;
    }
    for cell in &fleet.cells {
        cell.signal(Signal::KILL);
    }
    until("the budget is used up, and the others wait for it", SOON, || async {
        let explained = mended.ask("plan").await;
        let waits = |row: &&Value| row["text"].as_str().is_some_and(|text| text.contains("2 is the most"));
        let waiting = explained["would"].as_array().into_iter().flatten().filter(waits).count();
        when((fleet.cells_up(), waiting, explained), |(up, waiting, _)| *up == 2 && *waiting == CELLS - 2)
    })
    .await;
    goes_by(mended, "cell%").await;
    assert_eq!(fleet.cells_up(), 2, "time alone changes nothing");
    let sql = mended.stack.sql();
    let steps = "SELECT kind FROM fettle.audit WHERE kind IN ('intent', 'verified') ORDER BY seq";
    until("the audit says: one at a time", SOON, || async {
        let rows = sql.rows(steps).await.unwrap_or_default();
        let kinds: Vec<_> = rows.iter().filter_map(|row| row["kind"].as_str().map(str::to_owned)).collect();
        when(kinds, |kinds| *kinds == ["intent", "verified", "intent", "verified"])
    })
    .await;
}

/// With a larger budget the others are mended too.
pub async fn the_rest_is_mended(mended: &Mended, fleet: &Fleet) {
    until("all cells are up", SOON, || async { when(fleet.cells_up(), |up| *up == CELLS) }).await;
    until("no component is down any more", SOON, || async {
        when(mended.ask("alerts").await, |alerts| {
            let mut down =
                alerts.as_array().into_iter().flatten().filter(|one| one["rule"] == "component_down");
            down.all(|one| one["state"] == "resolved")
        })
    })
    .await;
}

/// A restart does not bring the file back: after two attempts it is left alone, and a person called once.
pub async fn what_does_not_help(mended: &Mended) {
    std::fs::remove_file(mended.stack.path("files/hope")).unwrap();
    is_left_alone(mended, "hopeless", 2).await;
}

/// A service that falls again and again after it was mended: after two mends a person is called, and people are
/// not told of each time.
pub async fn what_does_not_last(mended: &Mended, fleet: &Fleet) {
    for round in 1..=2 {
        fleet.flappy.signal(Signal::KILL);
        until("it is mended, and its alert is over", SOON, || async {
            let mends = mended.ask("plans").await;
            let done = |one: &&Value| one["component"] == "flappy" && one["state"] == "succeeded";
            let mends = mends.as_array().into_iter().flatten().filter(done).count();
            let state = alert(mended, "flappy").await["state"].clone();
            when((mends, state), |(mends, state)| *mends == round && state == "resolved")
        })
        .await;
    }
    fleet.flappy.signal(Signal::KILL);
    is_left_alone(mended, "flappy", 2).await;
    assert!(fleet.flappy.pids().is_empty());
    assert_eq!(alert(mended, "flappy").await["flapping"], true);
    let told = told(mended, "component_down", "flappy", "firing");
    assert!((1..=2).contains(&told.len()), "three falls, told of {} times: {told:#?}", told.len());
}

/// While everything is frozen nothing is ordered; afterwards it is.
pub async fn a_freeze(mended: &Mended, fleet: &Fleet, stranger: &Stranger) {
    say(mended, "freeze");
    fleet.calm.signal(Signal::KILL);
    until("it is said that all is frozen", SOON, || async {
        let explained = mended.ask("plan").await;
        let is_frozen = |row: &Value| {
            row["component"] == "calm"
                && row["text"].as_str().is_some_and(|text| text.contains("frozen by tester"))
        };
        let said = explained["would"].as_array().is_some_and(|rows| rows.iter().any(is_frozen));
        when(explained, |_| said)
    })
    .await;
    goes_by(mended, "calm").await;
    assert!(stranger.heard("calm").is_empty() && fleet.calm.pids().is_empty());
    say(mended, "unfreeze");
    mended.plan_ends("calm", "succeeded", SOON).await;
    until("the order was heard", SOON, || async { when(stranger.heard("calm").len(), |heard| *heard > 0) })
        .await;
    assert_eq!((stranger.heard("calm").len(), fleet.calm.pids().len()), (1, 1));
    let sql = mended.stack.sql();
    until("the freeze is in the audit", SOON, || async {
        let words = "SELECT uniqExact(kind) FROM fettle.audit WHERE who LIKE '%tester' AND kind IN ('frozen', 'thawed')";
        when(sql.number(words).await.unwrap_or(0), |kinds| *kinds == 2)
    })
    .await;
}

/// The chain of the audit is whole, by the operator's own command; its last records may be on their way.
pub async fn the_audit_is_whole(mended: &Mended) {
    let stack = &mended.stack;
    let sql = format!("http://127.0.0.1:{}", stack.sql_port);
    let http = format!("127.0.0.1:{}", stack.http_port);
    until("the audit is whole", SOON, || async {
        let mut verify = Command::new(fettle("fettle"));
        let said = verify.args(["audit", "verify", "--url", &sql, "--http", &http]).output().unwrap();
        if said.status.success() {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
}

/// Waits until a person is called for a component, and some time went by: it was acted on so often and never
/// again, and called was once.
async fn is_left_alone(mended: &Mended, component: &str, actions: u64) {
    let called = || told(mended, "mending_gave_up", component, "firing").len();
    until(&format!("a person is called for {component}"), SOON, || async { when(called(), |n| *n > 0) })
        .await;
    let (sql, done) = (
        mended.stack.sql(),
        format!(
            "SELECT uniqExact(id) FROM fettle.actions WHERE component = '{component}' AND outcome != 'accepted'"
        ),
    );
    until("what was done is stored", SOON, || async {
        when(sql.number(&done).await.unwrap_or(0), |stored| *stored >= actions)
    })
    .await;
    goes_by(mended, component).await;
    assert_eq!(sql.number(&done).await.unwrap(), actions, "{component}");
    assert_eq!(called(), 1, "{component}: {:#?}", mended.sink.posted());
    let explained = mended.ask("plan").await;
    let is_said = |row: &Value| {
        row["component"] == component && row["text"].as_str().is_some_and(|text| text.contains("left alone"))
    };
    let rows = [&explained["would"], &explained["would_not"]].into_iter().filter_map(Value::as_array);
    assert!(rows.flatten().any(is_said), "{explained:#}");
}

/// Waits until samples show that something was down for a while longer.
async fn goes_by(mended: &Mended, component: &str) {
    let sql = mended.stack.sql();
    let query = format!("SELECT count() FROM fettle.component WHERE component LIKE '{component}' AND up = 0");
    let before = sql.number(&query).await.unwrap();
    until("some time goes by", SOON, || async {
        when(sql.number(&query).await.unwrap_or(0), |rows| *rows >= before + A_WHILE)
    })
    .await;
}

/// The alert that a component is down.
async fn alert(mended: &Mended, component: &str) -> Value {
    let alerts = mended.ask("alerts").await;
    let is_it = |row: &&Value| row["rule"] == "component_down" && row["labels"]["component"] == component;
    alerts.as_array().into_iter().flatten().find(is_it).cloned().unwrap_or_default()
}

/// Notifications of this kind and rule about a component.
fn told(mended: &Mended, rule: &str, component: &str, kind: &str) -> Vec<Value> {
    let about = |body: &Value| {
        body["alerts"].as_array().into_iter().flatten().any(|one| one["labels"]["component"] == component)
    };
    mended.told(rule, kind).into_iter().filter(about).collect()
}

/// Gives a word by the operator's own command.
fn say(mended: &Mended, word: &str) {
    let stack = &mended.stack;
    let (http, token) = (format!("127.0.0.1:{}", stack.http_port), stack.path("collector/api.token"));
    let mut fettle = Command::new(fettle("fettle"));
    fettle.args([word, "--http", &http, "--author", "tester", "--reason", HOST, "--token-file"]).arg(token);
    let said = fettle.output().unwrap();
    assert!(said.status.success(), "{said:?}");
}
