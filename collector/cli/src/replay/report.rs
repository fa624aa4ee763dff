//! What a replay says: tables for eyes, one JSON object for programs.

use fettle_analysis::live::{AnomalyKind, AnomalyRow};
use fettle_history::{Claims, Outcome};
use serde_json::{json, Value};

use super::arguments::ReplayArguments;
use super::{FoundIncident, Replayed};
use crate::moment;
use crate::output;
use crate::sql::{terminal_width, Rows};

/// Series of one incident that the table names; the rest is counted.
const SERIES_SHOWN: usize = 3;

/// Tells.
pub(super) fn show(replayed: &Replayed, arguments: &ReplayArguments) {
    if arguments.json {
        output::line(&json(replayed, arguments.calibrate).to_string());
        return;
    }
    if !replayed.alarms.is_empty() {
        output::line(&anomalies(replayed));
    }
    if !replayed.comparison.incidents.is_empty() {
        output::line(&incidents(replayed));
    }
    if arguments.calibrate {
        output::line(&calibration(replayed));
    }
    for line in sums(replayed) {
        output::line(&line);
    }
}

fn table(names: &[&str], numeric: &[bool]) -> Rows {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let types: Vec<String> = numeric.iter().map(|n| if *n { "Int64" } else { "String" }.to_owned()).collect();
    Rows::new(&names, &types, terminal_width())
}

fn anomalies(replayed: &Replayed) -> String {
    let mut rows = table(&["when (UTC)", "host", "severity", "what", "reason"], &[]);
    for alarm in &replayed.alarms {
        let all = &replayed.hosts[alarm.host].anomalies;
        let mut series = 0;
        for row in alarm.anomalies.iter().map(|at| &all[*at]) {
            series += usize::from(row.kind == AnomalyKind::Series);
            if row.kind != AnomalyKind::Series || series <= SERIES_SHOWN {
                rows.push(&[
                    moment::show(row.at_us),
                    row.host.clone(),
                    format!("{:?}", row.severity).to_lowercase(),
                    what(row),
                    row.reason.clone(),
                ]);
            }
        }
        if series > SERIES_SHOWN {
            let more = format!("… and {} more series", series - SERIES_SHOWN);
            rows.push(&[String::new(), String::new(), String::new(), more, String::new()]);
        }
    }
    rows.render()
}

fn what(row: &AnomalyRow) -> String {
    match row.kind {
        AnomalyKind::Series => row.series(),
        kind => kind.name().to_owned(),
    }
}

fn incidents(replayed: &Replayed) -> String {
    let mut rows = table(&["marked incident", "host", "begin (UTC)", "found", "by"], &[]);
    for outcome in &replayed.comparison.incidents {
        let by = outcome.found_by.map(|at| replayed.alarms[at].id.clone()).unwrap_or_default();
        let Outcome { incident, delay_s, .. } = outcome;
        let found = match delay_s {
            None => "missed".to_owned(),
            Some(delay) if *delay < 0.0 => format!("{:.0} s before", -delay),
            Some(delay) => format!("after {delay:.0} s"),
        };
        rows.push(&[
            incident.kind.clone(),
            incident.host.clone(),
            moment::show(incident.begin_us),
            found,
            by,
        ]);
    }
    rows.render()
}

fn claims(replayed: &Replayed) -> Claims {
    let mut claims = Claims::default();
    replayed.hosts.iter().for_each(|host| claims.merge(&host.claims));
    claims
}

fn calibration(replayed: &Replayed) -> String {
    let names = [
        "claimed",
        "due",
        "said",
        "seconds",
        "of the due",
        "due by surprise",
        "said",
        "seconds",
        "of the due",
    ];
    let mut rows = table(&names, &[true; 9]);
    let claims = claims(replayed);
    let times = |ratio: Option<f64>| ratio.map_or("too few due".to_owned(), |ratio| format!("{ratio:.2} x"));
    for line in claims.lines() {
        rows.push(&[
            format!("1 in {}", output::grouped(10u64.pow(line.k))),
            format!("{:.1}", line.tail_due),
            output::grouped(line.by_tail),
            output::grouped(line.tail_seconds),
            times(line.tail_ratio),
            format!("{:.1}", line.surprise_due),
            output::grouped(line.by_surprise),
            output::grouped(line.surprise_seconds),
            times(line.surprise_ratio),
        ]);
    }
    format!(
        "{}\n{} points of up to {} series; due is what series with so long a past, and that move so often, can claim",
        rows.render(),
        output::grouped(claims.points()),
        replayed.hosts.iter().map(|host| host.series).max().unwrap_or(0)
    )
}

/// Seconds of time that were judged, over all hosts; seconds without data do not count.
fn host_seconds(replayed: &Replayed) -> u64 {
    replayed.hosts.iter().map(|host| host.seconds - host.empty_seconds).sum()
}

fn per_day(count: usize, seconds: u64) -> f64 {
    count as f64 / (seconds.max(1) as f64 / 86_400.0)
}

