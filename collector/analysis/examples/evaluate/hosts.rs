//! `evaluate hosts --data DIR --out DIR [--config FILE.json] [--parts DIR]`: every host that DIR/labels.json
//! names (only where its scored rows begin and its sampling interval are read from there). Prints what a
//! row cost, the memory of a detector, and which metrics the alarms name. `--parts` writes the parts' scores.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use fettle_analysis::detect::host::{HostConfig, HostDetector};
use fettle_analysis::eval::hosts as eval;
use serde::Deserialize;

use crate::Arguments;

#[derive(Deserialize)]
struct Host {
    scored_from: u64,
    seconds: u32,
}

#[allow(clippy::print_stdout, reason = "an example's answer")]
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let config: HostConfig = match arguments.option("--config") {
        Some(path) => parse(Path::new(path))?,
        None => HostConfig::default(),
    };
    let hosts: BTreeMap<String, Host> = parse(&arguments.data.join("labels.json"))?;
    std::fs::create_dir_all(&arguments.out)
        .map_err(|e| format!("can't make {}: {e}", arguments.out.display()))?;
    let (mut rows, mut seconds, mut bytes) = (0, 0.0, 0);
    for (name, host) in &hosts {
        let text = read(&arguments.data.join(format!("{name}.csv")))?;
        let begin = Instant::now();
        let scores = eval::detect(&text, host.scored_from, host.seconds, &config)
            .map_err(|e| format!("{name}: {e}"))?;
        seconds += begin.elapsed().as_secs_f64();
        write(&arguments.out.join(format!("{name}.csv")), &scores)?;
        let mut named: BTreeMap<String, f32> = BTreeMap::new();
        let mut parts = String::from("sample,forecast,forest,profile\n");
        let mut top = Vec::new();
        let detector = eval::judge(&text, host.seconds, &config, |sample, verdict| {
            rows += 1;
            let part = |i: usize| verdict.parts[i].unwrap_or(0.0);
            let _ = writeln!(parts, "{sample},{},{},{}", part(0), part(1), part(2));
            if sample >= host.scored_from && verdict.score >= 0.5 {
                top.extend(verdict.named().next().copied());
            }
        })
        .map_err(|e| format!("{name}: {e}"))?;
        bytes = detector.bytes();
        for attribution in top {
            *named.entry(detector.names()[usize::from(attribution.feature)].clone()).or_default() += 1.0;
        }
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by(|a, b| b.1.total_cmp(&a.1));
        let words: Vec<_> = named.iter().take(5).map(|(name, rows)| format!("{name} {rows}")).collect();
        println!("{name}: alarm rows by the metric named first: {}", words.join(", "));
        if let Some(folder) = arguments.option("--parts") {
            write(&Path::new(folder).join(format!("{name}.csv")), &parts)?;
        }
    }
    println!(
        "hosts: {} hosts, {rows} rows, {:.2} µs a row with reading the text, {bytes} bytes a detector",
        hosts.len(),
        seconds * 1e6 / f64::from(rows.max(1u32))
    );
    let (micros, bytes) = cost(&config);
    println!(
        "hosts: 32 generated features, a row a second: {micros:.2} µs an update, {bytes} bytes a detector"
    );
    Ok(())
}

/// Time of an update and memory of a detector for 32 features at one row a second.
fn cost(config: &HostConfig) -> (f64, usize) {
    const ROWS: u32 = 100_000;
    let mut detector = HostDetector::new((0..32).map(|i| format!("f{i}")).collect(), config);
    let mut state = 1u64;
    let mut row = [0.0f32; 32];
    let mut spent = Duration::ZERO;
    for t in 0..ROWS {
        for (i, value) in row.iter_mut().enumerate() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = (state >> 40) as f32 / (1u64 << 24) as f32;
            *value = (f64::from(t) * 0.001 * (1.0 + i as f64)).sin() as f32 + noise;
        }
        let begin = Instant::now();
        std::hint::black_box(detector.update(i64::from(t) * 1_000_000, &row));
        // The first rows, in which trees are grown all the time, are not what a host costs day by day.
        if t >= ROWS / 10 {
            spent += begin.elapsed();
        }
    }
    (spent.as_secs_f64() * 1e6 / f64::from(ROWS - ROWS / 10), detector.bytes())
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    serde_json::from_str(&read(path)?).map_err(|e| format!("{}: {e}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("can't read {}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("can't write {}: {e}", path.display()))
}
