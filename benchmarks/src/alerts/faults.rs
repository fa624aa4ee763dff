//! Fault to notification. One service after the other is killed or stopped (SIGKILL, SIGSTOP), at moments spread
//! over the second; time runs from before the signal to when the whole message is at the sink.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::percentile;
use super::sinks::{now_us, wait_for};
use super::world::World;
use crate::report::{number, Aim, Report, Table};

const SERVICES: usize = 8;
/// A fault that is not told after this long was missed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of one fault; seconds since it.
struct Told {
    kind: &'static str,
    critical: bool,
    data_s: Option<f64>,
    decided_s: Option<f64>,
    http_s: Option<f64>,
    mail_s: Option<f64>,
}

/// Breaks services, and tells of it in the report.
pub(super) async fn run(report: &mut Report, directory: &Path, faults: usize) -> anyhow::Result<()> {
    let mut world = World::start(directory, SERVICES).await?;
    let mut all = Vec::new();
    for number in 0..faults {
        // Another place in the second each time, all of them in the end.
        let pause = 500 + (number as u64 * 373) % 1_000;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        all.push(fault(&mut world, number).await?);
    }
    world.stop().await?;
    tell(report, &all);
    Ok(())
}

async fn fault(world: &mut World, number: usize) -> anyhow::Result<Told> {
    let World { services, sink, mail, .. } = world;
    let service = &mut services[number % SERVICES];
    let kills = (number / SERVICES).is_multiple_of(2);
    let (name, first, began_us) = (service.name.clone(), sink.len(), now_us());
    if kills {
        service.kill()?;
    } else {
        service.signal(Signal::STOP)?;
    }
    let since = |us: i64| (us - began_us) as f64 / 1e6;
    let told = async |kind: &str, from: usize| {
        wait_for(PATIENCE, async || Ok(sink.find(from, |posted| posted.is(kind, &name)))).await
    };
    let posted = told("firing", first).await?;
    let component = format!("component={name},");
    let is_about = |subject: &str, resolved: bool| {
        subject.contains(&component) && subject.contains("[RESOLVED]") == resolved
    };
    let mailed =
        wait_for(PATIENCE, async || mail.first(began_us, |subject| is_about(subject, false))).await?;
    let seen = posted.as_ref();
    let time = |value: &serde_json::Value| value.as_i64().map(since);
    let outcome = Told {
        kind: if kills { "killed" } else { "stopped" },
        critical: service.critical,
        data_s: seen.and_then(|posted| time(&posted.body["alerts"][0]["since_us"])),
        decided_s: seen.and_then(|posted| time(&posted.body["at_us"])),
        http_s: seen.map(|posted| since(posted.at_us)),
        mail_s: mailed.map(since),
    };
    let (restored_us, from) = (now_us(), sink.len());
    if kills {
        service.start()?;
    } else {
        service.signal(Signal::CONT)?;
    }
    // Over, and everybody knows: the next fault of this service is news.
    told("resolved", from).await?;
    wait_for(PATIENCE, async || mail.first(restored_us, |subject| is_about(subject, true))).await?;
    Ok(outcome)
}

fn tell(report: &mut Report, all: &[Told]) {
    let missed = all.iter().filter(|one| one.http_s.is_none() || one.mail_s.is_none()).count();
    report.aim("faults timed", "", all.len() as f64, Aim::AtLeast(30.0));
    report.aim("faults not told within 30 s", "", missed as f64, Aim::AtMost(0.0));
    let columns = ["to", "severity", "faults", "p50 s", "p90 s", "p99 s", "longest s"];
    let mut table = Table::new("Fault to notification", &columns);
    for (sink, of) in [("HTTP", (|one| one.http_s) as fn(&Told) -> Option<f64>), ("SMTP", |one| one.mail_s)] {
        for (severity, critical) in [("critical", true), ("high", false)] {
            let times: Vec<f64> = all.iter().filter(|one| one.critical == critical).filter_map(of).collect();
            let [p50, p90, p99, most] = [0.5, 0.9, 0.99, 1.0].map(|share| percentile(&times, share));
            table.row(&[
                sink,
                severity,
                &times.len().to_string(),
                &number(p50),
                &number(p90),
                &number(p99),
                &number(most),
            ]);
            report.aim(&format!("fault to {sink} sink, {severity}, p99"), "s", p99, Aim::AtMost(3.0));
            report.figure(&format!("fault to {sink} sink, {severity}, p50"), p50);
        }
    }
    report.table(table);
    let mut table = Table::new(
        "Where the time goes, medians in seconds since the fault",
        &["fault", "severity", "time of the data", "decided", "at the HTTP sink"],
    );
    for (kind, critical) in [("killed", true), ("killed", false), ("stopped", true), ("stopped", false)] {
        let of = |value: fn(&Told) -> Option<f64>| {
            let fits = |one: &&Told| one.kind == kind && one.critical == critical;
            number(percentile(&all.iter().filter(fits).filter_map(value).collect::<Vec<_>>(), 0.5))
        };
        let severity = if critical { "critical" } else { "high" };
        table.row(&[kind, severity, &of(|one| one.data_s), &of(|one| one.decided_s), &of(|one| one.http_s)]);
    }
    report.table(table);
    report.note(
        "Faults: a process declared by its pid file, checked each second as shipped, is killed or stopped. Shipped \
         rules and waits: none for critical, group_wait 250 ms for high, which is in its figures. Changed is \
         what says how often is told: no storm, flapping or cooldown, and a group for each component. With the shipped \
         grouping by host a further alert that is not critical joins its host's open group and waits up to 30 s.",
    );
}
