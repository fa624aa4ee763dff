//! What was found against what was marked: found or missed, how early or late, and what was false.
//!
//! An alarm belongs to an incident of its host when it comes from [`Rules::lead_s`] before its begin up to
//! its end. An incident is found by the first alarm that belongs to it. An alarm that belongs to none is
//! false. Precision is the share of alarms that are not false, recall the share of incidents found;
//! incidents of hosts or times that were not replayed are left out and counted.

use serde::{Deserialize, Serialize};

use crate::bounds::Span;

/// An incident that a person marked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Host it happened on.
    pub host: String,
    /// When it began, µs since 1970.
    pub begin_us: i64,
    /// When it was over, µs since 1970.
    pub end_us: i64,
    /// What kind of trouble.
    pub kind: String,
    /// What a person has to say of it.
    #[serde(default)]
    pub note: String,
}

/// An alarm of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm<'a> {
    /// The host.
    pub host: &'a str,
    /// When, µs since 1970.
    pub at_us: i64,
}

/// When an alarm belongs to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// An alarm this long before the marked begin is early, not false; seconds.
    pub lead_s: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { lead_s: 60 }
    }
}

/// What became of one incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The incident.
    pub incident: Incident,
    /// Place in the list of alarms of the first that belongs to it; none: it was missed.
    pub found_by: Option<usize>,
    /// Seconds from its begin to that alarm; negative: it was seen before.
    pub delay_s: Option<f64>,
}

/// The comparison of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The incidents of the hosts and times that were replayed, by begin.
    pub incidents: Vec<Outcome>,
    /// Incidents that lie elsewhere.
    pub elsewhere: usize,
    /// Places in the list of alarms of those that belong to no incident.
    pub false_alarms: Vec<usize>,
    /// Share of alarms that belong to an incident; none without alarms.
    pub precision: Option<f64>,
    /// Share of incidents found; none without incidents.
    pub recall: Option<f64>,
    /// False alarms a host and day; none when nothing was replayed.
    pub false_a_day: Option<f64>,
}

impl Comparison {
    /// How many incidents were found.
    pub fn found(&self) -> usize {
        self.incidents.iter().filter(|outcome| outcome.found_by.is_some()).count()
    }
}

/// Compares. `alarms` are in the order of their times host by host; `host_seconds` is what was replayed,
/// over all hosts.
pub fn compare(
    alarms: &[Alarm<'_>],
    incidents: &[Incident],
    hosts: &[String],
    span: Span,
    host_seconds: u64,
    rules: Rules,
) -> Comparison {
    let (from_us, until_us) = (micros(span.from), micros(span.until));
    let here = |incident: &&Incident| {
        hosts.contains(&incident.host) && incident.end_us >= from_us && incident.begin_us < until_us
    };
    let belongs = |alarm: &Alarm<'_>, incident: &Incident| {
        let earliest = incident.begin_us.saturating_sub(i64::from(rules.lead_s) * 1_000_000);
        alarm.host == incident.host && (earliest..=incident.end_us).contains(&alarm.at_us)
    };
    let mut outcomes: Vec<Outcome> = incidents
        .iter()
        .filter(here)
        .map(|incident| {
            let belonging = alarms.iter().enumerate().filter(|(_, alarm)| belongs(alarm, incident));
            let first = belonging.min_by_key(|(_, alarm)| alarm.at_us);
            Outcome {
                incident: incident.clone(),
                found_by: first.map(|(at, _)| at),
                delay_s: first.map(|(_, alarm)| (alarm.at_us - incident.begin_us) as f64 / 1e6),
            }
        })
        .collect();
    outcomes.sort_by(|a, b| {
        (a.incident.begin_us, &a.incident.host).cmp(&(b.incident.begin_us, &b.incident.host))
    });
    let false_alarms: Vec<usize> = (0..alarms.len())
        .filter(|at| !incidents.iter().any(|incident| belongs(&alarms[*at], incident)))
        .collect();
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let found = outcomes.iter().filter(|outcome| outcome.found_by.is_some()).count();
    Comparison {
        elsewhere: incidents.len() - outcomes.len(),
        precision: share(alarms.len() - false_alarms.len(), alarms.len()),
        recall: share(found, outcomes.len()),
        false_a_day: (host_seconds > 0).then(|| false_alarms.len() as f64 / (host_seconds as f64 / 86_400.0)),
        incidents: outcomes,
        false_alarms,
    }
}

fn micros(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(host: &str, begin_s: i64, end_s: i64) -> Incident {
        Incident {
            host: host.into(),
            begin_us: begin_s * 1_000_000,
            end_us: end_s * 1_000_000,
            kind: "cpu".into(),
            note: String::new(),
        }
    }

    #[test]
    fn alarms_are_matched_by_host_and_time() {
        let alarms = [
            Alarm { host: "a", at_us: 950_000_000 },   // 50 s early
            Alarm { host: "a", at_us: 1_010_000_000 }, // in it again
            Alarm { host: "b", at_us: 1_010_000_000 }, // another host: false
            Alarm { host: "a", at_us: 9_000_000_000 }, // false
            Alarm { host: "b", at_us: 2_003_000_000 }, // 3 s late
        ];
        let incidents = [
            incident("b", 2_000, 2_100),
            incident("a", 1_000, 1_100),
            incident("a", 5_000, 5_100),
            incident("elsewhere", 1_000, 1_100),
            incident("a", 100_000, 100_100),
        ];
        let hosts = ["a".to_owned(), "b".to_owned()];
        let got = compare(
            &alarms,
            &incidents,
            &hosts,
            Span { from: 0, until: 10_000 },
            2 * 43_200,
            Rules::default(),
        );
        let delays: Vec<Option<f64>> = got.incidents.iter().map(|outcome| outcome.delay_s).collect();
        assert_eq!(delays, [Some(-50.0), Some(3.0), None]);
        assert_eq!((got.found(), got.elsewhere), (2, 2));
        assert_eq!(got.false_alarms, [2, 3]);
        assert_eq!(got.precision, Some(0.6));
        assert!((got.recall.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(got.false_a_day, Some(2.0));
    }

    #[test]
    fn without_alarms_and_incidents_nothing_is_claimed() {
        let got = compare(&[], &[], &[], Span { from: 0, until: 1 }, 0, Rules::default());
        assert_eq!((got.precision, got.recall, got.false_a_day), (None, None, None));
    }
}
