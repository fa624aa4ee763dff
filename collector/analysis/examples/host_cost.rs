//! What the views of a whole host cost: `cargo run --release -p fettle-analysis --example host_cost [PROCESSES] [SECONDS]`.
//! Feeds a wandering row of 48 features and some processes a second; prints µs a second for the host detector (which is
//! fed a row every ten seconds), for the sudden change and for the programs, their sum, and the worst seconds.

use std::time::Instant;

use fettle_analysis::detect::host::{
    HostConfig, HostDetector, Programs, ProgramsMatter, Running, Spans, Surge, SurgeConfig, SPAN_S,
};

const FEATURES: usize = 48;
/// Programs that run for one second each, in the first seconds: as many as are remembered of a host in use.
const PASSING: u32 = 600;

/// A host and all that is remembered of it.
struct Host {
    config: SurgeConfig,
    spans: Spans,
    detector: HostDetector,
    surge: Surge,
    programs: Programs,
    comms: Vec<String>,
    row: Vec<f32>,
    random: u64,
}

impl Host {
    fn new(processes: usize) -> Self {
        let names: Vec<String> = (0..FEATURES).map(|at| format!("f{at}")).collect();
        let config = SurgeConfig::default();
        Self {
            spans: Spans::new(FEATURES),
            detector: HostDetector::new(names, &HostConfig::default()),
            surge: Surge::new(FEATURES, &config),
            programs: Programs::default(),
            comms: (0..processes).map(|at| format!("program{}-{at}", at % 40)).collect(),
            row: vec![100.0; FEATURES],
            random: 1,
            config,
        }
    }

    fn wander(&mut self) {
        for value in &mut self.row {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value = 0.9 * *value + 20.0 * (self.random >> 40) as f32 / (1u32 << 24) as f32;
        }
    }

    /// One second; µs of the detector, the sudden change and the programs.
    fn second(&mut self, second: u32) -> [f64; 3] {
        self.wander();
        let passing = (second <= PASSING).then(|| format!("passing{second}x"));
        let matter = ProgramsMatter { cores: 0.03, memory: 0.01 };
        let begin = Instant::now();
        if let Some((at, mean)) = self.spans.add(second, &self.row) {
            self.detector.update(i64::from(at) * 1_000_000, mean);
        }
        let detector = begin.elapsed();
        let comms = passing.iter().chain(&self.comms);
        let running = comms.zip(self.row.iter().cycle()).map(|(comm, value)| Running {
            comm,
            cores: value * 1e-4,
            memory: 0.001,
        });
        let begin = Instant::now();
        let beyond = self.programs.judge(second, running, matter, self.config.clip);
        let judged = begin.elapsed();
        let begin = Instant::now();
        let verdict = self.surge.judge(second, &self.row, &[5.0; FEATURES], &beyond, &self.config);
        let surge = begin.elapsed();
        let begin = Instant::now();
        self.programs.learn(verdict.troubled, matter, self.config.adopt_after_s);
        [detector, surge, judged + begin.elapsed()].map(|spent| spent.as_secs_f64() * 1e6)
    }
}

#[allow(clippy::print_stdout, reason = "an example's answer")]
fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let mut number = |otherwise| words.next().and_then(Result::ok).unwrap_or(otherwise);
    let (processes, seconds) = (number(100), number(200_000).max(10));
    let mut host = Host::new(processes);
    // The first seconds, in which trees are grown all the time, are not what a host costs day by day.
    let first = seconds as u32 / 5;
    for second in 1..=first {
        host.second(second);
    }
    let costs: Vec<[f64; 3]> = (first + 1..=seconds as u32).map(|second| host.second(second)).collect();
    let mean = |part: usize| costs.iter().map(|cost| cost[part]).sum::<f64>() / costs.len() as f64;
    let mut sums: Vec<f64> = costs.iter().map(|cost| cost.iter().sum()).collect();
    sums.sort_by(f64::total_cmp);
    let rank = |share: f64| sums[((sums.len() - 1) as f64 * share) as usize];
    let [detector, surge, programs] = [0, 1, 2].map(mean);
    let row = detector * f64::from(SPAN_S);
    println!("{FEATURES} features, {processes} processes, µs a host and second, means of {}:", costs.len());
    println!("host detector {detector:.2} ({row:.1} each {SPAN_S} s), sudden change {surge:.2}, programs {programs:.2}");
    println!(
        "all {:.2}; a second: half below {:.1}, 99 of 100 below {:.1}, the worst {:.0}",
        detector + surge + programs,
        rank(0.5),
        rank(0.99),
        rank(1.0)
    );
}
