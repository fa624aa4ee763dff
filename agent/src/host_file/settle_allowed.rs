//! What may be done: from raw to settled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fettle_shared::command::Action;
use serde_json::{json, Map};
use toml::Spanned;

use super::paths::{absolute, clean_up_root, own_entry};
use super::raw::{
    Named, RawAllowed, RawCleanUp, RawCommand, RawFailOver, RawLocal, RawPermissions, RawRollBack,
};
use super::settle::{bounded, command, path};
use super::{Allowed, CleanUp, Command, FailOver, LocalRule, Permissions, RollBack, Runs};
use crate::config::source::{Checked, Source};
use crate::signal_name::{signal_names, signal_number};

const DAY: Duration = Duration::from_secs(24 * 3600);
const RESOURCES: [&str; 3] = ["cpu_percent", "memory_bytes", "pids"];

pub(super) fn allowed(source: &Source<'_>, raw: RawAllowed, runs: &Runs) -> Checked<Allowed> {
    for signal in &raw.signals {
        if signal_number(signal.get_ref()).is_none() {
            let problem = format!("there is no signal {:?}; there are {}", signal.get_ref(), signal_names());
            return source.wrong(signal, problem);
        }
    }
    let nice = match &raw.nice {
        Some(pair) => {
            let (low, high) = *pair.get_ref();
            if low > high || low < -20 || high > 19 {
                return source.wrong(
                    pair,
                    "nice is the lowest and the highest value, within -20 and 19: write [0, 19]",
                );
            }
            Some((low as i8, high as i8))
        }
        None => None,
    };
    let limits = limits(source, &raw, runs)?;
    Ok(Allowed {
        restart: raw.restart,
        start: raw.start,
        stop: raw.stop,
        signals: raw.signals.into_iter().map(Spanned::into_inner).collect(),
        nice,
        limits,
        cgroup: path(source, "cgroup", raw.cgroup.as_ref())?,
        clean_up: table(source, "clean_up", raw.clean_up, |source, name, raw| clean_up(source, name, &raw))?,
        drop_caches: raw.drop_caches,
        fix_permissions: table(source, "fix_permissions", raw.fix_permissions, permissions)?,
        roll_back: table(source, "roll_back", raw.roll_back, |source, name, raw| {
            roll_back(source, name, &raw)
        })?,
        fail_over: table(source, "fail_over", raw.fail_over, fail_over)?,
        scale: raw.scale.is_some_and(Spanned::into_inner),
        run: table(source, "run", raw.run, |source, name, raw| run(source, name, &raw))?,
    })
}

fn limits(source: &Source<'_>, raw: &RawAllowed, runs: &Runs) -> Checked<BTreeMap<String, (u64, u64)>> {
    // systemd and Docker know the group of what they run, and set its limits themselves.
    let has_group = matches!(runs, Runs::Systemd { .. } | Runs::Docker { .. });
    let mut limits = BTreeMap::new();
    for (name, pair) in &raw.limits {
        let (low, high) = *pair.get_ref();
        if !RESOURCES.contains(&name.get_ref().as_str()) {
            let problem =
                format!("{:?} cannot be limited; there are {}", name.get_ref(), RESOURCES.join(", "));
            return source.wrong(name, problem);
        }
        if low < 1 || low > high {
            return source
                .wrong(pair, "a limit is the lowest and the highest value, from 1 on: write [1, 100]");
        }
        limits.insert(name.get_ref().clone(), (low as u64, high as u64));
    }
    match (&raw.cgroup, raw.limits.keys().next()) {
        (None, Some(name)) if !has_group => {
            source.wrong(name, "limits need cgroup beside them: the control group's directory; add it")
        }
        (Some(cgroup), _) if !cgroup.get_ref().starts_with("/sys/fs/cgroup/") => {
            let problem = format!("cgroup is {:?}; name a directory below /sys/fs/cgroup", cgroup.get_ref());
            source.wrong(cgroup, problem)
        }
        _ => Ok(limits),
    }
}

