//! Durations as people say them.

/// A duration in words: `3 h 20 min`, `45 s`, `12 d 4 h`; at most two units.
#[must_use]
pub fn duration_words(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "an unknown time".to_owned();
    }
    let minutes = (seconds / 60.0).round();
    if seconds < 90.0 {
        return format!("{seconds:.0} s");
    }
    if minutes < 60.0 {
        return format!("{minutes} min");
    }
    if minutes < 2.0 * 24.0 * 60.0 {
        return two((minutes / 60.0).floor(), "h", minutes % 60.0, "min");
    }
    let hours = (minutes / 60.0).round();
    let days = (hours / 24.0).floor();
    // From ten days on, hours claim more than a forecast knows.
    two(days, "d", if days >= 10.0 { 0.0 } else { hours % 24.0 }, "h")
}

fn two(large: f64, unit: &str, small: f64, small_unit: &str) -> String {
    if small == 0.0 {
        format!("{large} {unit}")
    } else {
        format!("{large} {unit} {small} {small_unit}")
    }
}
