//! Runs the victims by plan and reads back what the stack stored of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fettle_analysis::outlook::{columns, ComponentTracks, HostTracks, Track};
use tokio::time::Instant;

use super::plan::{Planned, DISK_BYTES};
use super::victim::Kind;
use crate::child::{words, Child, Start};
use crate::sql::Sql;
use crate::stack::AGENT;

/// How long rows take into ClickHouse at most.
const STORED: Duration = Duration::from_secs(30);
/// Histories reach back before a run's start by this much.
const BEFORE_S: u32 = 60;

/// A process that lived.
#[derive(Debug)]
pub(super) struct Run {
    pub kind: Kind,
    pub round: usize,
    pub pid: u32,
    pub mount: Option<PathBuf>,
    /// Seconds since 1970.
    pub from: u32,
    pub until: f64,
    pub failed: bool,
}

/// The same with what the stack stored of it.
#[derive(Debug)]
pub(super) struct Recorded {
    pub run: Run,
    pub host: HostTracks,
    pub component: ComponentTracks,
}

/// A small file system of a victim's own, taken away at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let size = format!("size={DISK_BYTES:.0}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status()?;
        anyhow::ensure!(done.success(), "a small file system cannot be mounted; run this as root");
        Ok(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Starts everyone when it is time, and waits until all have ended.
pub(super) async fn run(planned: &[Planned], state: &Path) -> anyhow::Result<Vec<Run>> {
    let logs = state.join("victims");
    std::fs::create_dir_all(&logs)?;
    let own = std::env::current_exe().context("this program's own path is not known")?;
    let (mut living, mut disks): (Vec<(Run, f64, Child)>, Vec<SmallDisk>) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for (number, one) in planned.iter().enumerate() {
        tokio::time::sleep_until(began + Duration::from_secs_f64(one.start_s)).await;
        let name = format!("{}-{number}", one.kind.name());
        let mut mount = None;
        if matches!(one.kind, Kind::Disk | Kind::Log) {
            let disk = SmallDisk::at(state.join(&name))?;
            mount = Some(disk.0.clone());
            disks.push(disk);
        }
        let mut arguments = words([
            &"victim",
            &"--kind",
            &one.kind.name(),
            &"--life-s",
            &one.life_s.to_string(),
            &"--most-s",
            &one.most_s.to_string(),
            &"--bend",
            &one.bend.to_string(),
            &"--limit",
            &format!("{:.0}", one.limit),
        ]);
        if let Some(mount) = &mount {
            arguments.extend(words([&"--directory", mount]));
        }
        let start = Start { name: &name, program: &own, arguments, logs: &logs, environment: Vec::new() };
        let child = start.spawn()?;
        let (kind, round, pid) = (one.kind, one.round, child.pid());
        let from = now_s();
        let run = Run { kind, round, pid, mount, from: from as u32 + 1, until: 0.0, failed: false };
        living.push((run, from + one.most_s, child));
    }
    let mut runs = Vec::new();
    for (mut run, ends, mut child) in living {
        let patience = (ends - now_s()).max(0.0) + 30.0;
        child.ended(Duration::from_secs_f64(patience)).await?;
        let failed =
            child.output().lines().find_map(|line| line.strip_prefix("failed ")?.parse::<f64>().ok());
        run.failed = failed.is_some();
        run.until = failed.unwrap_or(ends);
        runs.push(run);
    }
    Ok(runs)
}

/// Everything that predictions look at, a step a second.
pub(super) async fn read(sql: &Sql, runs: Vec<Run>) -> anyhow::Result<Vec<Recorded>> {
    let last = runs.iter().map(|run| run.until).fold(0.0, f64::max);
    let newest = format!("SELECT toUnixTimestamp(max(ts)) FROM memory WHERE host = '{AGENT}'");
    let began = Instant::now();
    while sql.number(&newest).await? < last {
        anyhow::ensure!(
            began.elapsed() < STORED,
            "the last samples did not reach ClickHouse within {STORED:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let from = runs.iter().map(|run| run.from).min().unwrap_or(0) - BEFORE_S;
    let all = |family, columns| tracks(sql, family, columns, "1", from);
    let mut memory = all("memory", columns::MEMORY).await?;
    let mut load = all("load", columns::LOAD).await?;
    let mut cpu = tracks(sql, "cpu", columns::CPU, "cpu = 'all'", from).await?;
    let pressure = all("pressure", columns::PRESSURE).await?;
    let host = HostTracks {
        host: AGENT.to_owned(),
        memory: memory.pop(),
        load: load.pop(),
        cpu: cpu.pop(),
        pressure,
        filesystems: Vec::new(),
    };
    let pids: Vec<String> = runs.iter().map(|run| run.pid.to_string()).collect();
    let of_victims = format!("pid IN ({})", pids.join(", "));
    let processes = by_key(tracks(sql, "process", columns::PROCESS, &of_victims, from).await?);
    let details = by_key(tracks(sql, "process_detail", columns::DETAIL, &of_victims, from).await?);
    let disks = by_key(tracks(sql, "filesystem", columns::FILESYSTEM, "fstype = 'tmpfs'", from).await?);
    let its = |found: &HashMap<String, Vec<Track>>, key: &str| found.get(key).cloned().unwrap_or_default();
    let mut recorded = Vec::new();
    for run in runs {
        let (pid, mount) = (run.pid.to_string(), run.mount.as_ref().map(|mount| mount.display().to_string()));
        let filesystems = mount.map_or_else(Vec::new, |mount| its(&disks, &mount));
        let host = HostTracks { filesystems, ..host.clone() };
        let component = ComponentTracks {
            name: format!("{}-{pid}", run.kind.name()),
            component: None,
            processes: its(&processes, &pid),
            details: its(&details, &pid),
        };
        recorded.push(Recorded { run, host, component });
    }
    Ok(recorded)
}

fn by_key(tracks: Vec<Track>) -> HashMap<String, Vec<Track>> {
    let mut found: HashMap<String, Vec<Track>> = HashMap::new();
    for track in tracks {
        found.entry(track.entity.first().cloned().unwrap_or_default()).or_default().push(track);
    }
    found
}

/// The last value of each second, by entity, from the raw rows.
async fn tracks(
    sql: &Sql,
    family: &str,
    columns: &[&str],
    only: &str,
    from: u32,
) -> anyhow::Result<Vec<Track>> {
    let catalogue = fettle_shared::catalogue::catalogue();
    let entity = catalogue.family(family).map(|family| family.entity.as_slice()).unwrap_or_default();
    let mut selected: Vec<String> = entity.iter().map(|e| format!("toString({})", e.name)).collect();
    let keys = selected.len();
    selected.push("toUnixTimestamp(ts) AS t".to_owned());
    let group = (1..=keys + 1).map(|at| at.to_string()).collect::<Vec<_>>().join(", ");
    selected.extend(columns.iter().map(|column| format!("argMax({column}, ts)")));
    let query = format!(
        "SELECT {} FROM {family} WHERE host = '{AGENT}' AND ts >= toDateTime64({from}, 6, 'UTC') AND {only} \
         GROUP BY {group} ORDER BY {group}",
        selected.join(", ")
    );
    let mut entities: Vec<(Vec<String>, Vec<Vec<Option<f64>>>)> = Vec::new();
    for row in sql.rows(&query).await? {
        let values = row[keys..].iter().map(|cell| cell.parse().ok()).collect();
        match entities.last_mut() {
            Some((entity, rows)) if *entity == row[..keys] => rows.push(values),
            _ => entities.push((row[..keys].to_vec(), vec![values])),
        }
    }
    Ok(entities.into_iter().filter_map(|(entity, rows)| Track::new(entity, 1, &rows)).collect())
}
