//! Writes a settled configuration as a file that says all of it, for `--check`.

use std::fmt::Write as _;
use std::path::Path;

use fettle_shared::access::Credentials;

use super::{show_bytes, show_duration, LogFormat, Settings};

pub(super) fn render(settings: &Settings) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(settings, &mut out);
    out
}

/// JSON's strings are TOML's basic strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn write(settings: &Settings, out: &mut String) -> std::fmt::Result {
    let Settings { agent, nats, spool, sample, log, metrics, act } = settings;
    writeln!(out, "agent = {}", quoted(agent))?;
    writeln!(out, "\n[nats]\nurl = {}", quoted(&nats.access.shown()))?;
    writeln!(out, "partitions = {}", nats.partitions)?;
    match &nats.access.credentials {
        Credentials::None => {}
        Credentials::File(file) => writeln!(out, "credentials_file = {}", path(file))?,
        Credentials::NkeyFile(file) => writeln!(out, "nkey_file = {}", path(file))?,
        Credentials::User { name, password_file } => {
            writeln!(out, "user = {}\npassword_file = {}", quoted(name), path(password_file))?;
        }
    }
    writeln!(out, "tls = {}", nats.access.tls)?;
    if let Some(file) = &nats.access.tls_ca_file {
        writeln!(out, "tls_ca_file = {}", path(file))?;
    }
    if let Some((cert, key)) = &nats.access.tls_identity {
        writeln!(out, "tls_cert_file = {}\ntls_key_file = {}", path(cert), path(key))?;
    }
    writeln!(out, "window = {}", nats.window)?;
    writeln!(out, "ack_timeout = \"{}\"", show_duration(nats.ack_timeout))?;
    writeln!(out, "resend_after = \"{}\"", show_duration(nats.resend_after))?;
    writeln!(out, "\n[spool]\ndir = {}", path(&spool.dir))?;
    for (name, bytes) in [("quota", spool.quota), ("segment", spool.segment), ("memory", spool.memory as u64)]
    {
        writeln!(out, "{name} = \"{}\"", show_bytes(bytes))?;
    }
    writeln!(out, "durability = \"{}\"", spool.durability.name())?;
    writeln!(out, "\n[sample]\ntarget_rate = {:?}", sample.target_rate)?;
    writeln!(out, "cpu_budget = \"{}%\"", sample.cpu_budget_percent)?;
    writeln!(out, "max_open_files = {}", sample.max_open_files)?;
    writeln!(out, "discovery_interval = \"{}\"", show_duration(sample.discovery_interval))?;
    writeln!(out, "rediscover_interval = \"{}\"", show_duration(sample.rediscover_interval))?;
    for (name, family) in &sample.families {
        writeln!(out, "\n[sample.families.{name}]")?;
        if let Some(enabled) = family.enabled {
            writeln!(out, "enabled = {enabled}")?;
        }
        if let Some(interval) = family.interval {
            writeln!(out, "interval = \"{}\"", show_duration(interval))?;
        }
    }
    let format = match log.format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    writeln!(out, "\n[log]\nformat = \"{format}\"\nlevel = {}", quoted(&log.level))?;
    let listen = metrics.map_or_else(|| "off".to_owned(), |address| address.to_string());
    writeln!(out, "\n[metrics]\nlisten = \"{listen}\"")?;
    writeln!(out, "\n[act]\nfile = {}\nstate_dir = {}", path(&act.file), path(&act.state_dir))
}
