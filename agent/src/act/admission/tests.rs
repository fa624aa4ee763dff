//! Every reason to refuse, each on its own, and properties over all orders.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fettle_shared::command::SignedOrder;
use fettle_shared::signing::{write, Signer};
use proptest::prelude::*;

use super::*;
use crate::host_file::{
    Allowed, Check, CleanUp, Command, Component, FailOver, Permissions, ProcessMatch, RollBack, Runs,
    Supervised,
};

const NOW: i64 = 1_800_000_000_000_000;
const SECOND: i64 = 1_000_000;

fn signer() -> Signer {
    Signer::from_seed(&[3; 32])
}

fn supervised() -> Runs {
    Runs::Supervised(Supervised {
        command: vec!["/bin/true".into()],
        directory: None,
        environment: BTreeMap::new(),
        user: None,
        replicas: 1,
        replicas_min: 1,
        replicas_max: 4,
        stop_signal: 15,
        stop_timeout: Duration::from_secs(1),
    })
}

fn component(runs: Runs, allowed: Allowed) -> Component {
    Component {
        runs,
        check: Check::Process,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 2,
        depends_on: Vec::new(),
        critical: false,
        allowed,
        local: Vec::new(),
    }
}

fn everything() -> Allowed {
    let command = Command { command: vec!["/bin/true".into()], user: None, directory: None };
    let clean_up = CleanUp {
        root: "/var/log/x".into(),
        pattern: "*".into(),
        older_than: Duration::ZERO,
        keep_bytes: 0,
        most_bytes: 1,
        most_files: 1,
    };
    let permissions = Permissions { path: "/x".into(), mode: 0o644, user: None, group: None };
    let fail_over = FailOver {
        link: Some("/x".into()),
        candidates: vec![("a".into(), "/a".into()), ("b".into(), "/b".into())],
        hook: None,
    };
    Allowed {
        restart: true,
        start: true,
        stop: true,
        signals: vec!["HUP".into(), "KILL".into(), "NONSENSE".into()],
        nice: Some((-5, 10)),
        limits: [("memory_bytes".to_owned(), (1 << 20, 1 << 30)), ("turns".to_owned(), (1, 2))].into(),
        cgroup: Some("/sys/fs/cgroup/x".into()),
        clean_up: [("logs".to_owned(), clean_up)].into(),
        drop_caches: true,
        fix_permissions: [
            ("file".to_owned(), permissions.clone()),
            ("setuid".to_owned(), Permissions { mode: 0o4755, ..permissions }),
        ]
        .into(),
        roll_back: [("conf".to_owned(), RollBack::File { path: "/x".into(), versions: 2 })].into(),
        fail_over: [
            ("up".to_owned(), fail_over.clone()),
            ("unlinked".to_owned(), FailOver { link: None, hook: Some(command.clone()), ..fail_over }),
        ]
        .into(),
        scale: true,
        run: [("reload".to_owned(), command)].into(),
    }
}

fn host() -> HostFile {
    let matched = Runs::Process(ProcessMatch::Name("x".into()));
    let components = [
        ("web", component(supervised(), everything())),
        ("bare", component(supervised(), Allowed::default())),
        ("other", component(matched, everything())),
        ("nothing", component(Runs::Nothing, everything())),
    ];
    HostFile {
        trusted_keys: vec![[9; 32], signer().public()],
        host_actions: Allowed { drop_caches: true, ..Allowed::default() },
        components: components.map(|(name, component)| (name.to_owned(), component)).into(),
        ..HostFile::default()
    }
}

fn order() -> Order {
    Order {
        id: "o-1".into(),
        host: "h".into(),
        generation: 10,
        issued_us: NOW,
        expires_us: NOW + 60 * SECOND,
        component: "web".into(),
        action: Action::Restart,
        timeout_s: 0,
        dry_run: false,
        plan: "p".into(),
    }
}

/// What the agent says to an order, with what it remembers.
fn say_with(order: &Order, memory: &Memory, frozen: bool, host: &HostFile) -> Verdict {
    let bytes = write(&signer().sign(order).unwrap());
    admit(&bytes, &Situation { agent: "h", host, memory, frozen, now_us: NOW })
}

fn say(order: &Order) -> Verdict {
    say_with(order, &Memory { high: 9, ..Memory::default() }, false, &host())
}

