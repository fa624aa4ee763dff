//! `fettle-agent spool`: a spool for a person's eyes, or as JSON.

use std::path::Path;

use fettle_agent::config::show_bytes;
use fettle_agent::spool::{self, ListedFrame, SpoolStatus};

/// The sum, as text.
pub(crate) fn status(dir: &Path, status: &SpoolStatus, json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(serde_json::to_string_pretty(status)? + "\n");
    }
    let time = |micros: Option<i64>| micros.map_or_else(|| "-".to_owned(), show_time);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let lines = [
        ("spool", dir.display().to_string()),
        ("agent", text(&status.agent)),
        ("boot", text(&status.boot)),
        ("confirmed up to", status.stored_seq.to_string()),
        ("on disk", format!("{} in {} files", show_bytes(status.bytes), status.segments)),
        ("frames", status.frames.to_string()),
        ("not confirmed", format!("{} frames", status.unconfirmed_frames)),
        ("their samples", status.unconfirmed_samples.to_string()),
        ("oldest sample", time(status.first_us)),
        ("newest sample", time(status.last_us)),
        ("damaged bytes", status.damaged_bytes.to_string()),
    ];
    Ok(lines.map(|(name, value)| format!("{name:<16} {value}\n")).concat())
}

/// Prints every frame: a line each, or one JSON object a line.
pub(crate) fn list(dir: &Path, json: bool, print: impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if !json {
        print("boot             seq        first sample             samples     bytes  state\n")?;
    }
    let mut outcome = Ok(());
    spool::list(dir, |frame| {
        if outcome.is_ok() {
            outcome = line(&frame, json).and_then(|line| print(&line));
        }
    })?;
    outcome
}

fn line(frame: &ListedFrame, json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(serde_json::to_string(frame)? + "\n");
    }
    let state = match (frame.reports_drops, frame.confirmed) {
        (true, _) => "reports drops",
        (_, true) => "confirmed",
        (_, false) => "waiting",
    };
    let first = show_time(frame.first_us);
    Ok(format!("{} {:<10} {first} {:>8} {:>9}  {state}\n", frame.boot, frame.seq, frame.samples, frame.bytes))
}

/// `2026-11-22T01:02:03.456Z`. The civil date from the day number is Howard Hinnant's `civil_from_days`.
pub(crate) fn show_time(micros: i64) -> String {
    let (days, within) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (within / 1_000_000, within % 1_000_000 / 1_000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(show_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(show_time(951_827_696_789_000), "2000-02-29T12:34:56.789Z");
        assert_eq!(show_time(1_795_309_323_000_000), "2026-11-22T01:02:03.000Z");
    }
}
