//! What the per-series detector costs: `cargo run --release --example series_cost [SERIES] [SECONDS]`.
//! Feeds one point a second to each series, in the order in which seconds come (every series once, then
//! the next second), so that the state is fetched from memory as in the collector. Prints µs a point,
//! share of a core at one point a second, bytes, and the time to write and read a snapshot.

use std::time::Instant;

use fettle_analysis::detect::series::{HostPanel, PanelConfig, SeriesConfig, SeriesMonitor};

#[allow(clippy::print_stdout, reason = "an example's answer")]
fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let mut number = |otherwise| words.next().and_then(Result::ok).unwrap_or(otherwise);
    let (series, seconds) = (number(10_000), number(300));
    let (config, panel_config) = (SeriesConfig::default(), PanelConfig::default());
    let mut monitors: Vec<SeriesMonitor> =
        (0..series).map(|seed| SeriesMonitor::new(seed as u32, &config)).collect();
    let mut panel = HostPanel::new(&panel_config);
    let mut surprises = vec![0.0; series];
    let mut state = 1u64;
    let mut values = vec![0.0f64; series];
    let (mut update_s, mut panel_s, mut alarms) = (0.0, 0.0, 0u32);
    for second in 0..seconds {
        for (at, value) in values.iter_mut().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / f64::from(1u32 << 24);
            // A third each: noise, a wandering level, a constant that seldom moves.
            *value = match at % 3 {
                0 => noise,
                1 => *value + noise - 0.5,
                _ if noise < 0.001 => *value + 1.0,
                _ => *value,
            };
        }
        let begin = Instant::now();
        let at_us = second as i64 * 1_000_000;
        for ((monitor, value), surprise) in monitors.iter_mut().zip(&values).zip(&mut surprises) {
            let verdict = monitor.update(at_us, *value, &config);
            *surprise = verdict.surprise;
            alarms += u32::from(verdict.score >= 0.5);
        }
        update_s += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        panel.judge(at_us, &surprises, &panel_config);
        panel_s += begin.elapsed().as_secs_f64();
    }
    let points = (series * seconds) as f64;
    let (update_us, panel_us) = (update_s * 1e6 / points, panel_s * 1e6 / points);
    println!("{series} series, {seconds} s: {update_us:.3} µs a point and series, panel {panel_us:.4} µs");
    println!("at one point a second: {:.2} % of a core", (update_s + panel_s) / seconds as f64 * 100.0);
    let bytes = std::mem::size_of::<SeriesMonitor>();
    println!("{bytes} bytes a series, {:.1} MB; {alarms} alarms", (bytes * series) as f64 / 1e6);
    let begin = Instant::now();
    let text = serde_json::to_string(&monitors).unwrap_or_default();
    let written = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    let restored: Vec<SeriesMonitor> = serde_json::from_str(&text).unwrap_or_default();
    println!(
        "snapshot {:.1} MB as JSON: written in {written:.2} s, {} series read in {:.2} s",
        text.len() as f64 / 1e6,
        restored.len(),
        begin.elapsed().as_secs_f64()
    );
}