/// Settles each entry of a table by its name.
fn table<R, S>(
    source: &Source<'_>,
    what: &str,
    raw: Named<R>,
    settle: impl Fn(&Source<'_>, &Spanned<String>, R) -> Checked<S>,
) -> Checked<BTreeMap<String, S>> {
    bounded(source, what, &raw)?;
    let mut settled = BTreeMap::new();
    for (name, entry) in raw {
        let entry = settle(source, &name, entry)?;
        settled.insert(name.into_inner(), entry);
    }
    Ok(settled)
}

fn needed<'a, T>(
    source: &Source<'_>,
    name: &Spanned<String>,
    key: &str,
    value: Option<&'a Spanned<T>>,
) -> Checked<&'a Spanned<T>> {
    match value {
        Some(value) => Ok(value),
        None => source.wrong(name, format!("{} has no {key}; add it", name.get_ref())),
    }
}

fn judged(
    source: &Source<'_>,
    key: &str,
    value: &Spanned<PathBuf>,
    judge: fn(&str, &std::path::Path) -> Result<PathBuf, String>,
) -> Checked<PathBuf> {
    judge(key, value.get_ref()).or_else(|problem| source.wrong(value, problem))
}

fn clean_up(source: &Source<'_>, name: &Spanned<String>, raw: &RawCleanUp) -> Checked<CleanUp> {
    let root = judged(source, "root", needed(source, name, "root", raw.root.as_ref())?, clean_up_root)?;
    let pattern = needed(source, name, "pattern", raw.pattern.as_ref())?;
    if pattern.get_ref().is_empty() || pattern.get_ref().contains(['/', '\0']) {
        return source.wrong(pattern, "pattern fits a file's name, without directories: write \"*.log\"");
    }
    let older = needed(source, name, "older_than", raw.older_than.as_ref())?;
    let second = Duration::from_secs(1);
    Ok(CleanUp {
        root,
        pattern: pattern.get_ref().clone(),
        older_than: source.span("older_than", Some(older), DAY, (second, 3660 * DAY))?,
        keep_bytes: source.size("keep", raw.keep.as_ref(), 0, (0, 1 << 50))?,
        most_bytes: source.size("most", raw.most.as_ref(), 1 << 30, (1, 1 << 50))?,
        most_files: source.integer("most_files", raw.most_files.as_ref(), 1000, 1, 1_000_000)? as u64,
    })
}

fn permissions(source: &Source<'_>, name: &Spanned<String>, raw: RawPermissions) -> Checked<Permissions> {
    let path = judged(source, "path", needed(source, name, "path", raw.path.as_ref())?, own_entry)?;
    let mode = needed(source, name, "mode", raw.mode.as_ref())?;
    let bits = u32::from_str_radix(mode.get_ref(), 8).ok().filter(|bits| bits & !0o1777 == 0);
    let Some(bits) = bits else {
        let problem = format!(
            "mode is {:?}; write octal digits such as \"0640\", without set-user-id and set-group-id",
            mode.get_ref()
        );
        return source.wrong(mode, problem);
    };
    let word = |value: Option<Spanned<String>>| value.map(Spanned::into_inner);
    Ok(Permissions { path, mode: bits, user: word(raw.user), group: word(raw.group) })
}

fn roll_back(source: &Source<'_>, name: &Spanned<String>, raw: &RawRollBack) -> Checked<RollBack> {
    match (&raw.link, &raw.releases, &raw.file) {
        (Some(link), Some(releases), None) => Ok(RollBack::Link {
            link: judged(source, "link", link, own_entry)?,
            releases: judged(source, "releases", releases, own_entry)?,
        }),
        (None, None, Some(file)) => Ok(RollBack::File {
            path: judged(source, "file", file, own_entry)?,
            versions: source.integer("versions", raw.versions.as_ref(), 5, 1, 100)? as usize,
        }),
        _ => source.wrong(name, "a roll-back has either link and releases, or file; write one of the two"),
    }
}

