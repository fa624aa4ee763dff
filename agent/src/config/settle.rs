//! From raw to settled: defaults, bounds, and what belongs together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fettle_shared::access::{servers, Access, AccessError};
use fettle_shared::catalogue::catalogue;
use fettle_shared::subjects::{agent_name_from, is_agent_name};
use toml::Spanned;

use super::raw::{Raw, RawAct, RawLog, RawNats, RawSample, RawSpool};
use super::source::{Checked, Source};
use super::{
    ActSettings, ConfigError, Host, LogFormat, LogSettings, Overrides, Settings, DEFAULT_COMPONENTS,
};
use crate::publish::NatsSettings;
use crate::sample::{FamilyOverride, SamplerSettings};
use crate::spool::{Durability, SpoolSettings};

const DEFAULT_METRICS: &str = "127.0.0.1:8061";
/// Descriptors left for everything but the sampler: the spool, sockets, logs.
const OTHER_FILES: usize = 64;

/// Settles a configuration.
pub(super) fn settle(source: &Source<'_>, raw: Raw, overrides: &Overrides, host: &Host) -> Checked<Settings> {
    let spool = spool(source, &raw.spool, overrides, host)?;
    // Beside the spool, wherever that is.
    let state_dir = spool.dir.parent().map_or_else(|| host.state_dir.join("fettle-agent"), PathBuf::from);
    Ok(Settings {
        agent: agent(source, raw.agent.as_ref(), overrides, host)?,
        nats: nats(source, &raw.nats, overrides)?,
        spool,
        sample: sample(source, raw.sample, host)?,
        log: log(source, &raw.log)?,
        metrics: metrics(source, raw.metrics.listen.as_ref(), overrides)?,
        act: act(source, &raw.act, state_dir)?,
    })
}

fn act(source: &Source<'_>, raw: &RawAct, default_dir: PathBuf) -> Checked<ActSettings> {
    let path = |name: &str, raw: Option<&Spanned<PathBuf>>, default: PathBuf| match raw {
        Some(path) if !path.get_ref().is_absolute() => {
            source.wrong(path, format!("{name} is {:?}; write an absolute path", path.get_ref()))
        }
        other => Ok(other.map_or(default, |path| path.get_ref().clone())),
    };
    Ok(ActSettings {
        file: path("file", raw.file.as_ref(), DEFAULT_COMPONENTS.into())?,
        state_dir: path("state_dir", raw.state_dir.as_ref(), default_dir)?,
    })
}

fn agent(
    source: &Source<'_>,
    raw: Option<&Spanned<String>>,
    overrides: &Overrides,
    host: &Host,
) -> Checked<String> {
    let advice = |name: &str| format!("{name:?} cannot be an agent's name; use 1 to 64 of A-Z a-z 0-9 _ -");
    match (&overrides.agent, raw) {
        (Some(name), _) if !is_agent_name(name) => {
            Err(ConfigError::Flag { flag: "--agent", problem: advice(name) })
        }
        (Some(name), _) => Ok(name.clone()),
        (None, Some(name)) if !is_agent_name(name.get_ref()) => source.wrong(name, advice(name.get_ref())),
        (None, Some(name)) => Ok(name.get_ref().clone()),
        (None, None) => Ok(agent_name_from(&host.name)),
    }
}

fn nats(source: &Source<'_>, raw: &RawNats, overrides: &Overrides) -> Checked<NatsSettings> {
    let second = Duration::from_secs(1);
    Ok(NatsSettings {
        partitions: source.integer("partitions", raw.partitions.as_ref(), 1, 1, 1024)? as u16,
        window: source.integer("window", raw.window.as_ref(), 64, 1, 1024)? as usize,
        ack_timeout: source.span(
            "ack_timeout",
            raw.ack_timeout.as_ref(),
            5 * second,
            (second, 60 * second),
        )?,
        resend_after: source.span(
            "resend_after",
            raw.resend_after.as_ref(),
            10 * second,
            (second, 3600 * second),
        )?,
        access: access(source, raw, overrides)?,
    })
}

fn access(source: &Source<'_>, raw: &RawNats, overrides: &Overrides) -> Checked<Access> {
    let flag = |problem| ConfigError::Flag { flag: "--nats", problem };
    overrides.nats.as_deref().map(servers).transpose().map_err(flag)?;
    let mut written = raw.access().with_nkey_file(overrides.nats_nkey_file.as_deref());
    written.url = overrides.nats.clone().or(written.url);
    written.settle().or_else(|AccessError { key, problem }| match raw.place(key) {
        Some(place) => source.wrong_at(&place, problem),
        // What the file does not say, the command line did.
        None => Err(flag(problem)),
    })
}

