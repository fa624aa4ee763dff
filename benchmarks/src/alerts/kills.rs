//! One notification each, whoever is killed. Services fall and rise while the collector is killed with -9 at
//! random moments, also while it starts; every third kill comes while a notification is at the sink and its answer
//! is not given yet, which is the worst moment there is. The sink drops no double. Each fault must be told once
//! and its end once. What the collector could not know that it had sent comes again, under the same
//! `Idempotency-Key`; that is counted too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use super::sinks::{now_us, Posted};
use super::world::World;
use crate::child::POLL;
use crate::report::{Aim, Report, Table};

const SERVICES: usize = 6;
/// A fault, or its end, that is not told after this long is lost.
const PATIENCE: Duration = Duration::from_secs(150);
/// An aimed kill that finds nothing to wait for comes anyway.
const AIMED: Duration = Duration::from_secs(15);
/// Longest run.
const LONGEST: Duration = Duration::from_secs(3_600);

/// One fault of one service, µs since 1970.
#[derive(Debug, Clone)]
struct Fault {
    service: usize,
    struck_us: i64,
    restored_us: i64,
}

/// Where a service is in its round.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It runs, until then.
    Well(Instant),
    /// It was killed, and nobody was told yet.
    Struck(Instant),
    /// Told; it is started again then.
    Told(Instant),
    /// It runs again, and nobody was told yet.
    Restored(Instant),
}

/// How the kills go.
struct Killer {
    random: StdRng,
    left: usize,
    next: Instant,
    aimed: bool,
    /// Aimed kills that hit a notification on its way.
    hit: usize,
}

/// Kills, and tells of it in the report.
pub(super) async fn run(
    report: &mut Report,
    directory: &Path,
    kills: usize,
    seed: u64,
) -> anyhow::Result<()> {
    let mut world = World::start(directory, SERVICES).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut phases: Vec<Phase> = (0..SERVICES).map(|_| Phase::Well(soon(&mut random))).collect();
    let own = StdRng::seed_from_u64(seed.wrapping_add(1));
    let mut killer = Killer { random: own, left: kills, next: soon(&mut random), aimed: false, hit: 0 };
    let mut faults: Vec<Fault> = Vec::new();
    loop {
        killer.turn(&mut world)?;
        for (at, phase) in phases.iter_mut().enumerate() {
            *phase = round(&mut world, at, *phase, &mut faults, &mut random, killer.left > 0)?;
        }
        let rest = phases.iter().all(|phase| matches!(phase, Phase::Well(_)));
        if killer.left == 0 && rest && world.path.collector.child.usage().is_ok() {
            break;
        }
        ensure!(began.elapsed() < LONGEST, "the run did not come to an end");
        tokio::time::sleep(POLL).await;
    }
    // What is sent again, is sent again at the start of the next collector.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let posted = world.sink.since(0);
    world.stop().await?;
    tell(report, &posted, &faults, (kills, killer.hit), minutes);
    Ok(())
}

fn soon(random: &mut StdRng) -> Instant {
    Instant::now() + Duration::from_millis(random.random_range(500..5_000))
}

impl Killer {
    /// Kills the collector if it is time, and starts the next one at once.
    fn turn(&mut self, world: &mut World) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.left == 0 || now < self.next {
            return Ok(());
        }
        if self.aimed {
            let caught = world.sink.has_caught();
            if !caught && now < self.next + AIMED {
                world.sink.arm();
                return Ok(());
            }
            self.hit += usize::from(caught);
        }
        world.path.collector.child.kill()?;
        world.sink.release();
        world.path.collector =
            world.stack.starting_collector(&world.path.nats, &world.path.clickhouse, &world.configuration)?;
        self.left -= 1;
        self.aimed = self.left.is_multiple_of(3);
        self.next = Instant::now() + Duration::from_millis(self.random.random_range(1_000..9_000));
        Ok(())
    }
}

/// A service's next step in its round.
fn round(
    world: &mut World,
    at: usize,
    phase: Phase,
    faults: &mut Vec<Fault>,
    random: &mut StdRng,
    goes_on: bool,
) -> anyhow::Result<Phase> {
    let now = Instant::now();
    let last = faults.iter().rposition(|fault| fault.service == at);
    let told = |world: &World, kind: &str, since_us: i64| {
        let name = &world.services[at].name;
        world.sink.find(0, |posted| posted.at_us >= since_us && posted.is(kind, name)).is_some()
    };
    Ok(match (phase, last) {
        (Phase::Well(until), _) if goes_on && now >= until => {
            faults.push(Fault { service: at, struck_us: now_us(), restored_us: i64::MAX });
            world.services[at].kill()?;
            Phase::Struck(now)
        }
        (Phase::Struck(since), Some(last)) => {
            let over = now - since > PATIENCE || told(world, "firing", faults[last].struck_us);
            if over {
                Phase::Told(soon(random))
            } else {
                phase
            }
        }
        (Phase::Told(until), Some(last)) if now >= until => {
            faults[last].restored_us = now_us();
            world.services[at].start()?;
            Phase::Restored(now)
        }
        (Phase::Restored(since), Some(last)) => {
            let over = now - since > PATIENCE || told(world, "resolved", faults[last].restored_us);
            if over {
                Phase::Well(soon(random))
            } else {
                phase
            }
        }
        _ => phase,
    })
}

