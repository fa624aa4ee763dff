//! The watch of one host: seconds in, findings out.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::config::Plan;
use super::facts::Facts;
use super::findings::{entity_of, AnomalyKind, AnomalyRow, Findings, HealthRow, Named};
use super::incident::{words, Incident};
use super::outlooks::Outlooks;
use super::recent::{rows, RecentRow};
use super::series::{Candidate, Place, SeriesTable, Surprises};
use super::told;
use crate::detect::correlate::{correlate, Series};
use crate::detect::host::{
    Beyond, Direction, Gate, HostDetector, HostVerdict, Passage, Programs, Spans, Surge, SurgeVerdict, TOLD,
};
use crate::detect::series::{Anomaly, HostPanel, PanelVerdict, Severity};
use crate::health::score;
use crate::rates::Rates;
use crate::second::{HostSecond, KeyValue, RawSecond};

/// Rows of features that are remembered: twenty minutes.
const ROWS: usize = 1200;

/// The last anomalies of one series.
pub type Recent = Vec<Anomaly>;

/// All that is remembered of one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostWatch {
    host: String,
    /// The newest second judged; 0 before the first.
    second: u32,
    rates: Rates,
    series: SeriesTable,
    panel: HostPanel,
    spans: Spans,
    detector: HostDetector,
    gate: Gate,
    /// Whether the detector's newest row is part of a trouble that was reported.
    lasting: bool,
    surge: Surge,
    programs: Programs,
    /// The newest rows of features with their seconds.
    rows: VecDeque<(u32, Box<[f32]>)>,
    incident: Option<Incident>,
    facts: Facts,
    scored: u32,
    #[serde(skip)]
    row: Vec<f32>,
    #[serde(skip)]
    surprises: Surprises,
}

impl Clone for Surprises {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl HostWatch {
    /// A watch that has seen nothing.
    #[must_use]
    pub fn new(host: &str, plan: &Plan) -> Self {
        Self {
            host: host.to_owned(),
            second: 0,
            rates: Rates::new(),
            series: SeriesTable::default(),
            panel: HostPanel::new(&plan.config.panel),
            spans: Spans::new(plan.features.names().len()),
            detector: HostDetector::new(plan.features.names().to_vec(), &plan.config.host),
            gate: Gate::default(),
            lasting: false,
            surge: Surge::new(plan.features.names().len(), &plan.config.surge),
            programs: Programs::default(),
            rows: VecDeque::new(),
            incident: None,
            facts: Facts::default(),
            scored: 0,
            row: Vec::new(),
            surprises: Surprises::default(),
        }
    }

    /// Whether this watch can go on under the plan: its features are the plan's.
    #[must_use]
    pub fn fits(&self, plan: &Plan) -> bool {
        self.detector.names() == plan.features.names()
    }

    /// The host's name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The newest second judged, seconds since 1970; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.second
    }

    /// Series that are judged.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// The last anomalies of a series by positions in the catalogue, oldest first.
    #[must_use]
    pub fn recent(&self, family: usize, key: &[KeyValue], metric: usize) -> Recent {
        self.series.recent(family, key, metric)
    }

    /// The last anomalies of the host's series, newest first, at most `most`. With `series`, those of one series
    /// (`process.rss_bytes{comm=db,pid=17}`, as rows of anomalies have it) or of a metric over all entities
    /// (`process.rss_bytes`).
    #[must_use]
    pub fn recent_rows(&self, series: Option<&str>, most: usize, plan: &Plan) -> Vec<RecentRow> {
        rows(&self.series, series, most, plan.catalogue)
    }

