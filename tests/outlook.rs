//! A real file system is filled at a steady pace; long before it is full, ClickHouse says when it will be,
//! and what the host has to expect without a model.
//!
//! The one test that lets time pass on purpose: what it tests is a pace.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fettle_tests::faults::SmallDisk;
use fettle_tests::stack::{Stack, START};
use fettle_tests::wait::{until, when};

const AGENT: &str = "outlook-1";
/// 64 MB at 0.5 MB/s: full after some two minutes.
const SIZE: &str = "64m";
const CHUNK: usize = 50_000;
const EVERY: Duration = Duration::from_millis(100);

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Writes a chunk every tenth of a second until nothing fits any more; gives the moment of that.
async fn fill(path: PathBuf, stop: Arc<AtomicBool>) -> f64 {
    let mut file = std::fs::File::create(path.join("ballast")).unwrap();
    let mut ticks = tokio::time::interval(EVERY);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        if file.write_all(&[7; CHUNK]).is_err() {
            break;
        }
    }
    now_s()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_is_foretold() {
    let mut stack = Stack::new("[outlook]\nevery_s = 5\n");
    let place = stack.path("small");
    let Some(_disk) = SmallDisk::at(&place, SIZE) else { return };
    stack.start().await;
    std::fs::write(stack.path("agent.toml"), "[sample]\nfamilies.filesystem.interval = \"1s\"\n").unwrap();
    let mut agent = stack.agent(AGENT);
    agent.argue(&["--config", &stack.path("agent.toml").display().to_string()]);
    agent.start();
    let stop = Arc::new(AtomicBool::new(false));
    let filling = tokio::spawn(fill(place.clone(), Arc::clone(&stop)));

    let sql = stack.sql();
    let query = format!(
        "SELECT toUnixTimestamp(ts) AS at, eta_s, low_s, high_s, probability, used, capacity, words \
         FROM fettle.forecasts WHERE host = '{AGENT}' AND kind = 'exhaustion' AND resource = 'disk' \
         AND entity = '{}' AND probability >= 0.5 ORDER BY ts LIMIT 1",
        place.display()
    );
    let told = until("a forecast that the disk will be full", Duration::from_secs(110), || async {
        let rows = sql.rows(&query).await.map_err(|e| e.to_string())?;
        rows.into_iter().next().ok_or_else(|| "no row yet".to_owned())
    })
    .await;
    the_score_names_the_end(&stack).await;
    let full_at = filling.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let number = |name: &str| told[name].as_f64().unwrap();
    let (said, truth) = (number("eta_s"), full_at - number("at"));
    eprintln!(
        "said {said:.0} s (80 %: {:.0} to {:.0}), it took {truth:.0} s: {told}",
        number("low_s"),
        number("high_s")
    );
    assert!(truth > 10.0, "too late to be of use: {told}");
    assert!((said - truth).abs() <= 0.3 * truth, "said {said} s, it took {truth} s: {told}");
    assert!(told["words"].as_str().unwrap().starts_with("full in "), "{told}");
    assert!((number("capacity") - f64::from(64 << 20)).abs() < f64::from(1 << 20), "{told}");

    the_host_has_a_prediction(&stack).await;
    assert_eq!(agent.terminate(START).await, Some(0), "{}", agent.last_words(20));
    stack.nobody_fell();
}

/// The health score is told of the end that is near, and says what to do about it.
async fn the_score_names_the_end(stack: &Stack) {
    let url = format!("{}/api/v3/analytics/performance-score?host={AGENT}", stack.http_url());
    let client = fettle_tests::sql::http_client();
    let deduction = until("a deduction for the file system's end", START, || async {
        let answer = client.get(&url).send().await.map_err(|error| error.to_string())?;
        let body: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        let mut all = body["deductions"].as_array().into_iter().flatten();
        let found = all.find(|one| one["fact"] == "disk_outlook").cloned();
        found.ok_or_else(|| body.to_string())
    })
    .await;
    let reason = deduction["reason"].as_str().unwrap();
    assert!(reason.starts_with("a file system is expected to be full in "), "{deduction}");
}

/// Nothing failed yet, so there is no model, and the rows say so.
async fn the_host_has_a_prediction(stack: &Stack) {
    let sql = stack.sql();
    let query = format!(
        "SELECT model, probability, horizon_s FROM fettle.predictions \
         WHERE host = '{AGENT}' AND component = '' ORDER BY ts DESC LIMIT 1"
    );
    let row = until("a prediction for the host", START, || async {
        let rows = sql.rows(&query).await.map_err(|e| e.to_string())?;
        rows.into_iter().next().ok_or_else(|| "no row yet".to_owned())
    })
    .await;
    assert_eq!((row["model"].as_str(), row["horizon_s"].as_u64()), (Some("baseline"), Some(600)), "{row}");
    assert!((0.0..=1.0).contains(&row["probability"].as_f64().unwrap()), "{row}");
    // A model needs failures; none is on record.
    let models = sql.number("SELECT count() FROM fettle.models").await.unwrap();
    when(models, |models| *models == 0).unwrap();
}