fn spool(source: &Source<'_>, raw: &RawSpool, overrides: &Overrides, host: &Host) -> Checked<SpoolSettings> {
    let dir: Option<PathBuf> =
        overrides.spool.clone().or_else(|| raw.dir.as_ref().map(|dir| dir.get_ref().clone()));
    let durability = match &raw.durability {
        None => Durability::Process,
        Some(word) => match word.get_ref().as_str() {
            "process" => Durability::Process,
            "power" => Durability::Power,
            other => {
                return source.wrong(word, format!("durability is {other:?}; write \"process\" or \"power\""))
            }
        },
    };
    Ok(SpoolSettings {
        dir: dir.unwrap_or_else(|| host.state_dir.join("fettle-agent/spool")),
        quota: source.size("quota", raw.quota.as_ref(), 1 << 30, (1 << 20, 1 << 50))?,
        segment: source.size("segment", raw.segment.as_ref(), 4 << 20, (64 << 10, 256 << 20))?,
        memory: source.size("memory", raw.memory.as_ref(), 8 << 20, (1 << 20, 1 << 30))? as usize,
        durability,
    })
}

fn sample(source: &Source<'_>, raw: RawSample, host: &Host) -> Checked<SamplerSettings> {
    let defaults = SamplerSettings::default();
    let (ms, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
    let target_rate = match &raw.target_rate {
        Some(rate) if !(1.0..=1e7).contains(rate.get_ref()) => {
            let problem =
                format!("target_rate is {}; write metrics per second, 1 to 10000000", rate.get_ref());
            return source.wrong(rate, problem);
        }
        other => other.as_ref().map_or(defaults.target_rate, |rate| *rate.get_ref()),
    };
    let cpu_budget_percent = match &raw.cpu_budget {
        Some(share) if !(0.01..=100.0).contains(&share.get_ref().0) => {
            let problem =
                format!("cpu_budget is {}%; write a share of one core, 0.01% to 100%", share.get_ref().0);
            return source.wrong(share, problem);
        }
        other => other.as_ref().map_or(defaults.cpu_budget_percent, |share| share.get_ref().0),
    };
    let mut families = BTreeMap::new();
    for (name, family) in raw.families {
        if catalogue().family(name.get_ref()).is_none() {
            let known: Vec<&str> = catalogue().families.iter().map(|family| family.name.as_str()).collect();
            let problem = format!("there is no family {:?}; there are {}", name.get_ref(), known.join(", "));
            return source.wrong(&name, problem);
        }
        let interval = match &family.interval {
            Some(_) => Some(source.span("interval", family.interval.as_ref(), ms, (10 * ms, hour))?),
            None => None,
        };
        families.insert(name.into_inner(), FamilyOverride { enabled: family.enabled, interval });
    }
    let most_files = host.open_files.saturating_sub(OTHER_FILES).max(16);
    let max_open_files = source.integer(
        "max_open_files",
        raw.max_open_files.as_ref(),
        defaults.max_open_files.min(most_files) as i64,
        16,
        most_files as i64,
    )? as usize;
    Ok(SamplerSettings {
        families,
        max_open_files,
        target_rate,
        cpu_budget_percent,
        discovery_interval: source.span(
            "discovery_interval",
            raw.discovery_interval.as_ref(),
            defaults.discovery_interval,
            (10 * ms, hour),
        )?,
        rediscover_interval: source.span(
            "rediscover_interval",
            raw.rediscover_interval.as_ref(),
            defaults.rediscover_interval,
            (100 * ms, hour),
        )?,
        ..defaults
    })
}

fn log(source: &Source<'_>, raw: &RawLog) -> Checked<LogSettings> {
    let format = match &raw.format {
        None => LogFormat::Human,
        Some(word) => match word.get_ref().as_str() {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            other => return source.wrong(word, format!("format is {other:?}; write \"human\" or \"json\"")),
        },
    };
    let level = match &raw.level {
        Some(level) if level.get_ref().parse::<tracing_subscriber::EnvFilter>().is_err() => {
            let problem = format!("level is {:?}; write error, warn, info, debug or trace", level.get_ref());
            return source.wrong(level, problem);
        }
        Some(level) => level.get_ref().clone(),
        None => "info".into(),
    };
    Ok(LogSettings { format, level })
}

fn metrics(
    source: &Source<'_>,
    raw: Option<&Spanned<String>>,
    overrides: &Overrides,
) -> Checked<Option<SocketAddr>> {
    let read = |text: &str| match text {
        "off" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            format!("{text:?} is not an address to listen on; write {DEFAULT_METRICS:?} or \"off\"")
        }),
    };
    match (&overrides.metrics, raw) {
        (Some(text), _) => read(text).map_err(|problem| ConfigError::Flag { flag: "--metrics", problem }),
        (None, Some(text)) => read(text.get_ref()).or_else(|problem| source.wrong(text, problem)),
        (None, None) => Ok(DEFAULT_METRICS.parse().ok()),
    }
}
