//! What the views of a whole host cost: `cargo run --release -p fettle-analysis --example host_cost [PROCESSES] [SECONDS]`.
//! Feeds a wandering row of 48 features and some processes a second; prints µs a second for the host
//! detector, for the sudden change, and for the programs.

use std::time::Instant;

use fettle_analysis::detect::host::{
    HostConfig, HostDetector, Programs, ProgramsMatter, Running, Surge, SurgeConfig,
};

const FEATURES: usize = 48;

#[allow(clippy::print_stdout, reason = "an example's answer")]
fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let mut number = |otherwise| words.next().and_then(Result::ok).unwrap_or(otherwise);
    let (processes, seconds) = (number(100), number(100_000));
    let names: Vec<String> = (0..FEATURES).map(|at| format!("f{at}")).collect();
    let config = SurgeConfig::default();
    let mut detector = HostDetector::new(names, &HostConfig::default());
    let (mut surge, mut programs) = (Surge::new(FEATURES, &config), Programs::default());
    let comms: Vec<String> = (0..processes).map(|at| format!("program{}-{at}", at % 40)).collect();
    let matter = ProgramsMatter { cores: 0.03, memory: 0.01 };
    let (mut row, matters) = (vec![100.0f32; FEATURES], [5.0; FEATURES]);
    let mut state = 1u64;
    let mut costs = [0.0; 3];
    // The first seconds, in which trees are grown all the time, are not what a host costs day by day.
    let first = seconds as u32 / 10;
    for second in 1..=seconds as u32 {
        if second == first {
            costs = [0.0; 3];
        }
        for value in &mut row {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value = 0.9 * *value + 20.0 * (state >> 40) as f32 / (1u32 << 24) as f32;
        }
        let begin = Instant::now();
        detector.update(i64::from(second) * 1_000_000, &row);
        costs[0] += begin.elapsed().as_secs_f64();
        let running = comms.iter().zip(row.iter().cycle()).map(|(comm, value)| Running {
            comm,
            cores: value * 1e-4,
            memory: 0.001,
        });
        let begin = Instant::now();
        let beyond = programs.judge(second, running, matter, config.clip);
        costs[2] += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let verdict = surge.judge(second, &row, &matters, &beyond, &config);
        costs[1] += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        programs.learn(verdict.troubled, matter, config.adopt_after_s);
        costs[2] += begin.elapsed().as_secs_f64();
    }
    let [detector, surge, programs] =
        costs.map(|cost| cost * 1e6 / f64::from((seconds as u32 - first).max(1)));
    println!(
        "{FEATURES} features: host detector {detector:.2} µs, sudden change {surge:.2} µs a host and second"
    );
    println!("{processes} processes: programs {programs:.2} µs a host and second");
}
