//! Durations as people say them.

/// A duration in words: `3 h 20 min`, `45 s`, `12 d 4 h`; at most two units.
#[must_use]
pub fn duration_words(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "an unknown time".to_owned();
    }
    let (minute, hour, day) = (60.0, 3600.0, 86_400.0);
    if seconds < 1.5 * minute {
        return format!("{seconds:.0} s");
    }
    if seconds < hour {
        return format!("{:.0} min", seconds / minute);
    }
    if seconds < 2.0 * day {
        let minutes = (seconds / minute).round();
        let (hours, rest) = ((minutes / 60.0).floor(), minutes % 60.0);
        // From ten hours on, minutes claim more than a forecast knows.
        return if rest == 0.0 { format!("{hours} h") } else { format!("{hours} h {rest} min") };
    }
    let hours = (seconds / hour).round();
    let (days, rest) = ((hours / 24.0).floor(), hours % 24.0);
    if rest == 0.0 || days >= 10.0 {
        format!("{days} d")
    } else {
        format!("{days} d {rest} h")
    }
}
