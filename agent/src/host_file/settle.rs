//! From raw to settled: defaults, bounds, and what belongs together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::paths::absolute;
use super::raw::{Named, Raw, RawCheck, RawComponent, RawLimits, RawRuns, Value};
use super::settle_allowed::{allowed, local_rules};
use super::{Check, Component, HostFile, Limits, ProcessMatch, Runs, Supervised};
use crate::config::source::{Checked, Source};
use crate::run_as::User;
use crate::signal_name::{signal_names, signal_number};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Most components of one host, and most entries of one name table.
const MOST_COMPONENTS: usize = 512;
/// Most replicas of a supervised command or a container.
const MOST_REPLICAS: i64 = 64;
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

pub(super) fn settle(source: &Source<'_>, raw: Raw) -> Checked<HostFile> {
    let mut trusted_keys = Vec::new();
    for key in &raw.trusted_keys {
        trusted_keys.push(public_key(source, key)?);
    }
    let host_actions = allowed(source, raw.host, &Runs::Nothing)?;
    if let Some((name, _)) = raw.components.iter().nth(MOST_COMPONENTS) {
        return source.wrong(name, format!("there are more than {MOST_COMPONENTS} components; remove some"));
    }
    let names: Vec<Spanned<String>> = raw.components.keys().cloned().collect();
    let mut components = BTreeMap::new();
    let mut needed = Vec::new();
    for (name, component) in raw.components {
        check_name(source, &name)?;
        needed.extend(component.depends_on.iter().map(|need| (name.clone(), need.clone())));
        let settled = settle_component(source, &name, component)?;
        components.insert(name.into_inner(), settled);
    }
    for (name, need) in &needed {
        if need.get_ref() == name.get_ref() || !names.iter().any(|known| known.get_ref() == need.get_ref()) {
            let problem =
                format!("depends_on names {:?}; name another component of this file", need.get_ref());
            return source.wrong(need, problem);
        }
    }
    if let Some(name) = names.iter().find(|name| needs_itself(&components, name.get_ref())) {
        let problem = format!("{} depends on itself through others; break the circle", name.get_ref());
        return source.wrong(name, problem);
    }
    Ok(HostFile {
        trusted_keys,
        freeze_file: path(source, "freeze_file", raw.freeze_file.as_ref())?,
        limits: limits(source, &raw.limits)?,
        host_actions,
        components,
    })
}

fn needs_itself(components: &BTreeMap<String, Component>, start: &str) -> bool {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![start]);
    while let Some(name) = waiting.pop() {
        for need in components.get(name).into_iter().flat_map(|component| &component.depends_on) {
            if need == start {
                return true;
            }
            if seen.insert(need.as_str()) {
                waiting.push(need);
            }
        }
    }
    false
}

fn public_key(source: &Source<'_>, key: &Spanned<String>) -> Checked<[u8; 32]> {
    let text = key.get_ref().as_bytes();
    let mut bytes = [0; 32];
    let digit = |at: usize| (text[at] as char).to_digit(16);
    let read = text.len() == 64
        && bytes.iter_mut().enumerate().all(|(at, byte)| match (digit(2 * at), digit(2 * at + 1)) {
            (Some(high), Some(low)) => {
                *byte = (high * 16 + low) as u8;
                true
            }
            _ => false,
        });
    if read {
        return Ok(bytes);
    }
    source.wrong(key, "a trusted key is 64 hexadecimal digits; copy the collector's public key")
}

