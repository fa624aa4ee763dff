//! The watch of a whole host, over made-up seconds in the catalogue's own families: quiet when nothing is
//! wrong, right about who did it, the same after a snapshot, and bounded.

use fettle_analysis::health::{Grade, Health, Outlook};
use fettle_analysis::live::{AnomalyKind, AnomalyRow, Findings, HostWatch, LiveConfig, Outlooks, Plan};
use fettle_analysis::second::{KeyValue, RawCell, RawEntity, RawFamily, RawSecond};
use fettle_shared::catalogue::{catalogue, Family, MetricKind};
use fettle_shared::frame::Reduction;

/// The families of the made-up host and how many entities each has; 0: it is about the host.
const PARTS: [(&str, usize); 8] = [
    ("cpu", 3),
    ("load", 0),
    ("memory", 0),
    ("vm", 0),
    ("disk", 2),
    ("network", 2),
    ("scheduler", 0),
    ("process", 30),
];
const BEGIN: u32 = 1_700_000_000;

/// A host whose every metric wanders about a level of its own.
struct Host {
    random: u64,
    counters: Vec<i64>,
    /// Ticks of processor time a second of one more process, and what they came to; 0: it does not run.
    miner: (i64, i64),
}

impl Host {
    fn new() -> Self {
        Self { random: 7, counters: Vec::new(), miner: (0, 0) }
    }

    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The cell of one series: a level with noise, or a counter that grows by it. `more` multiplies the level.
    fn cell(&mut self, at: usize, family: &Family, metric: usize, more: f64) -> RawCell {
        let noise = (self.random() + self.random() + self.random()) * 20.0;
        let level = ((100 + 10 * (at % 17)) as f64 * more + noise) as i64;
        if self.counters.len() <= at {
            self.counters.resize(at + 1, 1_000);
        }
        let value = match family.metrics[metric].kind {
            MetricKind::Counter => {
                self.counters[at] += level;
                self.counters[at]
            }
            MetricKind::Gauge => level,
        };
        RawCell { reduction: Reduction { min: value, max: value, sum: value, last: value }, count: 1 }
    }

    fn miner(&mut self) -> (usize, Vec<KeyValue>, Vec<RawCell>) {
        let index = catalogue().families.iter().position(|f| f.name == "process").expect("it has processes");
        let family = &catalogue().families[index];
        self.miner.1 += self.miner.0;
        let cell = |value| RawCell {
            reduction: Reduction { min: value, max: value, sum: value, last: value },
            count: 1,
        };
        let mut cells = vec![cell(0); family.metrics.len()];
        cells[family.metric_index("utime_ticks").expect("it has processor time")] = cell(self.miner.1);
        (index, vec![KeyValue::Int(99), KeyValue::Int(1), KeyValue::Text("miner-7".into())], cells)
    }

    /// One second; `fault` of a family and a metric's name multiplies its levels.
    fn second(
        &mut self,
        second: u32,
        fault: Option<(&str, &str, f64)>,
        watch: &mut HostWatch,
        plan: &Plan,
    ) -> Findings {
        let mut cells: Vec<(usize, Vec<KeyValue>, Vec<RawCell>)> = Vec::new();
        let mut at = 0;
        for (name, entities) in PARTS {
            let index =
                catalogue().families.iter().position(|f| f.name == name).expect("the catalogue has it");
            let family = &catalogue().families[index];
            for entity in 0..entities.max(1) {
                let key = family.entity.iter().enumerate().map(|(column, c)| match (name, c.kind) {
                    ("cpu", _) if entity == 2 => KeyValue::Text("all".into()),
                    (_, fettle_shared::catalogue::EntityType::Text) => {
                        KeyValue::Text(format!("n{entity}").into())
                    }
                    _ => KeyValue::Int((entity + column) as u64),
                });
                let key = key.collect();
                let row = (0..family.metrics.len()).map(|metric| {
                    at += 1;
                    let hit = fault.filter(|(f, m, _)| *f == name && *m == family.metrics[metric].name);
                    self.cell(at, family, metric, hit.map_or(1.0, |(_, _, more)| more))
                });
                let row = row.collect();
                cells.push((index, key, row));
            }
        }
        cells.extend((self.miner.0 > 0).then(|| self.miner()));
        cells.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut families: Vec<RawFamily<'_>> = Vec::new();
        for (family, key, cells) in &cells {
            let entity = RawEntity { key, last_us: i64::from(second) * 1_000_000 + 900_000, cells };
            match families.last_mut() {
                Some(last) if last.family == *family => last.entities.push(entity),
                _ => families.push(RawFamily { family: *family, entities: vec![entity] }),
            }
        }
        let raw = RawSecond { host: "web-1", second, families };
        let reduced = watch.reduce(&raw, plan);
        watch.second(&reduced, plan)
    }
}

