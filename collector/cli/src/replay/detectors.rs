//! Settings of the detectors from a file: TOML with the keys of the collector's `[analysis]`.

use fettle_analysis::live::LiveConfig;

/// Reads the file's text; a complaint names key and line.
pub(super) fn parse(text: &str) -> Result<LiveConfig, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        // A span that begins a line counts the lines before it; the one that it begins is the next.
        let begins = error.span().is_some_and(|span| span.start > 0 && text[..span.start].ends_with('\n'));
        format!("line {}: {}", line + usize::from(begins), error.message().replace('\n', " "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_collector_and_the_rest_is_as_shipped() {
        let config = parse("youngest_s = 5\n[series]\nalarm_evidence = 8.5\n[series.classical]\n").unwrap();
        assert_eq!(config.youngest_s, 5);
        assert_eq!(config.series.alarm_evidence, 8.5);
        assert_eq!(config.series.classical.map(|classical| classical.window_points), Some(100));
        assert_eq!(config.panel, LiveConfig::default().panel);
        assert_eq!(parse("").unwrap(), LiveConfig::default());
    }

    #[test]
    fn unknown_keys_are_refused_by_name_and_line() {
        for (text, line, word) in [
            ("youngest_s = 5\nyungest_s = 6\n", "line 2:", "yungest_s"),
            ("[panel]\n\nreports = 1\n", "line 3:", "reports"),
            ("youngest_s = \"x\"\n", "line 1:", "x"),
            ("[series\n", "line 1:", ""),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(line) && said.contains(word), "{said}");
        }
    }
}
