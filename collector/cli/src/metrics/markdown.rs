//! The catalogue as a page of Markdown: `docs/metrics.md`. A test holds that file to what this writes, so
//! a metric that is added cannot miss its line there.

use std::fmt::Write as _;

use fettle_shared::catalogue::{Family, Metric};

use super::{kind, pace, type_name};

/// The command that writes the page; `tests/looks.rs` names it when the page is old.
const COMMAND: &str = "cargo run -p fettle-cli --bin fettle -- metrics list --markdown > docs/metrics.md";

/// The page about these families.
pub(super) fn page(families: &[&Family], version: u32) -> String {
    let metrics: usize = families.iter().map(|family| family.metrics.len()).sum();
    let mut out = format!(
        "# Metrics\n\n\
         <!-- Made from shared/catalogue; make it again with:\n     {COMMAND} -->\n\n\
         {metrics} metrics in {} families, catalogue version {version}. A family is a table, a metric is a column:\n\
         `process.rss_bytes` is column `rss_bytes` of table `fettle.process`. Every table also has `host` and `ts`,\n\
         the time of the sample in UTC.\n\n\
         A *gauge* is a level. A *counter* is stored as the kernel gives it: it grows, and a fall is a reset, so\n\
         take differences for rates. A metric marked «not on every kernel» is NULL where the kernel lacks it.\n\
         «Every scan» follows from the agent's target rate, see [agent.md](agent.md). Priority says what the\n\
         agent slows first when it has to save CPU: 5 first, 1 last.\n\n\
         | family | metrics | sampled | what it is about |\n|---|---:|---|---|\n",
        families.len(),
    );
    for family in families {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| [{name}](#{name}) | {} | {} | {} |",
            family.metrics.len(),
            pace(family),
            cell(&family.help),
            name = family.name
        );
    }
    for family in families {
        section(&mut out, family);
    }
    out
}

fn section(out: &mut String, family: &Family) {
    let _ = write!(
        out,
        "\n## {}\n\n{}\n\n- Source: {}\n- Sampled: {}; priority {}\n",
        family.name,
        cell(&family.help),
        code(&family.source),
        pace(family),
        family.priority
    );
    if family.entity.is_empty() {
        out.push_str("- One row for the host.\n");
    } else {
        out.push_str("- One row for each:\n");
    }
    for column in &family.entity {
        let column_type = format!("{:?}", column.kind).to_lowercase();
        let _ = writeln!(out, "  - `{}` ({column_type}): {}", column.name, cell(&column.help));
    }
    out.push_str("\n| metric | unit | kind | type | meaning |\n|---|---|---|---|---|\n");
    for metric in &family.metrics {
        row(out, metric);
    }
}

fn row(out: &mut String, metric: &Metric) {
    let absent = if metric.optional { " *(not on every kernel)*" } else { "" };
    let _ = writeln!(
        out,
        "| `{}` | {} | {} | {} | {}{absent} |",
        metric.name,
        cell(&metric.unit),
        kind(metric),
        type_name(metric),
        cell(&metric.help)
    );
}

/// Text that stays text in Markdown, in a table too.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '|' | '*' | '<' | '[' | '`' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// Paths as code, words as words: the sources of the catalogue are one or the other, or a list of paths.
fn code(source: &str) -> String {
    let parts: Vec<String> = source
        .split(", ")
        .map(|part| {
            let is_path = part.starts_with('/') && !part.contains(' ');
            if is_path {
                format!("`{part}`")
            } else {
                cell(part)
            }
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_markdown_stay_signs() {
        assert_eq!(cell("a|b PF_* <none>"), "a\\|b PF_\\* \\<none>");
        assert_eq!(code("/proc/a, /sys/*/b"), "`/proc/a`, `/sys/*/b`");
        assert_eq!(code("statvfs of /x"), "statvfs of /x");
    }
}
