//! Host files that are taken, and what is said of those that are not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use fettle_shared::command::Action;

use super::{Check, HostFile, Runs};

fn parse(text: &str) -> Result<HostFile, String> {
    HostFile::parse(Path::new("components.toml"), text).map_err(|error| error.to_string())
}

const SAMPLE: &str = include_str!("../../../deploy/components.example.toml");

#[test]
fn the_sample_is_read_and_what_is_printed_settles_the_same() {
    let file = parse(SAMPLE).unwrap();
    assert_eq!(file.components.len(), 6);
    let web = &file.components["web"];
    assert!(web.critical && web.failures == 2 && web.allowed.fail_over["upstream"].candidates.len() == 2);
    assert_eq!(web.local[0].action, Action::Restart);
    assert_eq!(file.components["cache"].check, Check::Active);
    assert_eq!(file.components["cron"].check, Check::Process);
    assert_eq!(web.allowed.clean_up["logs"].older_than, Duration::from_secs(7 * 86_400));
    let printed = file.render();
    assert_eq!(parse(&printed), Ok(file.clone()), "{printed}");
    assert_eq!(parse("").unwrap(), HostFile::default());
    let summary = web.allowed.summary();
    assert!(summary.contains("restart") && summary.contains("clean_up(logs)"), "{summary}");
}

#[test]
fn only_what_is_written_is_permitted() {
    let file = parse(SAMPLE).unwrap();
    let permits = |name: &str, action: &Action| {
        let component = &file.components[name];
        component.allowed.permits(action, &component.runs)
    };
    let scale = |replicas| Action::Scale { replicas };
    assert!(permits("web", &Action::Restart) && permits("database", &Action::Restart));
    assert!(!permits("cron", &Action::Restart) && !permits("database", &Action::Stop));
    assert!(permits("web", &scale(3)) && !permits("web", &scale(4)) && !permits("web", &scale(0)));
    assert!(permits("web", &Action::Renice { nice: 10 }) && !permits("web", &Action::Renice { nice: -1 }));
    assert!(permits("cron", &Action::Signal { signal: "TERM".into() }));
    assert!(!permits("cron", &Action::Signal { signal: "KILL".into() }));
    let over = |to: &str| Action::FailOver { entry: "upstream".into(), to: to.into() };
    assert!(permits("web", &over("")) && permits("web", &over("standby")) && !permits("web", &over("other")));
    assert!(!permits("backup", &Action::Signal { signal: "TERM".into() }));
    assert!(!permits("web", &Action::Limit { resource: "pids".into(), value: 5 }));
}