/// How often each fault was told, as far as keys tell notifications apart.
#[derive(Debug, Default, PartialEq)]
struct Count {
    never: usize,
    once: usize,
    oftener: usize,
}

impl Count {
    fn add(&mut self, times: usize) {
        match times {
            0 => self.never += 1,
            1 => self.once += 1,
            _ => self.oftener += 1,
        }
    }
}

/// Counts notifications of this kind for each fault, and those while it could not be (resolved while it was
/// down). Messages of one key are one notification, which came when it came first.
fn count(kind: &str, posted: &[Posted], faults: &[Fault]) -> (Count, usize) {
    let mut first: BTreeMap<&str, &Posted> = BTreeMap::new();
    for one in posted {
        first.entry(&one.key).or_insert(one);
    }
    let (mut count, mut untrue) = (Count::default(), 0);
    for (at, fault) in faults.iter().enumerate() {
        let later = faults[at + 1..].iter().find(|other| other.service == fault.service);
        let until_us = later.map_or(i64::MAX, |later| later.struck_us);
        let name = format!("service{}", fault.service);
        let within = |from_us: i64, until_us: i64| {
            let fits = |one: &&&Posted| (from_us..until_us).contains(&one.at_us) && one.is(kind, &name);
            first.values().filter(fits).count()
        };
        if kind == "firing" {
            count.add(within(fault.struck_us, until_us));
        } else {
            count.add(within(fault.restored_us, until_us));
            untrue += within(fault.struck_us, fault.restored_us);
        }
    }
    (count, untrue)
}

fn tell(
    report: &mut Report,
    posted: &[Posted],
    faults: &[Fault],
    (kills, hit): (usize, usize),
    minutes: f64,
) {
    let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
    for one in posted {
        *by_key.entry(&one.key).or_default() += 1;
    }
    let again = posted.len() - by_key.len();
    let most = by_key.values().copied().max().unwrap_or(0);
    report.aim("kill -9 of the collector", "", kills as f64, Aim::AtLeast(30.0));
    let columns = ["what", "faults", "told never", "told once", "told oftener"];
    let mut table = Table::new("Kills: how often each fault was told, by Idempotency-Key", &columns);
    for kind in ["firing", "resolved"] {
        let (count, untrue) = count(kind, posted, faults);
        let wrong = count.never + count.oftener + untrue;
        report.aim(&format!("faults not told exactly once, {kind}"), "", wrong as f64, Aim::AtMost(0.0));
        table.row(&[
            kind,
            &faults.len().to_string(),
            &count.never.to_string(),
            &count.once.to_string(),
            &count.oftener.to_string(),
        ]);
        if untrue > 0 {
            report.note(format!("Kills: {untrue} times {kind} was told while it could not be."));
        }
    }
    report.table(table);
    report.figure("kills: messages", posted.len());
    report.figure("kills: messages sent again under the same key", again);
    report.figure("kills: aimed kills that hit", hit);
    report.note(format!(
        "Kills: {kills} in {minutes:.1} min, {hit} of them while the sink had a notification and had not answered. {} messages \
         with {} keys came: {again} came again under the same Idempotency-Key, {most} times the same one at most. A receiver \
         that minds keys sees each once; one that does not (Slack) sees those twice.",
        posted.len(),
        by_key.len(),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_fault_is_counted_by_key() {
        let posted = |at_us: i64, key: &str, kind: &str| Posted {
            at_us,
            key: key.to_owned(),
            body: json!({"kind": kind, "alerts": [{"labels": {"component": "service0"}}]}),
        };
        let fault = |struck_us: i64, restored_us: i64| Fault { service: 0, struck_us, restored_us };
        let faults = [fault(10, 20), fault(50, 60), fault(80, 90)];
        let all = [
            posted(12, "a", "firing"),
            posted(14, "a", "firing"),
            posted(25, "b", "resolved"),
            posted(52, "c", "firing"),
            posted(54, "d", "firing"),
            posted(55, "e", "resolved"),
            posted(61, "f", "resolved"),
        ];
        assert_eq!(count("firing", &all, &faults), (Count { never: 1, once: 1, oftener: 1 }, 0));
        assert_eq!(count("resolved", &all, &faults), (Count { never: 1, once: 2, oftener: 0 }, 1));
    }
}