fn fail_over(source: &Source<'_>, name: &Spanned<String>, raw: RawFailOver) -> Checked<FailOver> {
    let mut candidates: Vec<(String, PathBuf)> = Vec::new();
    for candidate in raw.candidates {
        let at = candidate.span();
        let candidate = candidate.into_inner();
        let called = Spanned::new(at.clone(), candidate.name.clone());
        super::settle::check_name(source, &called)?;
        if candidates.iter().any(|(known, _)| *known == candidate.name) {
            return source
                .wrong(&called, format!("there are two candidates {:?}; rename one", candidate.name));
        }
        let target = match &raw.link {
            Some(_) => judged(source, "target", &Spanned::new(at, candidate.target), absolute)?,
            None => candidate.target,
        };
        candidates.push((candidate.name, target));
    }
    if !(2..=16).contains(&candidates.len()) {
        return source.wrong(
            name,
            "a fail-over has 2 to 16 candidates: write candidates = [{ name = \"a\", target = \"/a\" }, …]",
        );
    }
    let link = match &raw.link {
        Some(link) => Some(judged(source, "link", link, own_entry)?),
        None => None,
    };
    let hook = match &raw.hook {
        Some(hook) => Some(run(source, name, hook)?),
        None => None,
    };
    if link.is_none() && hook.is_none() {
        return source.wrong(name, "a fail-over switches a link, runs a hook, or both; add link or hook");
    }
    Ok(FailOver { link, candidates, hook })
}

fn run(source: &Source<'_>, name: &Spanned<String>, raw: &RawCommand) -> Checked<Command> {
    Ok(Command {
        command: command(source, "command", needed(source, name, "command", raw.command.as_ref())?)?,
        user: raw.user.as_ref().map(|user| user.get_ref().clone()),
        directory: path(source, "directory", raw.directory.as_ref())?,
    })
}

/// Local rules: each an action of the closed set that the component's own list allows.
pub(super) fn local_rules(
    source: &Source<'_>,
    raw: &[Spanned<RawLocal>],
    allowed: &Allowed,
    runs: &Runs,
) -> Checked<Vec<LocalRule>> {
    let mut rules = Vec::new();
    for spanned in raw {
        let rule = spanned.get_ref();
        let action = local_action(source, spanned)?;
        if !allowed.permits(&action, runs) {
            let problem =
                format!("{} is not allowed with these values; allow it in `allow` first", action.name());
            return source.wrong(spanned, problem);
        }
        let second = Duration::from_secs(1);
        rules.push(LocalRule {
            action,
            after: source.span("after", rule.after.as_ref(), Duration::ZERO, (Duration::ZERO, DAY))?,
            alone_for: source.span(
                "alone_for",
                rule.alone_for.as_ref(),
                30 * second,
                (Duration::ZERO, DAY),
            )?,
        });
    }
    if rules.len() > 16 {
        return source.wrong(&raw[16], "there are more than 16 local rules; remove some");
    }
    Ok(rules)
}

fn local_action(source: &Source<'_>, spanned: &Spanned<RawLocal>) -> Checked<Action> {
    let rule = spanned.get_ref();
    let Some(name) = &rule.action else {
        return source.wrong(spanned, "a local rule has no action; add action = \"restart\" or another");
    };
    let mut map = Map::new();
    map.insert("action".into(), json!(name.get_ref()));
    let texts = [
        ("signal", &rule.signal),
        ("resource", &rule.resource),
        ("policy", &rule.policy),
        ("entry", &rule.entry),
        ("to", &rule.to),
        ("command", &rule.command),
    ];
    for (key, value) in texts.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        map.insert(key.into(), json!(value));
    }
    for (key, value) in [("nice", rule.nice), ("value", rule.value), ("replicas", rule.replicas)] {
        if let Some(value) = value {
            map.insert(key.into(), json!(value));
        }
    }
    serde_json::from_value(map.into()).or_else(|error| {
        source.wrong(spanned, format!("this is no action that there is ({error}); correct it"))
    })
}
