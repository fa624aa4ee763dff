//! The host's allow-list: from an action's name to what is done, out of the host's file alone. What does not
//! stand there is not allowed.

use std::path::PathBuf;

use fettle_shared::command::{Action, Refusal};

use crate::host_file::{
    Allowed, CleanUp, Command, Component, FailOver, HostFile, Permissions, RollBack, Runs,
};
use crate::signal_name::signal_number;

/// What is done to whatever runs a component.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::act) enum Verb {
    Restart,
    Start,
    Stop,
    /// The signal's number; to all processes rather than the first.
    Signal {
        name: String,
        number: i32,
        all: bool,
    },
}

/// Where a limit is set.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::act) enum LimitPlace {
    /// Files of this control group.
    Group(PathBuf),
    /// Of whoever runs it: a unit or a container.
    Runs(Runs),
}

/// One of the closed set, settled.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::act) enum Step {
    Service {
        runs: Runs,
        verb: Verb,
    },
    Scale {
        runs: Runs,
        replicas: u32,
    },
    Renice {
        runs: Runs,
        nice: i8,
    },
    Limit {
        place: LimitPlace,
        resource: String,
        value: u64,
    },
    CleanUp(CleanUp),
    DropCaches,
    FixPermissions(Permissions),
    /// `then`: what is started anew on the version that was put back, where that is allowed too.
    RollBack {
        entry: String,
        what: RollBack,
        then: Option<Runs>,
    },
    FailOver {
        what: FailOver,
        to: Option<(String, PathBuf)>,
    },
    Run(Command),
}

/// What the action comes to on this host, if it is allowed. A rule of the host's own file (`by_own_rule`) need not
/// also be allowed to others; whatever it names must be declared all the same.
pub(in crate::act) fn allowed(
    host: &HostFile,
    component: &str,
    action: &Action,
    by_own_rule: bool,
) -> Result<Step, Refusal> {
    if component.is_empty() {
        let list = &host.host_actions;
        return match action {
            Action::DropCaches if list.drop_caches || by_own_rule => Ok(Step::DropCaches),
            Action::CleanUp { policy } => named(list.clean_up.get(policy)).map(Step::CleanUp),
            _ => Err(Refusal::NotAllowed),
        };
    }
    let component = host.components.get(component).ok_or(Refusal::UnknownComponent)?;
    of_component(component, action, by_own_rule).ok_or(Refusal::NotAllowed)
}

fn named<T: Clone>(entry: Option<&T>) -> Result<T, Refusal> {
    entry.cloned().ok_or(Refusal::NotAllowed)
}

fn of_component(component: &Component, action: &Action, own: bool) -> Option<Step> {
    let Component { runs, allowed: list, .. } = component;
    let service = |verb| can(runs, &verb).then(|| Step::Service { runs: runs.clone(), verb });
    match action {
        Action::Restart if list.restart || own => service(Verb::Restart),
        Action::Start if list.start || own => service(Verb::Start),
        Action::Stop if list.stop || own => service(Verb::Stop),
        Action::Signal { signal } if own || list.signals.contains(signal) => {
            let number = signal_number(signal)?;
            // These are about the service as a whole; the others are words to its main process.
            let all = matches!(signal.as_str(), "KILL" | "STOP" | "CONT");
            service(Verb::Signal { name: signal.clone(), number, all })
        }
        Action::Renice { nice } => {
            let (lowest, highest) = list.nice?;
            let has_processes = !matches!(runs, Runs::Nothing);
            ((lowest..=highest).contains(nice) && has_processes)
                .then(|| Step::Renice { runs: runs.clone(), nice: *nice })
        }
        Action::Limit { resource, value } => limit(runs, list, resource, *value),
        Action::CleanUp { policy } => list.clean_up.get(policy).cloned().map(Step::CleanUp),
        Action::DropCaches => (list.drop_caches || own).then_some(Step::DropCaches),
        Action::FixPermissions { entry } => {
            let entry = list.fix_permissions.get(entry)?;
            (entry.mode & !0o1777 == 0).then(|| Step::FixPermissions(entry.clone()))
        }
        Action::RollBack { entry } => {
            let what = list.roll_back.get(entry)?.clone();
            let then = (list.restart && can(runs, &Verb::Restart)).then(|| runs.clone());
            Some(Step::RollBack { entry: entry.clone(), what, then })
        }
        Action::FailOver { entry, to } => fail_over(list.fail_over.get(entry)?, to),
        Action::Scale { replicas } if list.scale || own => {
            let (least, most) = runs.replica_bounds()?;
            (least..=most).contains(replicas).then(|| Step::Scale { runs: runs.clone(), replicas: *replicas })
        }
        Action::Run { command } => list.run.get(command).cloned().map(Step::Run),
        Action::Restart | Action::Start | Action::Stop | Action::Signal { .. } | Action::Scale { .. } => None,
    }
}

/// Whether whoever runs a component can do this at all.
fn can(runs: &Runs, verb: &Verb) -> bool {
    match runs {
        Runs::Supervised(_) | Runs::Systemd { .. } | Runs::Docker { .. } => true,
        Runs::Process(_) => matches!(verb, Verb::Stop | Verb::Signal { .. }),
        Runs::Nothing => false,
    }
}

fn limit(runs: &Runs, list: &Allowed, resource: &str, value: u64) -> Option<Step> {
    let (lowest, highest) = list.limits.get(resource)?;
    let is_known = matches!(resource, "cpu_percent" | "memory_bytes" | "pids");
    if !is_known || value == 0 || !(*lowest..=*highest).contains(&value) {
        return None;
    }
    let place = match (&list.cgroup, runs) {
        (Some(group), _) => LimitPlace::Group(group.clone()),
        (None, Runs::Systemd { .. } | Runs::Docker { .. }) => LimitPlace::Runs(runs.clone()),
        _ => return None,
    };
    Some(Step::Limit { place, resource: resource.to_owned(), value })
}

fn fail_over(what: &FailOver, to: &str) -> Option<Step> {
    let to = match to {
        "" => None,
        name => Some(what.candidates.iter().find(|(candidate, _)| candidate == name)?.clone()),
    };
    let does_something = !what.candidates.is_empty() && (what.link.is_some() || what.hook.is_some());
    // Without a link nobody knows which candidate is active, so it has to be named.
    let is_definite = what.link.is_some() || to.is_some();
    (does_something && is_definite).then(|| Step::FailOver { what: what.clone(), to })
}
