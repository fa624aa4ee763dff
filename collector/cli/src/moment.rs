//! Moments on the command line: RFC 3339, `now`, or so long ago (`-2h`).

use jiff::{SignedDuration, Timestamp};

/// A text that names no moment.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no time; write 2026-11-22T08:30:00Z, now, or how long ago, such as -90s, -15m, -2h or -1d"
)]
pub(crate) struct MomentError {
    text: String,
}

/// Reads a moment. `now` is what the clock says.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, MomentError> {
    let bad = || MomentError { text: text.to_owned() };
    let trimmed = text.trim();
    if trimmed == "now" {
        return Ok(now);
    }
    if let Some(ago) = trimmed.strip_prefix('-') {
        let at = ago.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (digits, unit) = ago.split_at(at);
        let count: i64 = digits.parse().map_err(|_| bad())?;
        let seconds = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return Err(bad()),
        };
        let ago = count.checked_mul(seconds).ok_or_else(bad)?;
        return now.checked_sub(SignedDuration::from_secs(ago)).map_err(|_| bad());
    }
    trimmed.parse().map_err(|_| bad())
}

/// A moment for tables: UTC, to the second.
pub(crate) fn show(us: i64) -> String {
    let Ok(at) = Timestamp::from_microsecond(us) else { return us.to_string() };
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment for programs: RFC 3339.
pub(crate) fn rfc3339(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        for (text, want) in [
            ("now", "2026-11-22T08:00:00Z"),
            ("-90s", "2026-11-22T07:58:30Z"),
            ("-2h", "2026-11-22T06:00:00Z"),
            ("-1d", "2026-11-21T08:00:00Z"),
            ("2026-11-22T09:00:00+01:00", "2026-11-22T08:00:00Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), want, "{text}");
        }
        for text in ["", "-", "-2", "-h", "-2y", "yesterday", "2026-11-22", "-99999999999999999d"] {
            assert!(parse(text, now).unwrap_err().to_string().contains("-15m"), "{text}");
        }
        assert_eq!(show(1_795_332_753_900_000), "2026-11-22 07:32:33");
    }
}