    /// What the newest second's series claimed.
    #[must_use]
    pub fn claims(&self) -> Claims<'_> {
        Claims { pasts: &self.surprises.pasts, rare: &self.surprises.rare }
    }

    /// Says what forecasts and predictions expect of the host; the next health scores count it.
    pub fn expect(&mut self, outlooks: Outlooks) {
        self.facts.outlooks = outlooks;
    }

    /// Turns a raw second into what is judged: counters become rates. Seconds come in order.
    pub fn reduce(&mut self, raw: &RawSecond<'_>, plan: &Plan) -> HostSecond {
        self.rates.second(raw, plan.catalogue)
    }

    /// Judges one second and learns from it. A second not after the one before is not judged.
    pub fn second(&mut self, second: &HostSecond, plan: &Plan) -> Findings {
        if second.second <= self.second {
            return Findings { series: self.series.len(), ..Findings::default() };
        }
        self.second = second.second;
        let at_us = i64::from(second.second) * 1_000_000;
        self.series.judge(second, plan, &mut self.surprises);
        let panel = self.panel.judge(at_us, &self.surprises.all, &plan.config.panel);
        plan.features.row(second, &mut self.row);
        let (surge, programs) = self.sudden(second, plan);
        if !panel.withhold {
            self.series.learn(second, plan, &mut self.surprises);
        }
        let host = self.whole(plan);
        self.keep_row(second.second);
        self.facts.learn(second, plan.catalogue);
        let mut findings =
            Findings { series: self.series.len(), left_out: self.series.left_out(), ..Findings::default() };
        self.report_series(second, panel, plan, &mut findings);
        self.report_host(host, &mut findings);
        self.report_surge(&surge, &programs, plan, &mut findings);
        let odd = panel.troubled || surge.troubled || self.lasting;
        self.follow(odd, plan, &mut findings);
        if second.second >= self.scored.saturating_add(plan.config.health_every_s) {
            self.scored = second.second;
            let health = score(&self.facts.now());
            findings.health = Some(HealthRow { at_us: self.end_us(), host: self.host.clone(), health });
        }
        findings
    }

    fn end_us(&self) -> i64 {
        (i64::from(self.second) + 1) * 1_000_000
    }

    fn keep_row(&mut self, second: u32) {
        while self.rows.len() >= ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back((second, self.row.as_slice().into()));
    }

    /// The incident of this moment; a new one if there is none.
    fn incident(&mut self, severity: Severity) -> String {
        self.facts.reported(self.second, severity);
        let (host, second) = (&self.host, self.second);
        let incident = self.incident.get_or_insert_with(|| Incident::new(host, second, severity));
        incident.severity = incident.severity.max(severity);
        incident.last = second;
        incident.id.clone()
    }

    /// Rows of the series that the panel names, or that the classical detector calls anomalous.
    fn report_series(
        &mut self,
        second: &HostSecond,
        panel: PanelVerdict,
        plan: &Plan,
        findings: &mut Findings,
    ) {
        let classical = plan.config.series.classical.is_some();
        let mut candidates = std::mem::take(&mut self.surprises.candidates);
        let named_from = if classical { f32::NEG_INFINITY } else { panel.name_from };
        if panel.reported || classical {
            candidates.retain(|one| {
                one.verdict.surprise >= named_from && (!classical || one.verdict.severity.is_some())
            });
            let order = |one: &Candidate| if classical { one.verdict.score } else { one.verdict.surprise };
            candidates.sort_by(|a, b| order(b).total_cmp(&order(a)));
            findings.unnamed = candidates.len().saturating_sub(plan.config.named);
            candidates.truncate(plan.config.named);
            let worst = candidates.iter().filter_map(|one| one.verdict.severity).max();
            let severity = if classical { worst } else { panel.severity };
            if let (Some(severity), false) = (severity, candidates.is_empty()) {
                let incident = self.incident(severity);
                let row = |one: &Candidate| {
                    let severity =
                        if classical { one.verdict.severity.unwrap_or(severity) } else { severity };
                    self.series_row(second, one, severity, incident.clone(), plan)
                };
                findings.anomalies.extend(candidates.iter().map(row));
            }
        }
        candidates.clear();
        self.surprises.candidates = candidates;
    }

    fn series_row(
        &self,
        second: &HostSecond,
        one: &Candidate,
        severity: Severity,
        incident: String,
        plan: &Plan,
    ) -> AnomalyRow {
        let Place { family: position, entity, metric } = one.at;
        let family = &plan.catalogue.families[position];
        let key = second.family(position).and_then(|seen| seen.entities.get(entity)).map(|e| &e.key);
        let entity = key.map(|key| entity_of(family, key)).unwrap_or_default();
        AnomalyRow {
            at_us: self.end_us(),
            host: self.host.clone(),
            kind: AnomalyKind::Series,
            family: family.name.clone(),
            metric: family.metrics[metric].name.clone(),
            entity,
            value: Some(one.value),
            low: Some(f64::from(one.verdict.low)),
            high: Some(f64::from(one.verdict.high)),
            score: one.verdict.score,
            tail: one.verdict.tail,
            severity,
            reason: one.verdict.reason.to_string(),
            names: Vec::new(),
            incident,
        }
    }

    /// What the detector says of the features' means over the span that is over with this second, if it is a report.
    fn whole(&mut self, plan: &Plan) -> Option<HostVerdict> {
        let (begin, mean) = self.spans.add(self.second, &self.row)?;
        let verdict = self.detector.update(i64::from(begin) * 1_000_000, mean);
        let config = &plan.config;
        let (reports, learning_s) = (config.panel.reports_a_day, config.host_learning_s);
        let passage = self.gate.pass(self.second, &verdict, reports, learning_s, config.calm_s);
        self.lasting = passage != Passage::Usual;
        (passage == Passage::Report).then_some(verdict)
    }

    /// A row about the host's features together, if there is something to report.
    fn report_host(&mut self, verdict: Option<HostVerdict>, findings: &mut Findings) {
        let Some((verdict, severity)) = verdict.and_then(|verdict| verdict.severity.map(|s| (verdict, s)))
        else {
            return;
        };
        let incident = self.incident(severity);
        let names: Vec<Named> = verdict
            .named()
            .map(|one| Named {
                name: self.detector.names()[usize::from(one.feature)].clone(),
                share: one.share,
                seen: f64::from(one.seen),
                expected: f64::from(one.expected),
            })
            .collect();
        let told = verdict.named().zip(&names).take(3).map(|(one, named)| {
            let way = if one.direction == Direction::Up { "above" } else { "below" };
            format!("{} {:.4} {way} the expected {:.4}", named.name, named.seen, named.expected)
        });
        let reason = told.collect::<Vec<_>>().join("; ");
        findings.anomalies.push(AnomalyRow {
            value: None,
            low: None,
            high: None,
            score: verdict.score,
            tail: verdict.tail,
            ..self.whole_host(AnomalyKind::Host, severity, reason, names, incident)
        });
    }

    /// How suddenly features and programs change; of programs those that take more than ever, oddest first.
    fn sudden(&mut self, second: &HostSecond, plan: &Plan) -> (SurgeVerdict, Vec<Beyond>) {
        let (config, matters) = (&plan.config.surge, plan.features.matters());
        let Some(places) = &plan.programs else {
            return (self.surge.judge(second.second, &self.row, matters, &[], config), Vec::new());
        };
        let matter = places.matter(second);
        let beyond = self.programs.judge(second.second, places.running(second), matter, config.clip);
        let verdict = self.surge.judge(second.second, &self.row, matters, &beyond, config);
        self.programs.learn(verdict.troubled, matter, config.adopt_after_s);
        (verdict, beyond)
    }

    /// A row about features and programs that went far beyond all that was seen of them.
    fn report_surge(
        &mut self,
        surge: &SurgeVerdict,
        programs: &[Beyond],
        plan: &Plan,
        findings: &mut Findings,
    ) {
        let Some(severity) = surge.severity else { return };
        let incident = self.incident(severity);
        let clip = plan.config.surge.clip;
        let features = surge.told.iter().map(|one| {
            let name = &self.detector.names()[one.feature];
            (one.doublings, told::feature(name, one, clip), told::named(name.clone(), one.seen, one.expected))
        });
        let programs = programs.iter().filter(|one| one.doublings > 0.0);
        let programs = programs.map(|one| (one.doublings, told::program(one), told::named_program(one)));
        let mut all: Vec<(f32, String, Named)> = features.chain(programs).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.truncate(TOLD);
        let reason = all.iter().take(3).map(|(_, words, _)| words.as_str()).collect::<Vec<_>>().join("; ");
        let share = |doublings: f32| doublings / surge.doublings.max(1e-6);
        let names = all.into_iter().map(|(doublings, _, named)| Named { share: share(doublings), ..named });
        let names = names.collect();
        findings.anomalies.push(AnomalyRow {
            score: 1.0 - 0.5 * (1.0 - surge.doublings / surge.needed).exp(),
            ..self.whole_host(AnomalyKind::Host, severity, reason, names, incident)
        });
    }

    fn whole_host(
        &self,
        kind: AnomalyKind,
        severity: Severity,
        reason: String,
        names: Vec<Named>,
        incident: String,
    ) -> AnomalyRow {
        AnomalyRow {
            at_us: self.end_us(),
            host: self.host.clone(),
            kind,
            family: String::new(),
            metric: String::new(),
            entity: Default::default(),
            value: None,
            low: None,
            high: None,
            score: 0.0,
            tail: 1.0,
            severity,
            reason,
            names,
            incident,
        }
    }

    /// Keeps the incident open while it lasts, and says what moved together when it is old enough.
    fn follow(&mut self, odd: bool, plan: &Plan, findings: &mut Findings) {
        let second = self.second;
        let Some(incident) = &mut self.incident else { return };
        if odd {
            incident.last = second;
        }
        if !incident.told && second >= incident.begin.saturating_add(plan.config.together_after_s) {
            incident.told = true;
            let (begin, severity, id) = (incident.begin, incident.severity, incident.id.clone());
            findings.anomalies.extend(self.together(begin, severity, id, plan));
        }
        let over =
            |incident: &Incident| incident.told && second.saturating_sub(incident.last) > plan.config.calm_s;
        if self.incident.as_ref().is_some_and(over) {
            self.incident = None;
        }
    }

    fn together(&self, begin: u32, severity: Severity, incident: String, plan: &Plan) -> Option<AnomalyRow> {
        let from = self.rows.partition_point(|(second, _)| *second < begin);
        let names = plan.features.names();
        let columns: Vec<Vec<f32>> =
            (0..names.len()).map(|at| self.rows.iter().map(|(_, row)| row[at]).collect()).collect();
        let series: Vec<Series<'_>> =
            names.iter().zip(&columns).map(|(name, values)| Series { name, values }).collect();
        let together = correlate(&series, from, 1.0, &plan.config.together);
        if together.moves.is_empty() {
            return None;
        }
        let strength = together.links.first().map_or(0.0, |link| link.strength);
        let (reason, names) = words(&together);
        let row = self.whole_host(AnomalyKind::Together, severity, reason, names, incident);
        Some(AnomalyRow { score: strength, ..row })
    }
}