fn plan() -> Plan {
    Plan::new(catalogue(), LiveConfig::default())
}

/// The anomalies of these seconds.
fn run(
    host: &mut Host,
    watch: &mut HostWatch,
    plan: &Plan,
    seconds: std::ops::Range<u32>,
    fault: Option<(&str, &str, f64)>,
) -> Vec<AnomalyRow> {
    seconds.flat_map(|s| host.second(BEGIN + s, fault, watch, plan).anomalies).collect()
}

#[test]
fn a_quiet_hour_says_nothing_and_a_fault_is_named_within_seconds() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    let quiet = run(&mut host, &mut watch, &plan, 0..3600, None);
    let incidents: std::collections::BTreeSet<&str> = quiet.iter().map(|row| row.incident.as_str()).collect();
    assert!(incidents.len() <= 1, "{} incidents in a quiet hour: {quiet:#?}", incidents.len());
    assert!(watch.series() > 500, "{}", watch.series());
    let found = run(&mut host, &mut watch, &plan, 3600..3660, Some(("process", "rss_bytes", 40.0)));
    let first = found.iter().find(|row| row.kind == AnomalyKind::Series).expect("the fault is found");
    assert!(first.at_us <= i64::from(BEGIN + 3605) * 1_000_000, "{first:?}");
    assert_eq!((first.family.as_str(), first.metric.as_str()), ("process", "rss_bytes"));
    assert!(first.entity.contains_key("pid") && first.entity.contains_key("comm"), "{first:?}");
    assert!(first.value > first.high && !first.reason.is_empty(), "{first:?}");
    assert_eq!(first.incident, format!("web-1-{}", first.at_us / 1_000_000 - 1));
    assert!(found.len() <= 3 * plan.config.named, "one report, not {}", found.len());
}

#[test]
fn a_host_of_seven_minutes_tells_of_a_sudden_change_in_its_second() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    assert_eq!(run(&mut host, &mut watch, &plan, 0..420, None), []);
    let fault = Some(("scheduler", "context_switches", 10_000.0));
    let found = run(&mut host, &mut watch, &plan, 420..425, fault);
    let first = found.iter().find(|row| row.kind == AnomalyKind::Host).expect("the fault is found");
    assert_eq!(first.at_us, i64::from(BEGIN + 421) * 1_000_000, "{first:?}");
    assert_eq!(first.names[0].name, "scheduler.context_switches");
    assert!(first.reason.contains("times as far above its level"), "{}", first.reason);
    assert_eq!(found.iter().filter(|row| row.kind == AnomalyKind::Host).count(), 1, "{found:#?}");
}

#[test]
fn a_program_never_seen_that_takes_a_processor_is_named() {
    let (plan, mut host) = (plan(), Host::new());
    let mut watch = HostWatch::new("web-1", &plan);
    assert!(run(&mut host, &mut watch, &plan, 0..600, None).is_empty());
    // In its first second a process has no rate yet.
    host.miner.0 = 97;
    let rows = run(&mut host, &mut watch, &plan, 600..602, None);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].names[0].name, "process.cores{comm=miner}");
    assert_eq!(rows[0].reason, "program miner takes 0.97 of a processor, before not at all");
    assert!((0.96..0.98).contains(&rows[0].names[0].seen) && rows[0].names[0].share > 0.9, "{rows:?}");
    assert!(run(&mut host, &mut watch, &plan, 602..640, None)
        .iter()
        .all(|r| r.kind == AnomalyKind::Together));
}

#[test]
fn the_same_burst_five_minutes_later_is_found_again() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    run(&mut host, &mut watch, &plan, 0..1200, None);
    let mut incidents = std::collections::BTreeSet::new();
    for begin in [1200, 1540] {
        let fault = Some(("process", "rss_bytes", 40.0));
        let found = run(&mut host, &mut watch, &plan, begin..begin + 40, fault);
        let first = found.iter().find(|row| row.kind == AnomalyKind::Series);
        let first = first.unwrap_or_else(|| panic!("the burst at {begin} is found: {found:#?}"));
        assert_eq!(first.series().split('{').next(), Some("process.rss_bytes"), "{first:?}");
        assert!(first.at_us <= i64::from(BEGIN + begin + 3) * 1_000_000, "{first:?}");
        incidents.insert(first.incident.clone());
        run(&mut host, &mut watch, &plan, begin + 40..begin + 340, None);
    }
    assert_eq!(incidents.len(), 2, "two incidents, not one: {incidents:?}");
}