/// Names stand in rows, orders and file names.
pub(super) fn check_name(source: &Source<'_>, name: &Spanned<String>) -> Checked<()> {
    let text = name.get_ref();
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@' | b':');
    if (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(known) {
        return Ok(());
    }
    source.wrong(
        name,
        format!("{text:?} cannot be a name; use 1 to 64 of A-Z a-z 0-9 _ - . @ : and no dot at first"),
    )
}

pub(super) fn path(
    source: &Source<'_>,
    name: &str,
    raw: Option<&Spanned<PathBuf>>,
) -> Checked<Option<PathBuf>> {
    let Some(raw) = raw else { return Ok(None) };
    absolute(name, raw.get_ref()).map(Some).or_else(|problem| source.wrong(raw, problem))
}

/// Program and arguments: the program an absolute path, nothing with a zero byte.
pub(super) fn command(source: &Source<'_>, name: &str, raw: &Spanned<Vec<String>>) -> Checked<Vec<String>> {
    let words = raw.get_ref();
    let Some(program) = words.first() else {
        return source
            .wrong(raw, format!("{name} is empty; write the program's absolute path and its arguments"));
    };
    if let Err(problem) = absolute(&format!("the program of {name}"), program.as_ref()) {
        return source.wrong(raw, problem);
    }
    if words.len() > 256 || words.iter().any(|word| word.contains('\0') || word.len() > 64 << 10) {
        return source.wrong(
            raw,
            format!("{name} has more than 256 words, a zero byte or a word over 64 KiB; shorten it"),
        );
    }
    Ok(words.clone())
}

fn limits(source: &Source<'_>, raw: &RawLimits) -> Checked<Limits> {
    let defaults = Limits::default();
    let number = |name: &str, raw: &Value<i64>, default: i64, min: i64, max: i64| {
        source.integer(name, raw.as_ref(), default, min, max)
    };
    let per_hour = number("per_hour", &raw.per_hour, i64::from(defaults.per_hour), 0, 10_000)?;
    let most = i64::from(defaults.local_per_hour).min(per_hour);
    Ok(Limits {
        concurrent: number("concurrent", &raw.concurrent, defaults.concurrent as i64, 1, 3)? as usize,
        per_hour: per_hour as u32,
        cooldown: source.span(
            "cooldown",
            raw.cooldown.as_ref(),
            defaults.cooldown,
            (Duration::ZERO, 24 * HOUR),
        )?,
        timeout: source.span("timeout", raw.timeout.as_ref(), defaults.timeout, (SECOND, HOUR))?,
        local_per_hour: number("local_per_hour", &raw.local_per_hour, most, 0, per_hour)? as u32,
    })
}

fn settle_component(source: &Source<'_>, name: &Spanned<String>, raw: RawComponent) -> Checked<Component> {
    let runs = runs(source, raw.runs.as_ref())?;
    let check = check(source, name, raw.check.as_ref(), &runs)?;
    let allowed = allowed(source, raw.allow, &runs)?;
    let local = local_rules(source, &raw.local, &allowed, &runs)?;
    Ok(Component {
        interval: source.span("interval", raw.interval.as_ref(), SECOND, (250 * MS, HOUR))?,
        timeout: source.span("timeout", raw.timeout.as_ref(), SECOND, (10 * MS, 60 * SECOND))?,
        failures: source.integer("failures", raw.failures.as_ref(), 2, 1, 100)? as u32,
        depends_on: raw.depends_on.into_iter().map(Spanned::into_inner).collect(),
        critical: raw.critical,
        runs,
        check,
        allowed,
        local,
    })
}

fn runs(source: &Source<'_>, raw: Option<&Spanned<RawRuns>>) -> Checked<Runs> {
    let Some(spanned) = raw else { return Ok(Runs::Nothing) };
    let raw = spanned.get_ref();
    let kinds = [
        raw.command.is_some(),
        raw.unit.is_some(),
        raw.container.is_some(),
        raw.pid_file.is_some() || raw.executable.is_some() || raw.name.is_some(),
    ];
    if kinds.iter().filter(|there| **there).count() != 1 {
        return source.wrong(
            spanned,
            "runs needs exactly one of command, unit, container, pid_file, executable and name; leave runs out for a \
             component that nothing runs",
        );
    }
    if raw.command.is_none() {
        refuse_supervised_keys(source, raw)?;
    }
    if let (None, Some(socket)) = (&raw.container, &raw.socket) {
        return source.wrong(socket, "socket belongs beside container; remove it");
    }
    if let Some(words) = &raw.command {
        return Ok(Runs::Supervised(supervised(source, raw, command(source, "command", words)?)?));
    }
    if let Some(unit) = &raw.unit {
        let text = unit.get_ref();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        if text.len() > 255 || !text.contains('.') || !text.bytes().all(known) {
            return source
                .wrong(unit, format!("unit is {text:?}; write it whole, such as \"nginx.service\""));
        }
        return Ok(Runs::Systemd { unit: text.clone() });
    }
    if let Some(container) = &raw.container {
        let text = container.get_ref();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(known) || text.starts_with('.') {
            return source.wrong(container, format!("container is {text:?}; write its name or its id"));
        }
        let socket = path(source, "socket", raw.socket.as_ref())?.unwrap_or_else(|| DOCKER_SOCKET.into());
        let replicas = container_replicas(source, raw)?;
        return Ok(Runs::Docker { container: text.clone(), socket, replicas });
    }
    process_match(source, spanned).map(Runs::Process)
}

/// Fewest and most replicas of a container, itself among them.
fn container_replicas(source: &Source<'_>, raw: &RawRuns) -> Checked<Option<(u32, u32)>> {
    if raw.replicas_min.is_none() && raw.replicas_max.is_none() {
        return Ok(None);
    }
    let least = source.integer("replicas_min", raw.replicas_min.as_ref(), 1, 1, MOST_REPLICAS)?;
    let most = source.integer("replicas_max", raw.replicas_max.as_ref(), least, least, MOST_REPLICAS)?;
    Ok(Some((least as u32, most as u32)))
}

fn refuse_supervised_keys(source: &Source<'_>, raw: &RawRuns) -> Checked<()> {
    let own = "belongs beside command, for what the agent supervises; remove it";
    if let Some(replicas) = &raw.replicas {
        return source.wrong(replicas, format!("replicas {own}"));
    }
    if raw.container.is_none() {
        for (name, value) in [("replicas_min", &raw.replicas_min), ("replicas_max", &raw.replicas_max)] {
            if let Some(value) = value {
                let problem = format!("{name} belongs beside command or container; remove it");
                return source.wrong(value, problem);
            }
        }
    }
    match (&raw.directory, &raw.user, &raw.stop_signal, &raw.stop_timeout, raw.environment.keys().next()) {
        (Some(value), ..) => source.wrong(value, format!("directory {own}")),
        (_, Some(value), ..) => source.wrong(value, format!("user {own}")),
        (_, _, Some(value), ..) => source.wrong(value, format!("stop_signal {own}")),
        (_, _, _, Some(value), _) => source.wrong(value, format!("stop_timeout {own}")),
        (.., Some(value)) => source.wrong(value, format!("environment {own}")),
        _ => Ok(()),
    }
}

fn process_match(source: &Source<'_>, spanned: &Spanned<RawRuns>) -> Checked<ProcessMatch> {
    let raw = spanned.get_ref();
    match (&raw.pid_file, &raw.executable, &raw.name) {
        (Some(_), None, None) => {
            Ok(ProcessMatch::PidFile(path(source, "pid_file", raw.pid_file.as_ref())?.unwrap_or_default()))
        }
        (None, Some(_), None) => Ok(ProcessMatch::Executable(
            path(source, "executable", raw.executable.as_ref())?.unwrap_or_default(),
        )),
        // The kernel keeps 15 bytes of a command name: TASK_COMM_LEN in proc_pid_comm(5).
        (None, None, Some(name)) if name.get_ref().is_empty() || name.get_ref().len() > 15 => source.wrong(
            name,
            format!("name is {:?}; write what /proc/PID/comm says, 1 to 15 bytes", name.get_ref()),
        ),
        (None, None, Some(name)) => Ok(ProcessMatch::Name(name.get_ref().clone())),
        _ => source
            .wrong(spanned, "only one of pid_file, executable and name finds a process; remove the others"),
    }
}

fn supervised(source: &Source<'_>, raw: &RawRuns, command: Vec<String>) -> Checked<Supervised> {
    let number = |name: &str, raw: &Value<i64>, default: i64, min: i64, max: i64| {
        source.integer(name, raw.as_ref(), default, min, max)
    };
    let replicas = number("replicas", &raw.replicas, 1, 0, MOST_REPLICAS)?;
    let replicas_min = number("replicas_min", &raw.replicas_min, replicas.min(1), 0, replicas)?;
    let replicas_max = number("replicas_max", &raw.replicas_max, replicas, replicas, MOST_REPLICAS)?;
    let mut environment = BTreeMap::new();
    for (name, value) in &raw.environment {
        let text = name.get_ref();
        if text.is_empty()
            || text.contains(['=', '\0'])
            || value.contains('\0')
            || text.starts_with("FETTLE_")
        {
            let problem =
                format!("{text:?} cannot be set; name a variable without = and not beginning with FETTLE_");
            return source.wrong(name, problem);
        }
        environment.insert(text.clone(), value.clone());
    }
    let stop_signal = match &raw.stop_signal {
        None => libc::SIGTERM,
        Some(name) => match signal_number(name.get_ref()) {
            Some(number) => number,
            None => {
                let problem =
                    format!("there is no signal {:?}; there are {}", name.get_ref(), signal_names());
                return source.wrong(name, problem);
            }
        },
    };
    Ok(Supervised {
        command,
        directory: path(source, "directory", raw.directory.as_ref())?,
        environment,
        user: raw.user.as_ref().map(|user| user.get_ref().clone()),
        replicas: replicas as u32,
        replicas_min: replicas_min as u32,
        replicas_max: replicas_max as u32,
        stop_signal,
        stop_timeout: source.span(
            "stop_timeout",
            raw.stop_timeout.as_ref(),
            10 * SECOND,
            (MS, 300 * SECOND),
        )?,
    })
}

fn check(
    source: &Source<'_>,
    name: &Spanned<String>,
    raw: Option<&Spanned<RawCheck>>,
    runs: &Runs,
) -> Checked<Check> {
    let Some(spanned) = raw else {
        return match runs {
            Runs::Supervised(_) | Runs::Process(_) => Ok(Check::Process),
            Runs::Systemd { .. } | Runs::Docker { .. } => Ok(Check::Active),
            Runs::Nothing => source.wrong(
                name,
                "a component that nothing runs needs a check; add tcp, http, exec or file to its check",
            ),
        };
    };
    let raw = spanned.get_ref();
    let kinds = [
        raw.process.is_some(),
        raw.active.is_some(),
        raw.tcp.is_some(),
        raw.http.is_some(),
        raw.exec.is_some(),
        raw.file.is_some(),
    ];
    if kinds.iter().filter(|there| **there).count() != 1 {
        return source.wrong(spanned, "check needs exactly one of process, active, tcp, http, exec and file");
    }
    if let (None, Some(_), _) | (None, _, Some(_)) = (&raw.http, &raw.status, &raw.contains) {
        return source.wrong(spanned, "status and contains belong beside http; remove them");
    }
    if let (None, Some(oldest)) = (&raw.file, &raw.oldest) {
        return source.wrong(oldest, "oldest belongs beside file; remove it");
    }
    if let (None, Some(user)) = (&raw.exec, &raw.user) {
        return source.wrong(user, "user belongs beside exec; remove it");
    }
    for (word, flag) in [("process", &raw.process), ("active", &raw.active)] {
        if let Some(flag) = flag.as_ref().filter(|flag| !*flag.get_ref()) {
            return source.wrong(flag, format!("{word} = false says nothing; write another check"));
        }
    }
    match (&raw.process, &raw.active, &raw.tcp, &raw.http, &raw.exec, &raw.file) {
        (Some(flag), ..) if *runs == Runs::Nothing => {
            source.wrong(flag, "process needs runs, which says whose process; add it or write another check")
        }
        (Some(_), ..) => Ok(Check::Process),
        (_, Some(flag), ..) if !matches!(runs, Runs::Systemd { .. } | Runs::Docker { .. }) => {
            source.wrong(flag, "active is asked of a systemd unit or a container; write process instead")
        }
        (_, Some(_), ..) => Ok(Check::Active),
        (_, _, Some(address), ..) => tcp(source, address),
        (.., Some(url), _, _) => http(source, url, raw),
        (.., Some(words), _) => {
            let user = user(source, raw.user.as_ref())?;
            Ok(Check::Exec { command: command(source, "exec", words)?, user })
        }
        _ => {
            let oldest =
                source.span("oldest", raw.oldest.as_ref(), 300 * SECOND, (SECOND, 24 * 366 * HOUR))?;
            let path = path(source, "file", raw.file.as_ref())?.unwrap_or_default();
            Ok(Check::FileAge { path, oldest })
        }
    }
}

/// A user of this host. Who a check runs as is known before it first runs, so that a mistake is no failing check.
fn user(source: &Source<'_>, raw: Option<&Spanned<String>>) -> Checked<Option<String>> {
    let Some(user) = raw else { return Ok(None) };
    match User::find(user.get_ref()) {
        Ok(_) => Ok(Some(user.get_ref().clone())),
        Err(problem) => source.wrong(user, problem),
    }
}

fn tcp(source: &Source<'_>, address: &Spanned<String>) -> Checked<Check> {
    match address.get_ref().parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Check::Tcp(address)),
        _ => source.wrong(
            address,
            format!(
                "tcp is {:?}; write an address and a port, such as \"127.0.0.1:5432\"",
                address.get_ref()
            ),
        ),
    }
}

fn http(source: &Source<'_>, url: &Spanned<String>, raw: &RawCheck) -> Checked<Check> {
    let text = url.get_ref();
    let rest = text.strip_prefix("http://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic());
    let named = text.parse::<hyper::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if !text.starts_with("http://") || !clean || !named || authority.contains('@') {
        return source.wrong(
            url,
            format!("http is {text:?}; write an address such as \"http://127.0.0.1:8080/health\" (TLS is not checked here: \
                     use exec for https)"),
        );
    }
    let contains = raw.contains.as_ref().map(|text| text.get_ref().clone());
    let status = source.integer("status", raw.status.as_ref(), 200, 100, 599)? as u16;
    Ok(Check::Http { url: text.clone(), status, contains })
}

/// The first of a name table's entries that are too many, for a complaint.
pub(super) fn bounded<T>(source: &Source<'_>, what: &str, table: &Named<T>) -> Checked<()> {
    for name in table.keys() {
        check_name(source, name)?;
    }
    match table.keys().nth(64) {
        Some(name) => source.wrong(name, format!("there are more than 64 entries of {what}; remove some")),
        None => Ok(()),
    }
}