fn sums(replayed: &Replayed) -> Vec<String> {
    let seconds = host_seconds(replayed);
    let took = replayed.took.as_secs_f64();
    let anomalies: usize = replayed.hosts.iter().map(|host| host.anomalies.len()).sum();
    let mut lines = vec![format!(
        "replayed {} s of {} in {took:.1} s, {:.0} x real time: {} incidents ({:.2} a host and day), {anomalies} anomalies",
        output::grouped(seconds),
        if replayed.hosts.len() == 1 { "1 host".to_owned() } else { format!("{} hosts", replayed.hosts.len()) },
        seconds as f64 / took.max(1e-9),
        replayed.alarms.len(),
        per_day(replayed.alarms.len(), seconds),
    )];
    let rolled: u64 = replayed.hosts.iter().map(|host| host.rolled_seconds).sum();
    if rolled > 0 {
        lines.push(format!(
            "before {} the raw rows are gone: {} s were judged by roll-ups of 10 s, which hide what is shorter",
            moment::rfc3339(i64::from(replayed.bounds.raw_from) * 1_000_000),
            output::grouped(rolled)
        ));
    }
    let unkept: u64 = replayed.hosts.iter().map(|host| host.unkept).sum();
    if unkept > 0 {
        lines.push(format!("{} further anomalies are only counted", output::grouped(unkept)));
    }
    let left_out = replayed.hosts.iter().map(|host| host.left_out).max().unwrap_or(0);
    if left_out > 0 {
        lines.push(format!("up to {left_out} series had no room; raise series_per_host"));
    }
    let compared = &replayed.comparison;
    if compared.incidents.is_empty() {
        lines.push(format!("no incident is marked there ({}): nothing to compare with", replayed.marked));
    } else {
        let share = |share: Option<f64>| share.map_or("none".to_owned(), |share| format!("{share:.2}"));
        lines.push(format!(
            "against {}: {} of {} incidents found, {} false, precision {}, recall {}, {:.2} false alarms a host and day",
            replayed.marked,
            compared.found(),
            compared.incidents.len(),
            compared.false_alarms.len(),
            share(compared.precision),
            share(compared.recall),
            compared.false_a_day.unwrap_or(0.0)
        ));
    }
    lines
}

fn json(replayed: &Replayed, calibrate: bool) -> Value {
    let time = |seconds: u32| moment::rfc3339(i64::from(seconds) * 1_000_000);
    let seconds = host_seconds(replayed);
    let compared = &replayed.comparison;
    let outcome = |outcome: &Outcome| {
        let incident = &outcome.incident;
        json!({
            "host": incident.host, "kind": incident.kind, "note": incident.note,
            "begin": moment::rfc3339(incident.begin_us), "end": moment::rfc3339(incident.end_us),
            "found_by": outcome.found_by.map(|at| &replayed.alarms[at].id), "delay_s": outcome.delay_s,
        })
    };
    let alarm = |alarm: &FoundIncident| {
        json!({
            "id": alarm.id, "host": replayed.hosts[alarm.host].host, "at": moment::rfc3339(alarm.at_us),
            "anomalies": alarm.anomalies.len(),
        })
    };
    let mut page = json!({
        "from": time(replayed.span.from),
        "to": time(replayed.span.until),
        "took_s": replayed.took.as_secs_f64(),
        "host_seconds": seconds,
        "times_real_time": seconds as f64 / replayed.took.as_secs_f64().max(1e-9),
        "raw_from": time(replayed.bounds.raw_from),
        "hosts": replayed.hosts.iter().map(|host| json!({
            "host": host.host, "seconds": host.seconds, "rolled_seconds": host.rolled_seconds,
            "empty_seconds": host.empty_seconds, "series": host.series, "left_out": host.left_out,
            "anomalies": host.anomalies.len(), "unkept": host.unkept,
        })).collect::<Vec<_>>(),
        "anomalies": replayed.hosts.iter().flat_map(|host| &host.anomalies).map(anomaly).collect::<Vec<_>>(),
        "incidents": replayed.alarms.iter().map(alarm).collect::<Vec<_>>(),
        "incidents_a_host_and_day": per_day(replayed.alarms.len(), seconds),
        "marked": {
            "from": replayed.marked,
            "incidents": compared.incidents.iter().map(outcome).collect::<Vec<_>>(),
            "elsewhere": compared.elsewhere,
            "found": compared.found(),
            "missed": compared.incidents.len() - compared.found(),
            "false": compared.false_alarms.iter().map(|at| &replayed.alarms[*at].id).collect::<Vec<_>>(),
            "precision": compared.precision,
            "recall": compared.recall,
            "false_a_host_and_day": compared.false_a_day,
        },
    });
    if calibrate {
        let claims = claims(replayed);
        page["calibration"] = json!({ "points": claims.points(), "claims": claims.lines() });
    }
    page
}

fn anomaly(row: &AnomalyRow) -> Value {
    let mut value = serde_json::to_value(row).unwrap_or_default();
    value["at"] = moment::rfc3339(row.at_us).into();
    value
}