#[test]
fn the_hot_view_has_every_series_alarms_newest_first() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    run(&mut host, &mut watch, &plan, 0..600, None);
    run(&mut host, &mut watch, &plan, 600..620, Some(("process", "rss_bytes", 40.0)));
    let all = watch.recent_rows(None, 10_000, &plan);
    assert!(all.len() >= 30 && all.windows(2).all(|two| two[0].at_us >= two[1].at_us), "{}", all.len());
    assert_eq!(watch.recent_rows(None, 7, &plan), all[..7]);
    let rss = watch.recent_rows(Some("process.rss_bytes"), 10_000, &plan);
    assert!(
        rss.len() >= 30 && rss.iter().all(|row| row.series.starts_with("process.rss_bytes{")),
        "{rss:#?}"
    );
    let one = watch.recent_rows(Some(&rss[0].series), 10_000, &plan);
    assert!(!one.is_empty() && one.len() < rss.len() && one.iter().all(|row| row.series == rss[0].series));
    assert!(one.iter().all(|row| row.score >= 0.5 && !row.reason.is_empty()), "{one:#?}");
    assert_eq!(watch.recent_rows(Some("process.rss"), 10, &plan), []);
}

/// Seconds of a host with one component, whose counter of restarts is at these values.
fn components(watch: &mut HostWatch, plan: &Plan, seconds: std::ops::Range<u32>, restarts: i64) -> Findings {
    let index = catalogue().families.iter().position(|family| family.name == "component");
    let index = index.expect("the catalogue has it");
    let family = &catalogue().families[index];
    let key = ["web", "supervised"].map(|word| KeyValue::Text(word.into()));
    let mut newest = Findings::default();
    for second in seconds {
        let value = |metric: usize| if family.metrics[metric].name == "restarts" { restarts } else { 1 };
        let cells: Vec<RawCell> = (0..family.metrics.len())
            .map(value)
            .map(|v| RawCell { reduction: Reduction { min: v, max: v, sum: v, last: v }, count: 1 })
            .collect();
        let last_us = i64::from(BEGIN + second) * 1_000_000 + 900_000;
        let entities = vec![RawEntity { key: &key, last_us, cells: &cells }];
        let families = vec![RawFamily { family: index, entities }];
        let reduced = watch.reduce(&RawSecond { host: "web-1", second: BEGIN + second, families }, plan);
        let findings = watch.second(&reduced, plan);
        if findings.health.is_some() {
            newest = findings;
        }
    }
    newest
}

/// Why a fact cost points.
fn lost(health: &Health, fact: &str) -> Option<String> {
    health.deductions.iter().find(|one| one.fact == fact).map(|one| one.reason.clone())
}

#[test]
fn an_end_that_is_near_costs_points_until_nobody_says_so_any_more() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    let mut newest = |watch: &mut HostWatch, seconds: std::ops::Range<u32>| {
        let scores = seconds.filter_map(|second| host.second(BEGIN + second, None, watch, &plan).health);
        scores.collect::<Vec<_>>().pop().expect("a score every ten seconds").health
    };
    let before = newest(&mut watch, 0..60);
    assert_eq!(lost(&before, "memory_outlook"), None);
    assert!(before.missing.iter().any(|fact| fact == "memory_outlook"), "{before:?}");
    let said_at = BEGIN + 59;
    let memory = Outlook::In(3_600.0);
    watch.expect(Outlooks { memory, said_at, until: said_at + 180, ..Outlooks::default() });
    let warned = newest(&mut watch, 60..120);
    assert_eq!(
        lost(&warned, "memory_outlook").unwrap_or_default(),
        "memory is expected to run out in 59 min"
    );
    assert!(warned.score < before.score, "{warned:?} after {before:?}");
    assert_eq!(lost(&newest(&mut watch, 120..300), "memory_outlook"), None);
}

#[test]
fn restarts_of_components_cost_points_for_an_hour() {
    let plan = plan();
    let mut watch = HostWatch::new("web-1", &plan);
    let health = |findings: Findings| findings.health.expect("a score every ten seconds").health;
    let quiet = health(components(&mut watch, &plan, 0..30, 5));
    assert!(!quiet.missing.iter().any(|fact| fact == "restarts_per_h"), "{quiet:?}");
    assert_eq!(lost(&quiet, "restarts_per_h"), None);
    let restarted = health(components(&mut watch, &plan, 30..60, 8));
    let reason = lost(&restarted, "restarts_per_h");
    assert_eq!(reason.unwrap_or_default(), "services fail or restart 3.0 times an hour");

    // After an hour the restarts are past.
    let later = health(components(&mut watch, &plan, 60..3_700, 8));
    assert_eq!(lost(&later, "restarts_per_h"), None);
}

