//! `evaluate hosts --data DIR --out DIR [--config FILE.json] [--parts DIR]`: every host that DIR/labels.json
//! names (only where its scored rows begin and its sampling interval are read from there). Prints what a
//! row cost, the memory of a detector, and which metrics the alarms name. `--parts` writes the parts' scores.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use fettle_analysis::detect::host::HostConfig;
use fettle_analysis::eval::hosts as eval;
use serde::Deserialize;

use crate::Arguments;

#[derive(Deserialize)]
struct Host {
    scored_from: u64,
    seconds: u32,
}

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
    Ok(())
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
