//! The host: its units, the agent as it is shipped, and the host's file.

use std::path::Path;

use fettle_tests::binaries::fettle;
use fettle_tests::machine::Machine;
use fettle_tests::mended::{Mended, Service, HOST};

const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");
/// What is shipped for systemd.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/systemd");
/// The victim, inside.
pub const PROGRAM: &str = "/usr/local/bin/victim";
const UNITS: &str = "/etc/systemd/system";

/// Units to be looked at, by what makes them so.
pub const LOOKS: [(&str, &str); 7] = [
    ("good", "ExecStart=/bin/sleep infinity"),
    ("hung", "ExecStart=/bin/sleep infinity"),
    ("idle", "ExecStart=/bin/sleep infinity"),
    ("crashed", "ExecStart=/bin/sh -c 'exit 3'"),
    ("stuck", "Type=notify\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity"),
    ("looping", "Restart=always\nRestartSec=1h\nExecStart=/bin/false"),
    ("oneshot", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true"),
];

/// Units that orders are given about.
const ORDERED: [(&str, &str); 5] = [
    ("box", "ExecStart=/bin/sh -c 'trap \"touch /run/heard\" USR1; while :; do sleep 0.1; done'"),
    ("slow", "Type=notify\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity"),
    (
        "stubborn",
        "TimeoutStopSec=infinity\nExecStart=/bin/sh -c 'trap \"\" TERM; touch /run/stubborn; while :; do sleep 0.1; done'",
    ),
    ("broken", "ExecStart=/no/such/program"),
    (
        "tired",
        // However long its crashes take, and whatever comes between them and the next start.
        "Restart=always\nRestartSec=0\nExecStart=/bin/sh -c 'test -e /run/rested && exec sleep infinity'\n\
         [Unit]\nStartLimitIntervalSec=1h",
    ),
];

/// Boots one that has the programs under test; none where that cannot be done.
pub async fn boot(logs: &Path) -> Option<Machine> {
    let agent = fettle("fettle-agent");
    let shown = [
        (agent.as_path(), "/usr/local/bin/fettle-agent"),
        (Path::new(VICTIM), PROGRAM),
        (Path::new(SHIPPED), "/usr/share/fettle"),
    ];
    Machine::boot(logs, &shown).await
}

/// The host's file, after its head.
pub fn components(web: &Service, shop: &Service, release: &Service) -> String {
    let unit = |name: &str| format!("runs = {{ unit = \"{name}.service\" }}\n");
    // A busy machine's services may take their time; those that are broken here do not answer at all.
    let often = "interval = \"250ms\"\ntimeout = \"5s\"\nfailures = 2\n";
    let served = |name: &str, service: &Service| {
        format!(
            "[components.{name}]\n{often}{}check = {{ http = \"http://{}/health\" }}\n",
            unit(name),
            service.address
        )
    };
    let ordered = ORDERED.iter().filter(|(name, _)| *name != "box").map(|(name, _)| *name).chain(["missing"]);
    let ordered: String = ordered
        .map(|name| {
            format!(
                "[components.{name}]\ninterval = \"1h\"\n{}allow = {{ start = true, stop = true, restart = true, signals = [\"KILL\"] }}\n",
                unit(name)
            )
        })
        .collect();
    format!(
        "{}allow = {{ restart = true }}\n{}allow = {{ restart = true }}\n{}\
         [components.release.allow]\nrestart = true\n\
         roll_back.release = {{ link = \"/srv/release/current\", releases = \"/srv/release/releases\" }}\n\
         [components.box]\n{often}{}[components.box.allow]\nstart = true\nstop = true\nsignals = [\"USR1\"]\n\
         nice = [0, 10]\nlimits.memory_bytes = [1048576, 1073741824]\nlimits.cpu_percent = [10, 200]\n\
         limits.pids = [1, 100]\n\
         [components.kept]\n{often}runs = {{ command = [\"/bin/sleep\", \"100000\"] }}\n{ordered}",
        served("web", web),
        served("shop", shop),
        served("release", release),
        unit("box"),
    )
}

/// Its units, those that serve and those that are ordered about.
pub fn install_services(machine: &Machine, web: &Service, shop: &Service, release: &Service) {
    for (number, config) in [("1", "ok"), ("2", "broken")] {
        machine.write(&format!("/srv/release/releases/{number}/config"), config);
    }
    machine.say(&["ln", "-s", "releases/1", "/srv/release/current"]);
    // The newest before the present one is what is gone back to.
    machine.say(&["touch", "--date", "1 hour ago", "/srv/release/releases/1"]);
    let served = |service: &Service| format!("ExecStart={PROGRAM} --listen {}", service.address);
    let released =
        format!("Restart=on-failure\nRestartSec=100ms\n{} --release /srv/release/current", served(release));
    let serving = [("web", served(web)), ("shop", served(shop)), ("release", released)];
    for (name, text) in &serving {
        machine.write(&format!("{UNITS}/{name}.service"), &format!("[Service]\n{text}\n"));
    }
    for (name, text) in ORDERED {
        machine.write(&format!("{UNITS}/{name}.service"), &format!("[Service]\n{text}\n"));
    }
    machine.say(&["systemctl", "daemon-reload"]);
    machine.say(&["systemctl", "start", "web.service", "shop.service", "release.service", "box.service"]);
}

/// The agent as its page says that it is installed.
pub fn install_agent(machine: &Machine, mended: &Mended) {
    let own = std::fs::read_to_string(mended.hosts_file()).unwrap();
    machine.write("/etc/fettle/components.toml", &own);
    let url = mended.stack.nats_url();
    machine.write(
        "/etc/fettle/agent.toml",
        &format!(
            "agent = \"{HOST}\"\n[nats]\nurl = \"{url}\"\n[sample]\ncpu_budget = \"100%\"\n[metrics]\nlisten = \"off\"\n"
        ),
    );
    machine.say(&["install", "-m", "644", "/usr/share/fettle/fettle-agent.service", UNITS]);
    let verified = machine.say(&["systemd-analyze", "verify", &format!("{UNITS}/fettle-agent.service")]);
    assert_eq!(verified, "");
    machine.say(&["systemctl", "daemon-reload"]);
    machine.say(&["systemctl", "enable", "--now", "--quiet", "fettle-agent.service"]);
}

/// The same without root.
pub fn take_root_away(machine: &Machine) {
    let home = ["--home-dir", "/var/lib/fettle-agent", "--shell", "/usr/sbin/nologin", "fettle-agent"];
    machine.say(&[&["useradd", "--system"], &home[..]].concat());
    let rules = "/etc/polkit-1/rules.d/50-fettle-agent.rules";
    machine.say(&["install", "-D", "-m", "644", "/usr/share/fettle/50-fettle-agent.rules", rules]);
    let more = format!("{UNITS}/fettle-agent.service.d/unprivileged.conf");
    machine.say(&["install", "-D", "-m", "644", "/usr/share/fettle/unprivileged.conf", &more]);
    machine.say(&["systemctl", "daemon-reload"]);
    machine.say(&["systemctl", "restart", "fettle-agent.service"]);
}
