//! Durations and amounts as people say them.

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

/// Prefixes of amounts from ten thousand on, largest first.
const PREFIXES: [(f64, &str); 5] = [(1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
/// Amounts below this are written out.
const WRITTEN_OUT: f64 = 1e4;

/// An amount of any unit in four digits: `1.362 G`, `903.9`, `0.002718`.
#[must_use]
pub fn amount_words(value: f64) -> String {
    let size = value.abs();
    if !size.is_finite() || size >= 1e18 || (size > 0.0 && size < 1e-6) {
        return format!("{value:.3e}");
    }
    let (unit, prefix) = if size < WRITTEN_OUT {
        (1.0, "")
    } else {
        // What rounds to a thousand is one of the next.
        PREFIXES.into_iter().find(|(unit, _)| size >= unit * 0.999_95).unwrap_or((1.0, ""))
    };
    let digits = |size: f64| (3 - size.max(1e-6).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{:.*}", digits(size / unit), value / unit);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_four_digits_and_no_more() {
        for (value, words) in [
            (1_361_660_312.0, "1.362 G"),
            (-12_345.0, "-12.35 k"),
            (999_999.0, "1 M"),
            (9_999.0, "9999"),
            (903.918, "903.9"),
            (50.0, "50"),
            (0.002_718_28, "0.002718"),
            (0.0, "0"),
            (3e-9, "3.000e-9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(amount_words(value), words);
        }
    }
}