#[test]
fn mistakes_are_named_with_their_line_and_remedy() {
    for (text, expected) in [
        ("\n[components.a]\nchek = 1", "components.toml, line 3: there is no key `chek` here; the keys are `runs`"),
        ("[components.a.runs]\nunits = \"x\"", "components.toml, line 2: there is no key `units` here"),
        ("[components.\"a b\"]\ncheck = { tcp = \"127.0.0.1:1\" }", "components.toml, line 1: \"a b\" cannot be a name"),
        ("[components.a]", "components.toml, line 1: a component that nothing runs needs a check"),
        ("[components.a]\nruns = { command = [\"web\"] }", "components.toml, line 2: the program of command is \"web\"; write an absolute"),
        ("[components.a]\nruns = { command = [] }", "components.toml, line 2: command is empty"),
        ("[components.a]\nruns = { unit = \"a.service\", name = \"a\" }", "components.toml, line 2: runs needs exactly one"),
        ("[components.a]\nruns = { unit = \"a.service\", replicas = 2 }", "components.toml, line 2: replicas belongs beside command"),
        ("[components.a]\nruns = { unit = \"a.service\", replicas_max = 2 }", "components.toml, line 2: replicas_max belongs beside command or container"),
        ("[components.a]\nruns = { container = \"a\", replicas = 2 }", "components.toml, line 2: replicas belongs beside command, for what the agent"),
        ("[components.a]\nruns = { container = \"a\", replicas_min = 0 }", "components.toml, line 2: replicas_min is 0; write a number from 1 to 64"),
        ("[components.a]\nruns = { container = \"a\", replicas_min = 3, replicas_max = 2 }", "components.toml, line 2: replicas_max is 2; write a number from 3 to 64"),
        ("[components.a]\ncheck = { http = \"https://h/\" }", "components.toml, line 2: http is \"https://h/\"; write"),
        ("[components.a]\ncheck = { tcp = \"h:80\" }", "components.toml, line 2: tcp is \"h:80\"; write an address"),
        ("[components.a]\ncheck = { exec = [\"/bin/true\"], user = \"nobody-of-that-name\" }", "components.toml, line 2: there is no user"),
        ("[components.a]\ncheck = { tcp = \"127.0.0.1:1\", user = \"root\" }", "components.toml, line 2: user belongs beside exec"),
        ("[components.a]\ncheck = { active = true }", "components.toml, line 2: active is asked of a systemd unit"),
        ("[components.a]\ncheck = { process = true }", "components.toml, line 2: process needs runs"),
        ("[components.a]\nruns = { name = \"a\" }\ninterval = \"10ms\"", "components.toml, line 3: interval is 10ms; write"),
        ("[components.a]\nruns = { name = \"a\" }\ndepends_on = [\"b\"]", "components.toml, line 3: depends_on names \"b\""),
        ("[components.a]\nruns = { command = [\"/bin/a\"], stop_signal = \"SIGTERM\" }", "components.toml, line 2: there is no signal"),
        ("[host.clean_up.x]\nroot = \"/etc\"\npattern = \"*\"\nolder_than = \"1d\"", "components.toml, line 2: root is \"/etc\", where others"),
        ("[host.clean_up.x]\nroot = \"/srv/a/../b\"", "components.toml, line 2: root is \"/srv/a/../b\"; write it without «..»"),
        ("[host.clean_up.x]\nroot = \"/srv/a\"", "components.toml, line 1: x has no pattern; add it"),
        ("[host.fix_permissions.x]\npath = \"/srv/a\"\nmode = \"4755\"", "components.toml, line 3: mode is \"4755\"; write octal"),
        ("[host]\nsignals = [\"FOO\"]", "components.toml, line 2: there is no signal \"FOO\""),
        ("[limits]\nconcurrent = 9", "components.toml, line 2: concurrent is 9; write a number from 1 to 3"),
        ("trusted_keys = [\"abc\"]", "components.toml, line 1: a trusted key is 64 hexadecimal digits"),
        ("freeze_file = \"freeze\"", "components.toml, line 1: freeze_file is \"freeze\"; write an absolute path"),
        (
            "[components.a]\nruns = { unit = \"a.service\" }\n[[components.a.local]]\naction = \"restart\"",
            "components.toml, line 3: restart is not allowed with these values; allow it in `allow` first",
        ),
        (
            "[components.a]\nruns = { unit = \"a.service\" }\nallow = { restart = true }\n[[components.a.local]]\naction = \"explode\"",
            "components.toml, line 4: this is no action that there is",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{text:?}\n says {error}\n not  {expected}");
        assert!(!error.contains('\n'), "{error}");
    }
    let circle = "[components.a]\nruns = { name = \"a\" }\ndepends_on = [\"b\"]\n[components.b]\nruns = { name = \"b\" }\ndepends_on = [\"a\"]";
    assert!(parse(circle).unwrap_err().contains("break the circle"));
}

#[test]
fn a_file_that_others_may_write_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("components.toml");
    std::fs::write(&path, "[components.a]\nruns = { name = \"a\" }\n").unwrap();
    let mode = |bits| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
    mode(0o640);
    assert!(matches!(HostFile::load(&path).unwrap().components["a"].runs, Runs::Process(_)));
    for bits in [0o660, 0o646] {
        mode(bits);
        let error = HostFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
    }
    assert!(HostFile::load(&dir.path().join("none")).unwrap_err().is_absent());
    assert!(HostFile::load(dir.path()).unwrap_err().to_string().contains("no plain file"));
    let link = dir.path().join("logs");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let text = format!("[host.clean_up.x]\nroot = {link:?}\npattern = \"*\"\nolder_than = \"1d\"\n");
    std::fs::write(&path, text).unwrap();
    mode(0o600);
    assert!(HostFile::load(&path).unwrap_err().to_string().contains("leads to /etc"));
}

#[test]
fn a_container_is_scaled_within_bounds_that_were_written() {
    let text = |more: &str| {
        format!("[components.a]\nruns = {{ container = \"a\"{more} }}\nallow = {{ scale = true }}\n")
    };
    let bounds = |more: &str| parse(&text(more)).unwrap().components["a"].runs.replica_bounds();
    assert_eq!(bounds(""), None);
    assert_eq!(bounds(", replicas_max = 4"), Some((1, 4)));
    assert_eq!(bounds(", replicas_min = 2"), Some((2, 2)));
    let file = parse(&text(", replicas_min = 2, replicas_max = 4")).unwrap();
    assert_eq!(parse(&file.render()), Ok(file.clone()), "{}", file.render());
    let component = &file.components["a"];
    let permits = |replicas| component.allowed.permits(&Action::Scale { replicas }, &component.runs);
    assert_eq!([1, 2, 4, 5].map(permits), [false, true, true, false]);
    let told = super::inventory("h", &file, &Default::default());
    assert_eq!(told.components["a"].replica_bounds, Some((2, 4)));
    assert!(told.components["a"].offers.contains_key("scale"));
}

#[test]
fn limits_need_a_group_where_nobody_knows_it() {
    let text =
        |runs: &str| format!("[components.a]\nruns = {runs}\n[components.a.allow]\nlimits.pids = [1, 9]\n");
    for runs in ["{ unit = \"a.service\" }", "{ container = \"a\" }"] {
        let file = HostFile::parse("components.toml".as_ref(), &text(runs)).unwrap();
        assert_eq!(file.components["a"].allowed.limits["pids"], (1, 9));
    }
    let refused = HostFile::parse("components.toml".as_ref(), &text("{ command = [\"/bin/true\"] }"));
    assert!(refused.unwrap_err().to_string().contains("limits need cgroup"));
}