#[test]
fn what_moved_together_is_said_once_an_incident() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    run(&mut host, &mut watch, &plan, 0..1200, None);
    let found = run(&mut host, &mut watch, &plan, 1200..1300, Some(("memory", "dirty_bytes", 30.0)));
    let together: Vec<_> = found.iter().filter(|row| row.kind == AnomalyKind::Together).collect();
    assert_eq!(together.len(), 1, "{found:#?}");
    assert_eq!(together[0].names[0].name, "memory.dirty_bytes", "{together:#?}");
    assert!(together[0].names[0].seen > together[0].names[0].expected);
}

#[test]
fn a_restored_watch_goes_on_as_if_nothing_had_happened() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    run(&mut host, &mut watch, &plan, 0..700, None);
    let bytes = rmp_serde::to_vec(&watch).unwrap();
    let mut restored: HostWatch = rmp_serde::from_slice(&bytes).unwrap();
    assert!(restored.fits(&plan));
    assert_eq!((restored.newest(), restored.series()), (watch.newest(), watch.series()));
    let mut twin = Host { random: host.random, counters: host.counters.clone(), miner: (0, 0) };
    let mut said = 0;
    for second in 700..900 {
        let fault = (second >= 800).then_some(("disk", "write_bytes", 50.0));
        let (one, two) = (
            host.second(BEGIN + second, fault, &mut watch, &plan),
            twin.second(BEGIN + second, fault, &mut restored, &plan),
        );
        said += one.anomalies.len() + usize::from(one.health.is_some());
        assert_eq!(one, two, "{second}");
    }
    assert!(said > 20, "there was something to compare: {said}");
}

#[test]
fn health_is_scored_every_ten_seconds_and_says_what_is_missing() {
    let plan = plan();
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    let mut scores = Vec::new();
    for second in 0..60 {
        scores.extend(host.second(BEGIN + second, None, &mut watch, &plan).health);
    }
    assert_eq!(scores.len(), 6);
    let last = &scores[5].health;
    assert!(last.missing.iter().any(|fact| fact == "disk_fullest_share"), "{last:?}");
    assert_ne!(last.parts[0].known, 0.0, "{last:?}");
    assert!(last.score.is_none() == (last.grade == Grade::Unknown));
}

#[test]
fn series_are_bounded_and_important_families_find_room() {
    let config = LiveConfig { series_per_host: 400, ..LiveConfig::default() };
    let plan = Plan::new(catalogue(), config);
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    let mut last = Findings::default();
    for second in 0..20 {
        last = host.second(BEGIN + second, None, &mut watch, &plan);
    }
    assert!(last.series <= 400 && last.left_out > 0, "{} judged, {} left out", last.series, last.left_out);
}

#[test]
fn the_classical_detector_reports_by_itself_when_it_is_asked_for() {
    use fettle_analysis::detect::series::{Classical, SeriesConfig};
    let series = SeriesConfig { classical: Some(Classical::default()), ..SeriesConfig::default() };
    let plan = Plan::new(catalogue(), LiveConfig { series, ..LiveConfig::default() });
    let (mut host, mut watch) = (Host::new(), HostWatch::new("web-1", &plan));
    let rows = run(&mut host, &mut watch, &plan, 0..120, None);
    assert!(!rows.is_empty(), "two standard deviations are passed all the time");
    assert!(rows.iter().all(|row| row.score >= 0.5));
    assert!(rows.iter().filter(|row| row.at_us == rows[0].at_us).count() <= plan.config.named);
    let (family, metric) = (rows[0].family.as_str(), rows[0].metric.as_str());
    let index = catalogue().families.iter().position(|f| f.name == family).unwrap();
    let own = &catalogue().families[index];
    let key: Vec<KeyValue> = own
        .entity
        .iter()
        .map(|column| {
            let text = &rows[0].entity[&column.name];
            match column.kind {
                fettle_shared::catalogue::EntityType::Text => KeyValue::Text(text.as_str().into()),
                _ => KeyValue::Int(text.parse().unwrap()),
            }
        })
        .collect();
    let recent = watch.recent(index, &key, own.metric_index(metric).unwrap());
    assert!((1..=50).contains(&recent.len()), "{}", recent.len());
}
