//! Reads a Prometheus text page, as agent, collector and node_exporter give it.

use std::net::SocketAddr;

use crate::http;

/// The samples of one page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    lines: Vec<(String, f64)>,
}

impl Page {
    /// Asks for `/metrics`.
    pub(crate) async fn of(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self::parse(&http::get(address, "/metrics").await?))
    }

    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse::<f64>().ok()?))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect();
        Self { lines }
    }

    /// How many samples the page has.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The value of the series whose name, with its labels, is exactly this.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.lines.iter().find(|(line, _)| line == name).map(|(_, value)| *value)
    }

    /// The value of the first series whose name, with its labels, holds all of these.
    pub(crate) fn find(&self, parts: &[&str]) -> Option<f64> {
        let holds = |name: &String| parts.iter().all(|part| name.contains(part));
        self.lines.iter().find(|(name, _)| holds(name)).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_label() {
        let page = Page::parse("# HELP a b\na_total 5\nlag{quantile=\"0.99\"} 0.25\nbroken\n");
        assert_eq!(page.len(), 2);
        assert_eq!(page.value("a_total"), Some(5.0));
        assert_eq!(page.find(&["lag", "0.99"]), Some(0.25));
        assert_eq!(page.find(&["lag", "0.5"]), None);
    }
}
