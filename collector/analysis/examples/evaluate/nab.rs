//! `evaluate nab --data DIR --out DIR [--config FILE.json]`: every CSV below DIR (or below DIR/data, where
//! there is such a folder) is scored into the same place below the out folder. Prints what a row cost.

use std::path::{Path, PathBuf};
use std::time::Instant;

use fettle_analysis::detect::series::SeriesConfig;
use fettle_analysis::eval::nab as eval;

use crate::Arguments;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let config: SeriesConfig = match arguments.option("--config") {
        Some(path) => serde_json::from_str(&read(Path::new(path))?).map_err(|e| format!("{path}: {e}"))?,
        None => SeriesConfig::default(),
    };
    let below = arguments.data.join("data");
    let root = if below.is_dir() { below } else { arguments.data.clone() };
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let (mut rows, mut seconds) = (0, 0.0);
    for file in &files {
        let text = read(file)?;
        let begin = Instant::now();
        let scores = eval::detect(&text, &config).map_err(|e| format!("{}: {e}", file.display()))?;
        seconds += begin.elapsed().as_secs_f64();
        rows += scores.lines().count() - 1;
        let name = file.strip_prefix(&root).map_err(|e| e.to_string())?;
        let out = arguments.out.join(name);
        let folder = out.parent().unwrap_or(&arguments.out);
        std::fs::create_dir_all(folder).map_err(|e| format!("can't make {}: {e}", folder.display()))?;
        std::fs::write(&out, scores).map_err(|e| format!("can't write {}: {e}", out.display()))?;
    }
    eprintln!(
        "nab: {} series, {rows} rows, {:.2} µs a row with reading and writing the text",
        files.len(),
        seconds * 1e6 / rows.max(1) as f64
    );
    Ok(())
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("can't list {}: {e}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            into.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("can't read {}: {e}", path.display()))
}
