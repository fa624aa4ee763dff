//! `fettle metrics list`: the catalogue, for people, for programs and as a page of the documentation.

mod markdown;

use comfy_table::{ContentArrangement, Table};
use fettle_shared::catalogue::{catalogue, Family, Metric, MetricKind, Pace};
use serde_json::{json, Value};

use crate::arguments::ListArguments;
use crate::output;

/// What can be wrong with the question.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetricsError {
    /// There is no such family.
    #[error("there is no family {asked:?}; there are: {families}")]
    UnknownFamily {
        /// What was asked for.
        asked: String,
        /// The names there are.
        families: String,
    },
}

/// Prints all families or the one that is asked for.
pub(crate) fn list(arguments: &ListArguments) -> Result<(), MetricsError> {
    let all = catalogue();
    let families: Vec<&Family> = match &arguments.family {
        None => all.families.iter().collect(),
        Some(name) => vec![all.family(name).ok_or_else(|| MetricsError::UnknownFamily {
            asked: name.clone(),
            families: all.families.iter().map(|family| family.name.as_str()).collect::<Vec<_>>().join(", "),
        })?],
    };
    if arguments.json {
        let list: Vec<Value> = families.iter().map(|family| as_json(family)).collect();
        output::line(&serde_json::to_string_pretty(&list).unwrap_or_default());
        return Ok(());
    }
    if arguments.markdown {
        output::line(markdown::page(&families, all.version).trim_end());
        return Ok(());
    }
    for family in &families {
        output::line(&heading(family));
        output::line(&table(family).to_string());
        output::line("");
    }
    let metrics: usize = families.iter().map(|family| family.metrics.len()).sum();
    output::line(&format!(
        "{metrics} metrics in {} families, catalogue version {}",
        families.len(),
        all.version
    ));
    Ok(())
}

fn heading(family: &Family) -> String {
    let keys: Vec<&str> = family.entity.iter().map(|column| column.name.as_str()).collect();
    let per = if keys.is_empty() { "per host".to_owned() } else { format!("per {}", keys.join(", ")) };
    format!("{} ({per}; {}; {})\n{}", family.name, pace(family), family.source, family.help)
}

fn pace(family: &Family) -> String {
    match family.pace {
        Pace::Fast => "every scan".to_owned(),
        Pace::Every(interval) => format!("every {} s", interval.as_secs_f64()),
    }
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Counter => "counter",
    }
}

/// The storage type, such as `u64`; floats are stored as they are, integers as wide as they need.
fn type_name(metric: &Metric) -> String {
    format!("{:?}", metric.value).to_lowercase()
}

fn table(family: &Family) -> Table {
    let mut table = Table::new();
    table.load_style(crate::sql::TABLE_STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = crate::sql::terminal_width() {
        table.set_width(width);
    }
    table.set_header(["metric", "unit", "kind", "meaning"]);
    for metric in &family.metrics {
        let help = if metric.optional {
            format!("{} (not on every kernel)", metric.help)
        } else {
            metric.help.clone()
        };
        let name = format!("{}.{}", family.name, metric.name);
        table.add_row([name.as_str(), metric.unit.as_str(), kind(metric), help.as_str()]);
    }
    table
}

fn as_json(family: &Family) -> Value {
    let metrics: Vec<Value> = family
        .metrics
        .iter()
        .map(|metric| {
            json!({
                "name": format!("{}.{}", family.name, metric.name),
                "column": metric.name,
                "unit": metric.unit,
                "kind": kind(metric),
                "type": type_name(metric),
                "optional": metric.optional,
                "since": metric.since,
                "source": metric.source,
                "help": metric.help,
            })
        })
        .collect();
    let entity: Vec<Value> =
        family.entity.iter().map(|column| json!({"name": column.name, "help": column.help})).collect();
    json!({
        "family": family.name,
        "id": family.id,
        "help": family.help,
        "source": family.source,
        "pace": pace(family),
        "priority": family.priority,
        "entity": entity,
        "metrics": metrics,
    })
}
