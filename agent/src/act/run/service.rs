//! Restart, start, stop, signal, scale, nice value and limits, by whoever runs the component.

use std::path::Path;
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process, Pid};

use super::process::{self, Held};
use super::{cgroup, docker, in_thread, systemd, Means, Ran, Report, Threads};
use crate::act::admission::{LimitPlace, Task, Verb};
use crate::host_file::Runs;

/// What a process of somebody else's gets to end in.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Verb {
    fn name(&self) -> String {
        match self {
            Self::Restart => "restart".into(),
            Self::Start => "start".into(),
            Self::Stop => "stop".into(),
            Self::Signal { name, .. } => format!("send {name} to"),
        }
    }
}

fn target(component: &str, runs: &Runs) -> String {
    match runs {
        Runs::Supervised(_) => format!("the supervised command {component}"),
        Runs::Systemd { unit } => format!("the unit {unit}"),
        Runs::Docker { container, .. } => format!("the container {container}"),
        Runs::Process(_) | Runs::Nothing => format!("the processes of {component}"),
    }
}

/// Restart, start, stop, signal.
pub(super) async fn run(component: &str, runs: &Runs, verb: &Verb, dry: bool, means: &Means) -> Ran {
    if dry {
        return Ok(Report::says(format!("would {} {}", verb.name(), target(component, runs))));
    }
    let said = match (runs, verb) {
        (Runs::Supervised(_), Verb::Restart) => means.supervisor.restart(component).await?,
        (Runs::Supervised(_), Verb::Start) => means.supervisor.start(component).await?,
        (Runs::Supervised(_), Verb::Stop) => means.supervisor.stop(component).await?,
        (Runs::Supervised(_), Verb::Signal { number, all, .. }) => {
            means.supervisor.signal(component, *number, *all).await?
        }
        (Runs::Systemd { unit }, verb) => systemd::run(unit, verb).await?,
        (Runs::Docker { container, socket, replicas }, verb) => {
            docker::run(declared(container, socket, *replicas), verb).await?
        }
        (Runs::Process(wanted), Verb::Stop) => process::stop(wanted, STOP_PATIENCE).await?,
        (Runs::Process(wanted), Verb::Signal { number, all, name }) => {
            let (wanted, number, all) = (wanted.clone(), *number, *all);
            let name = name.clone();
            let work = move |_| {
                let held = process::signal(&wanted, number, all)?;
                let pids: Vec<String> = held.iter().map(|held| held.pid.to_string()).collect();
                Ok(Report::says(format!("sent {name} to {}", pids.join(", "))))
            };
            return in_thread(&means.threads, work).await;
        }
        (Runs::Process(_) | Runs::Nothing, _) => {
            return Err(format!("nobody is known to {} {component}; declare what runs it", verb.name()).into())
        }
    };
    Ok(Report::says(said))
}

fn declared<'a>(container: &'a str, socket: &'a Path, replicas: Option<(u32, u32)>) -> docker::Declared<'a> {
    docker::Declared { socket, container, is_scaled: replicas.is_some() }
}

/// The number of replicas of a supervised command or a container.
pub(super) async fn scale(task: &Task, runs: &Runs, replicas: u32, means: &Means) -> Ran {
    let (component, dry) = (&task.component, task.dry_run);
    if let Runs::Docker { container, socket, replicas: bounds } = runs {
        return docker::scale(declared(container, socket, *bounds), replicas, task.timeout, dry).await;
    }
    let now = means.supervisor.state(component)?.replicas;
    if dry {
        return Ok(Report::says(format!("would scale {component} from {now} to {replicas} replicas")));
    }
    let said = means.supervisor.scale(component, replicas).await?;
    Ok(Report::says(said).with("replicas", now.to_string()))
}

/// The nice value of every thread of the component's processes.
pub(super) async fn renice(component: &str, runs: &Runs, nice: i8, dry: bool, means: &Means) -> Ran {
    let (seen, named) = match runs {
        Runs::Supervised(_) => (means.supervisor.state(component)?.pids().collect(), Vec::new()),
        Runs::Systemd { unit } => (Vec::new(), systemd::processes(unit).await?),
        Runs::Docker { container, socket, replicas } => {
            (Vec::new(), docker::main_processes(declared(container, socket, *replicas)).await?)
        }
        _ => (Vec::new(), Vec::new()),
    };
    let runs = runs.clone();
    in_thread(&means.threads, move |_| {
        let held: Vec<Held> = match &runs {
            Runs::Process(wanted) => process::find(wanted)?,
            _ => seen
                .into_iter()
                .filter_map(Held::again)
                .chain(named.into_iter().filter_map(Held::named))
                .collect(),
        };
        set_nice(&held, nice, dry)
    })
    .await
}

/// setpriority(2) is by thread on Linux. It goes by number, so the process is looked at again at once after it.
fn set_nice(processes: &[Held], nice: i8, dry: bool) -> Result<Report, String> {
    let first = processes.first().ok_or("the component has no process; start it first")?;
    let before = getpriority_process(Some(first.pid)).map_err(|error| format!("no nice value: {error}"))?;
    if dry {
        let count = processes.len();
        return Ok(Report::says(format!(
            "would set the nice value of {count} processes from {before} to {nice}"
        )));
    }
    let mut threads = 0;
    for held in processes.iter().filter(|held| held.lives()) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", held.pid)).into_iter().flatten().flatten();
        for task in tasks {
            let thread = task.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if thread.is_some() && held.lives() {
                setpriority_process(thread, i32::from(nice)).map_err(|error| {
                    format!(
                        "the nice value of process {} cannot be set: {error}; run the agent as root",
                        held.pid
                    )
                })?;
                threads += 1;
            }
        }
    }
    let said = format!("set the nice value of {} processes ({threads} threads) to {nice}", processes.len());
    Ok(Report::says(said).with("nice", before.to_string()))
}

/// A limit, in a declared control group or by whoever runs it.
pub(super) async fn limit(
    task: &Task,
    place: &LimitPlace,
    resource: &str,
    value: u64,
    threads: &Threads,
) -> Ran {
    let (component, dry) = (&task.component, task.dry_run);
    match place {
        LimitPlace::Group(group) => {
            let (group, resource) = (group.clone(), resource.to_owned());
            in_thread(threads, move |_| cgroup::set(&group, &resource, value, dry)).await
        }
        LimitPlace::Runs(runs) if dry => {
            Ok(Report::says(format!("would set {resource} of {} to {value}", target(component, runs))))
        }
        LimitPlace::Runs(Runs::Systemd { unit }) => Ok(systemd::limit(unit, resource, value).await?),
        LimitPlace::Runs(Runs::Docker { container, socket, replicas }) => {
            Ok(docker::limit(declared(container, socket, *replicas), resource, value).await?)
        }
        LimitPlace::Runs(_) => {
            Err(format!("nobody is known to limit {component}; declare its cgroup").into())
        }
    }
}