fn refused(verdict: &Verdict) -> Option<(Refusal, bool)> {
    match verdict {
        Verdict::Deny { reason, .. } => Some((*reason, true)),
        Verdict::Refuse { reason, .. } => Some((*reason, false)),
        _ => None,
    }
}

fn task(verdict: Verdict) -> Task {
    match verdict {
        Verdict::Accept { task, .. } => *task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_order_becomes_a_task_without_choices() {
    let verdict = say(&order());
    assert!(matches!(verdict, Verdict::Accept { generation: 10, .. }));
    let task = task(verdict);
    assert_eq!((task.id.as_str(), task.because.as_str(), task.local), ("o-1", "p", false));
    assert_eq!(task.step, Step::Service { runs: supervised(), verb: Verb::Restart });
    assert_eq!(task.timeout, Duration::from_secs(300), "the host's limit where none is asked");
}

#[test]
fn the_shorter_time_limit_counts() {
    let timeout = |asked| task(say(&Order { timeout_s: asked, ..order() })).timeout.as_secs();
    assert_eq!((timeout(7), timeout(300), timeout(301), timeout(u32::MAX)), (7, 300, 300, 300));
}

#[test]
fn what_is_not_an_order_for_this_host_now_is_refused_and_uses_nothing_up() {
    let cases = [
        (Order { host: "h2".into(), ..order() }, Refusal::WrongHost),
        (Order { host: String::new(), ..order() }, Refusal::WrongHost),
        (Order { expires_us: NOW, ..order() }, Refusal::Expired),
        (Order { expires_us: NOW - 1, issued_us: NOW - 60 * SECOND, ..order() }, Refusal::Expired),
        (Order { issued_us: NOW + SKEW_US + 1, expires_us: NOW + 2 * SKEW_US, ..order() }, Refusal::Expired),
        (Order { expires_us: NOW + VALIDITY_MAX_US + 1, ..order() }, Refusal::Expired),
        (Order { issued_us: i64::MIN, expires_us: i64::MAX, ..order() }, Refusal::Expired),
        (Order { issued_us: i64::MAX, expires_us: i64::MIN, ..order() }, Refusal::Expired),
        (Order { issued_us: NOW + 61 * SECOND, ..order() }, Refusal::Expired),
        (Order { generation: 9, ..order() }, Refusal::StaleGeneration),
        (Order { generation: 0, ..order() }, Refusal::StaleGeneration),
        (Order { generation: u64::MAX, ..order() }, Refusal::Malformed),
        (Order { generation: i64::MAX as u64 + 1, ..order() }, Refusal::Malformed),
        (Order { generation: i64::MAX as u64, ..order() }, Refusal::Malformed),
        (Order { generation: (NOW + AHEAD_US) as u64 + 1, ..order() }, Refusal::Malformed),
    ];
    for (order, reason) in cases {
        assert_eq!(refused(&say(&order)), Some((reason, false)), "{order:?}");
    }
    let edge = Order { issued_us: NOW + SKEW_US, expires_us: NOW + SKEW_US + VALIDITY_MAX_US, ..order() };
    assert_eq!(refused(&say(&edge)), None, "just within what clocks may differ by");
    let ahead = Order { generation: (NOW + AHEAD_US) as u64, ..order() };
    assert_eq!(refused(&say(&ahead)), None, "a clock that is a day ahead is a clock");
}

#[test]
fn an_order_from_before_the_memory_began_is_refused() {
    let memory = Memory { floor_us: NOW, ..Memory::default() };
    let early = Order { issued_us: NOW - 1, ..order() };
    assert_eq!(refused(&say_with(&early, &memory, false, &host())), Some((Refusal::Expired, false)));
    assert_eq!(refused(&say_with(&order(), &memory, false, &host())), None);
}

#[test]
fn forged_orders_are_refused_before_anything_else_is_looked_at() {
    let (host, memory) = (host(), Memory::default());
    let situation = Situation { agent: "h", host: &host, memory: &memory, frozen: false, now_us: NOW };
    let good = signer().sign(&order()).unwrap();
    let stranger = Signer::from_seed(&[4; 32]).sign(&order()).unwrap();
    let other = signer().sign(&Order { component: "bare".into(), ..order() }).unwrap();
    let cases = [
        (write(&stranger), Refusal::UntrustedKey),
        (write(&SignedOrder { key: good.key.clone(), ..stranger.clone() }), Refusal::BadSignature),
        (write(&SignedOrder { order: other.order, ..good.clone() }), Refusal::BadSignature),
        (write(&SignedOrder { key: String::new(), ..good.clone() }), Refusal::Malformed),
        (b"restart web".to_vec(), Refusal::Malformed),
        (Vec::new(), Refusal::Malformed),
    ];
    for (bytes, reason) in cases {
        assert_eq!(refused(&admit(&bytes, &situation)), Some((reason, false)));
    }
    let nobody = HostFile::default();
    let nobody = Situation { host: &nobody, ..situation };
    assert_eq!(refused(&admit(&write(&good), &nobody)), Some((Refusal::UntrustedKey, false)));
}

#[test]
fn the_same_order_again_is_answered_with_what_is_known_and_another_of_its_id_is_not() {
    let text = signer().sign(&order()).unwrap().order;
    let receipt = Receipt {
        id: "o-1".into(),
        host: "h".into(),
        component: "web".into(),
        action: Action::Restart,
        local: false,
        outcome: fettle_shared::command::Outcome::Succeeded,
        begun_us: 1,
        ended_us: 2,
        output: String::new(),
        before: BTreeMap::new(),
        because: String::new(),
    };
    let known = Known { digest: xxh3_128(text.as_bytes()), receipt: receipt.clone() };
    let memory = Memory { high: 10, known: [("o-1".to_owned(), known)].into(), ..Memory::default() };
    assert_eq!(say_with(&order(), &memory, true, &host()), Verdict::Known(Box::new(receipt)));
    let other = Order { generation: 11, ..order() };
    assert_eq!(refused(&say_with(&other, &memory, false, &host())), Some((Refusal::Repeated, false)));
}

#[test]
fn only_what_the_hosts_file_allows_is_done() {
    let with = |component: &str, action: Action| {
        let order = Order { component: component.into(), action, ..order() };
        refused(&say(&order)).map(|(reason, denied)| {
            assert!(denied, "an order that was fresh uses its generation up");
            reason
        })
    };
    let signal = |name: &str| Action::Signal { signal: name.into() };
    let limit = |resource: &str, value| Action::Limit { resource: resource.into(), value };
    let entry = |name: &str| name.to_owned();
    let over = |to: &str| Action::FailOver { entry: "up".into(), to: to.into() };
    let run = |command: &str| Action::Run { command: command.into() };
    for action in [
        Action::Restart,
        Action::Start,
        Action::Stop,
        signal("HUP"),
        Action::Renice { nice: 10 },
        limit("memory_bytes", 1 << 20),
        Action::CleanUp { policy: entry("logs") },
        Action::DropCaches,
        Action::FixPermissions { entry: entry("file") },
        Action::RollBack { entry: entry("conf") },
        over(""),
        over("b"),
        Action::Scale { replicas: 4 },
        run("reload"),
    ] {
        assert_eq!(with("web", action.clone()), None, "{action:?}");
        assert_eq!(with("bare", action.clone()), Some(Refusal::NotAllowed), "{action:?}");
        assert_eq!(with("absent", action.clone()), Some(Refusal::UnknownComponent), "{action:?}");
        let by_host = if action == Action::DropCaches { None } else { Some(Refusal::NotAllowed) };
        assert_eq!(with("", action.clone()), by_host, "{action:?}");
    }
    for action in [
        signal("TERM"),
        signal("hup"),
        signal("NONSENSE"),
        signal("9"),
        Action::Renice { nice: 11 },
        Action::Renice { nice: -20 },
        limit("memory_bytes", 0),
        limit("memory_bytes", u64::MAX),
        limit("pids", 5),
        limit("turns", 1),
        limit("../memory_bytes", 1 << 20),
        Action::CleanUp { policy: entry("/") },
        Action::FixPermissions { entry: entry("setuid") },
        Action::FixPermissions { entry: entry("../file") },
        Action::RollBack { entry: entry("") },
        over("c"),
        over("/etc/shadow"),
        Action::FailOver { entry: entry("unlinked"), to: String::new() },
        Action::Scale { replicas: 0 },
        Action::Scale { replicas: 5 },
        run("reload; reboot"),
        run(""),
    ] {
        assert_eq!(with("web", action.clone()), Some(Refusal::NotAllowed), "{action:?}");
    }
    assert_eq!(with("other", signal("KILL")), None);
    assert_eq!(with("other", Action::Restart), Some(Refusal::NotAllowed), "nobody knows how");
    assert_eq!(with("other", Action::Scale { replicas: 2 }), Some(Refusal::NotAllowed));
    assert_eq!(with("nothing", signal("KILL")), Some(Refusal::NotAllowed));
}

fn begun(component: &str, action: Action, ago_s: i64, local: bool) -> Begun {
    Begun { component: component.into(), action, begun_us: NOW - ago_s * SECOND, local }
}

#[test]
fn limits_hold_and_each_refusal_is_final() {
    let with = |memory: Memory, frozen, change: fn(&mut Order)| {
        let mut order = order();
        change(&mut order);
        refused(&say_with(&order, &Memory { high: 9, ..memory }, frozen, &host()))
    };
    let same: fn(&mut Order) = |_| ();
    let dry: fn(&mut Order) = |order| order.dry_run = true;
    let begun_list = |list: Vec<Begun>| Memory { begun: list.into(), ..Memory::default() };
    let running = |names: &[&str]| Memory {
        running: names.iter().enumerate().map(|(i, name)| (i.to_string(), (*name).to_owned())).collect(),
        ..Memory::default()
    };
    assert_eq!(with(Memory::default(), true, same), Some((Refusal::Frozen, true)));
    assert_eq!(with(Memory::default(), true, dry), None, "a dry run does nothing");
    assert_eq!(with(running(&["web"]), false, same), Some((Refusal::Busy, true)));
    assert_eq!(with(running(&["web"]), false, dry), Some((Refusal::Busy, true)));
    assert_eq!(with(running(&["a", "b", "c"]), false, same), Some((Refusal::Busy, true)));
    assert_eq!(with(running(&["a", "b"]), false, same), None);
    let restart = |ago| begun_list(vec![begun("web", Action::Restart, ago, false)]);
    assert_eq!(with(restart(9), false, same), Some((Refusal::CoolingDown, true)));
    assert_eq!(with(restart(10), false, same), None);
    assert_eq!(with(restart(-3600), false, same), Some((Refusal::CoolingDown, true)), "a clock set back");
    assert_eq!(with(restart(1), false, dry), None);
    assert_eq!(with(begun_list(vec![begun("web", Action::Stop, 1, false)]), false, same), None);
    assert_eq!(with(begun_list(vec![begun("bare", Action::Restart, 1, false)]), false, same), None);
    let many =
        |count: i64, ago| begun_list((0..count).map(|i| begun("x", Action::Start, ago + i, false)).collect());
    assert_eq!(with(many(60, 20), false, same), Some((Refusal::RateLimited, true)));
    assert_eq!(with(many(59, 20), false, same), None);
    assert_eq!(with(many(60, 3600), false, same), None, "an hour ago");
    let nice = |order: &mut Order| order.action = Action::Renice { nice: 3 };
    let niced = begun_list(vec![begun("web", Action::Renice { nice: 9 }, 1, false)]);
    assert_eq!(
        with(niced, false, nice),
        Some((Refusal::CoolingDown, true)),
        "another number is no other action"
    );
}

#[test]
fn what_was_begun_while_the_clock_was_ahead_binds_from_now_on_and_not_for_years() {
    let year = 365 * 24 * 3600;
    let mut memory = Memory { high: 9, ..Memory::default() };
    memory.begun = (0..60).map(|_| begun("x", Action::Start, -year, true)).collect();
    memory.begun.push_back(begun("web", Action::Restart, -year, false));
    let at = |memory: &Memory, now_us| {
        let order = Order { issued_us: now_us, expires_us: now_us + SECOND, ..order() };
        let bytes = write(&signer().sign(&order).unwrap());
        let host = host();
        refused(&admit(&bytes, &Situation { agent: "h", host: &host, memory, frozen: false, now_us }))
    };
    memory.keep_to_clock(NOW);
    assert_eq!(at(&memory, NOW + 9 * SECOND), Some((Refusal::CoolingDown, true)));
    assert_eq!(at(&memory, NOW + 10 * SECOND), Some((Refusal::RateLimited, true)));
    memory.keep_to_clock(NOW + 10 * SECOND);
    assert_eq!(at(&memory, NOW + HOUR_US), None, "an hour after it was seen, not after it");
}

#[test]
fn own_rules_need_no_permission_for_others_but_keep_to_their_quota() {
    let host = host();
    let rule = |action| LocalRule { action, after: Duration::ZERO, alone_for: Duration::ZERO };
    let admit_with = |component: &str, action, memory: &Memory, frozen| {
        let situation = Situation { agent: "h", host: &host, memory, frozen, now_us: NOW };
        admit_local("l-1".into(), component, &rule(action), &situation)
    };
    let empty = Memory::default();
    let task = admit_with("bare", Action::Restart, &empty, false).unwrap();
    assert!(task.local && task.step == Step::Service { runs: supervised(), verb: Verb::Restart });
    let undeclared = Action::Run { command: "reload".into() };
    assert_eq!(admit_with("bare", undeclared, &empty, false), Err(Refusal::NotAllowed));
    assert_eq!(admit_with("bare", Action::Restart, &empty, true), Err(Refusal::Frozen));
    let locals = |count| Memory {
        begun: (0..count).map(|i| begun("x", Action::Start, 20 + i, true)).collect(),
        ..Memory::default()
    };
    assert_eq!(admit_with("bare", Action::Restart, &locals(10), false), Err(Refusal::RateLimited));
    assert!(admit_with("bare", Action::Restart, &locals(9), false).is_ok());
    assert_eq!(refused(&say_with(&order(), &locals(10), false, &host)), None, "orders have their own");
}

fn any_action() -> impl Strategy<Value = Action> {
    let name = prop_oneof![Just("logs".to_owned()), Just("reload".to_owned()), "[ -~]{0,12}"];
    prop_oneof![
        Just(Action::Restart),
        Just(Action::Start),
        Just(Action::DropCaches),
        name.clone().prop_map(|signal| Action::Signal { signal }),
        any::<i8>().prop_map(|nice| Action::Renice { nice }),
        (name.clone(), any::<u64>()).prop_map(|(resource, value)| Action::Limit { resource, value }),
        name.clone().prop_map(|policy| Action::CleanUp { policy }),
        name.clone().prop_map(|entry| Action::RollBack { entry }),
        (name.clone(), name.clone()).prop_map(|(entry, to)| Action::FailOver { entry, to }),
        any::<u32>().prop_map(|replicas| Action::Scale { replicas }),
        name.prop_map(|command| Action::Run { command }),
    ]
}

proptest! {
    #[test]
    fn nothing_is_accepted_that_breaks_a_rule(
        action in any_action(),
        component in prop_oneof![Just("web".to_owned()), Just("bare".to_owned()), Just(String::new()), "[a-z]{1,5}"],
        host_name in prop_oneof![9 => Just("h".to_owned()), 1 => "[a-z]{1,3}"],
        generation in 0u64..20,
        high in 0u64..20,
        issued in -2_000i64..200,
        valid in -10i64..2_000,
        frozen: bool,
        running in 0usize..5,
        asked: u32,
    ) {
        let order = Order {
            host: host_name, generation, component, action, timeout_s: asked,
            issued_us: NOW + issued * SECOND, expires_us: NOW + (issued + valid) * SECOND, ..order()
        };
        let running = (0..running).map(|i| (i.to_string(), format!("r{i}"))).collect();
        let memory = Memory { high, running, ..Memory::default() };
        let file = host();
        if let Verdict::Accept { task, .. } = say_with(&order, &memory, frozen, &file) {
            prop_assert_eq!(&order.host, "h");
            prop_assert!(generation > high && !frozen && memory.running.len() < 3);
            prop_assert!(issued <= 60 && issued + valid > 0 && valid <= 900);
            prop_assert!(task.timeout <= Duration::from_secs(300) && !task.timeout.is_zero());
            prop_assert!(allowed(&file, &order.component, &order.action, false).is_ok());
            prop_assert!(order.component != "bare");
            if let Step::CleanUp(policy) = &task.step {
                prop_assert_eq!(&policy.root, &PathBuf::from("/var/log/x"));
            }
        }
    }
}
