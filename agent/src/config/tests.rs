//! Configurations that are taken, and what is said of those that are not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fettle_shared::access::Credentials;

use super::{Host, LogFormat, Overrides, Settings};
use crate::spool::Durability;

fn host() -> Host {
    Host { name: "web 1.example".into(), state_dir: PathBuf::from("/state"), open_files: 1024 }
}

fn parse(text: &str) -> Result<Settings, String> {
    let path = Path::new("agent.toml");
    Settings::parse(path, text, &Overrides::default(), &host()).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let settings = parse("").unwrap();
    assert_eq!(settings.agent, "web-1-example");
    assert_eq!(settings.nats.access.urls, ["nats://127.0.0.1:4222"]);
    assert_eq!(settings.spool.dir, Path::new("/state/fettle-agent/spool"));
    assert_eq!((settings.spool.quota, settings.spool.segment), (1 << 30, 4 << 20));
    assert_eq!(settings.metrics, Some("127.0.0.1:8061".parse().unwrap()));
    assert_eq!(settings.sample.max_open_files, 960);
}

const FULL: &str = r#"
agent = "db-2"
[nats]
url = "tls://a:4222, tls://b:4222"
partitions = 4
user = "agent"
password_file = "/etc/fettle/password"
tls_ca_file = "/etc/fettle/ca.pem"
tls_cert_file = "/etc/fettle/c.pem"
tls_key_file = "/etc/fettle/k.pem"
resend_after = "1min"
[spool]
dir = "/data/spool"
quota = "2GiB"
durability = "power"
[sample]
target_rate = 50000
cpu_budget = "1.5%"
families.process.interval = "100ms"
families.sensor.enabled = false
[log]
format = "json"
level = "debug,async_nats=warn"
[metrics]
listen = "off"
"#;

#[test]
fn every_key_is_settled_and_what_is_printed_settles_the_same() {
    let settings = parse(FULL).unwrap();
    assert_eq!(settings.nats.access.urls, ["tls://a:4222", "tls://b:4222"]);
    assert!(matches!(&settings.nats.access.credentials, Credentials::User { name, .. } if name == "agent"));
    assert_eq!(settings.nats.resend_after, Duration::from_secs(60));
    assert_eq!(settings.spool.durability, Durability::Power);
    assert_eq!(settings.sample.cpu_budget_percent, 1.5);
    assert_eq!(settings.sample.families["process"].interval, Some(Duration::from_millis(100)));
    assert_eq!(settings.sample.families["sensor"].enabled, Some(false));
    assert_eq!((settings.log.format, settings.metrics), (LogFormat::Json, None));
    for text in ["", FULL] {
        let printed = parse(text).unwrap().render();
        assert_eq!(parse(&printed).unwrap().render(), printed);
    }
}

#[test]
fn a_password_in_an_address_is_used_and_not_printed() {
    let settings = parse("nats.url = \"nats://web:secret@a:4222,nats://web:secret@b:4222\"").unwrap();
    assert_eq!(settings.nats.access.urls[0], "nats://web:secret@a:4222");
    let printed = settings.render();
    assert!(printed.contains("nats://a:4222,nats://b:4222") && !printed.contains("secret"), "{printed}");
    let overrides = Overrides { nats: Some("http://web:secret@a".into()), ..Overrides::default() };
    let error = Settings::parse(Path::new("f"), "", &overrides, &host()).unwrap_err().to_string();
    assert!(error.contains("http://a") && !error.contains("secret"), "{error}");
}

#[test]
fn the_command_line_goes_before_the_file() {
    let overrides = Overrides {
        agent: Some("x".into()),
        nats: Some("nats://h:1".into()),
        nats_nkey_file: Some("/n".into()),
        spool: Some("/s".into()),
        metrics: Some("127.0.0.1:0".into()),
    };
    let settings = Settings::parse(Path::new("f"), FULL, &overrides, &host()).unwrap();
    assert_eq!((settings.agent.as_str(), settings.nats.access.urls[0].as_str()), ("x", "nats://h:1"));
    // The file's user is not who this is any more.
    assert_eq!(settings.nats.access.credentials, Credentials::NkeyFile("/n".into()));
    assert_eq!((settings.spool.dir.as_path(), settings.metrics.unwrap().port()), (Path::new("/s"), 0));
    for (overrides, flag) in [
        (Overrides { agent: Some("a.b".into()), ..Overrides::default() }, "--agent: "),
        (Overrides { nats: Some("http://h".into()), ..Overrides::default() }, "--nats: "),
        (Overrides { metrics: Some("8061".into()), ..Overrides::default() }, "--metrics: "),
    ] {
        let error = Settings::parse(Path::new("f"), "", &overrides, &host()).unwrap_err().to_string();
        assert!(error.starts_with(flag), "{error}");
    }
}

#[test]
fn mistakes_are_named_with_their_line_and_remedy() {
    for (text, expected) in [
        ("agnet = \"a\"", "agent.toml, line 1: there is no key `agnet` here; the keys are `agent`, `nats`"),
        ("\n[spool]\nquotas = 1", "agent.toml, line 3: there is no key `quotas` here; the keys are `dir`"),
        ("agent = \"a b\"", "agent.toml, line 1: \"a b\" cannot be an agent's name; use 1 to 64"),
        ("[spool]\nquota = \"1 gig\"", "agent.toml, line 2: \"1 gig\" should be a size such as"),
        ("[spool]\nquota = \"1KiB\"", "agent.toml, line 2: quota is 1KiB; write a size from 1MiB to"),
        ("[spool]\ndurability = \"no\"", "agent.toml, line 2: durability is \"no\"; write \"process\" or"),
        ("[nats]\nresend_after = 10", "agent.toml, line 2: 10 should be a duration such as"),
        ("[nats]\nurl = \"http://h\"", "agent.toml, line 2: \"http://h\" is not a NATS address; write"),
        ("[nats]\nuser = \"u\"", "agent.toml, line 2: user needs password_file beside it; add it"),
        ("[nats]\nnkey_file = \"n\"\ncredentials_file = \"c\"", "agent.toml, line 2: only one of"),
        ("[nats]\ntls_key_file = \"n\"", "agent.toml, line 2: tls_key_file needs tls_cert_file"),
        ("[nats]\n\npartitions = 0", "agent.toml, line 3: partitions is 0; write a number from 1 to 1024"),
        ("[sample.families.proces]\ninterval = \"1s\"", "agent.toml, line 1: there is no family \"proces\""),
        (
            "[sample.families.cpu]\ninterval = \"1us\"",
            "agent.toml, line 2: interval is 1us; write a duration",
        ),
        ("[sample]\ncpu_budget = 200", "agent.toml, line 2: cpu_budget is 200%; write a share"),
        ("[log]\nformat = \"xml\"", "agent.toml, line 2: format is \"xml\"; write"),
        ("[metrics]\nlisten = \"here\"", "agent.toml, line 2: \"here\" is not an address"),
        ("agent = ", "agent.toml, line 1: "),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{text:?}\n says {error}\n not  {expected}");
        assert!(!error.contains('\n'), "{error}");
    }
}
