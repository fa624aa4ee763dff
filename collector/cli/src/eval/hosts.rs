//! `fettle eval hosts`: a score for every row of every host, and what would have been reported.
//!
//! Of `labels.json` only the distance of two samples and the first row to be scored are read, never the
//! incidents. Without that file every CSV in the folder is a host and all of its rows are written.

use std::collections::BTreeMap;

use fettle_analysis::eval::hosts::{detect, HostsError, Judged, Voice};
use fettle_analysis::live::LiveConfig;
use serde::Deserialize;

use super::files::{line_of_row, Data};
use super::EvalError;
use crate::arguments::EvalHostsArguments;
use crate::output;
use crate::progress::Progress;

const LABELS: &str = "labels.json";

/// Folder of the reports within the folder of the scores.
const REPORTS: &str = "reports";

/// How many rows were reported, by voice, and how many troubles that comes to.
#[derive(Default)]
struct Reports {
    series: usize,
    host: usize,
    troubles: usize,
}

impl Reports {
    /// Counts a host's and gives its file.
    fn of_host(&mut self, judged: &Judged) -> String {
        self.troubles += judged.troubles();
        let mut text = String::from("sample,voice\n");
        for (sample, voice) in &judged.reports {
            match voice {
                Voice::Series => self.series += 1,
                Voice::Host => self.host += 1,
            }
            text.push_str(&format!("{sample},{}\n", voice.name()));
        }
        text
    }
}

/// What is read of a host's entry in `labels.json`.
#[derive(Deserialize, Default)]
struct Host {
    /// The first sample whose score is written.
    #[serde(default)]
    scored_from: u64,
    /// Seconds between two samples.
    seconds: Option<u32>,
}

/// Scores every host of the folder.
pub(super) fn run(arguments: &EvalHostsArguments) -> Result<(), EvalError> {
    let paths = &arguments.paths;
    let mut data = Data::open(&paths.data, "hosts")?;
    let hosts = hosts(&mut data, arguments)?;
    let config = LiveConfig::default();
    let mut progress = Progress::new("hosts", hosts.len(), "hosts");
    let (mut read, mut written, mut days) = (0, 0, 0.0);
    let mut reports = Reports::default();
    for (name, host) in &hosts {
        let name = format!("{name}.csv");
        let text = data.text(&name)?;
        let seconds = host.seconds.unwrap_or(arguments.seconds.get());
        let judged = detect(&text, host.scored_from, seconds, &config)
            .map_err(|error| refused(&data, &name, &text, &error))?;
        read += judged.rows;
        days += judged.rows as f64 * f64::from(seconds) / 86_400.0;
        written += judged.scores.lines().count() - 1;
        data.write(&paths.out.join(&name), &judged.scores)?;
        data.write(&paths.out.join(REPORTS).join(&name), &reports.of_host(&judged))?;
        progress.step();
    }
    let spent = progress.finish().as_secs_f64();
    output::line(&format!(
        "hosts: {} hosts, {} rows in {spent:.1} s, {:.1} µs a row; the scores of {} rows are in {}",
        hosts.len(),
        output::grouped(read),
        spent * 1e6 / read.max(1) as f64,
        output::grouped(written as u64),
        paths.out.display()
    ));
    output::line(&format!(
        "reports: {} troubles in {days:.0} days, {:.3} a host and day, right and wrong together ({} rows by the series, {} by \
         the host detector); each is in {}",
        reports.troubles,
        reports.troubles as f64 / days.max(f64::MIN_POSITIVE),
        reports.series,
        reports.host,
        paths.out.join(REPORTS).display()
    ));
    Ok(())
}

/// The hosts by name, from the labels or, without them, from the files there are.
fn hosts(data: &mut Data, arguments: &EvalHostsArguments) -> Result<BTreeMap<String, Host>, EvalError> {
    let hosts: BTreeMap<String, Host> = if data.has(LABELS) {
        let text = data.text(LABELS)?;
        serde_json::from_str(&text).map_err(|error| {
            let why = format!("this should be an object with an entry a host ({error})");
            data.line(LABELS, error.line().max(1), why)
        })?
    } else {
        let files = data.csv_files(false, &arguments.paths.out)?;
        files
            .iter()
            .filter_map(|name| name.strip_suffix(".csv"))
            .map(|name| (name.to_owned(), Host::default()))
            .collect()
    };
    if hosts.is_empty() {
        return Err(data.nothing("host (a CSV file with the column sample and a column a metric)"));
    }
    Ok(hosts)
}

fn refused(data: &Data, name: &str, text: &str, error: &HostsError) -> EvalError {
    match error {
        HostsError::Row(row) => data.line(
            name,
            line_of_row(text, *row),
            "a row should hold the sample's number and a cell for each metric of the first line",
        ),
        other => data.line(name, line_of_row(text, 0), other.to_string()),
    }
}
