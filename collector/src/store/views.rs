//! The long view: every sample as (ts, host, family, entity, metric, value), for those who think in
//! series. One branch a family, whose metrics are unfolded by ARRAY JOIN, so a filter on `family`
//! leaves the other tables unread and one on `ts` or `host` uses each table's own order.

use fettle_shared::catalogue::{Catalogue, Family};

use super::ddl::{identifier, literal, Place};

/// The SELECT of `metrics`.
pub(super) fn long_view(catalogue: &Catalogue, place: &Place<'_>) -> String {
    catalogue.families.iter().map(|family| branch(family, place)).collect::<Vec<_>>().join("\nUNION ALL\n")
}

fn branch(family: &Family, place: &Place<'_>) -> String {
    let keys: Vec<String> = family
        .entity
        .iter()
        .map(|e| format!("{}, toString(raw.{})", literal(&e.name), identifier(&e.name)))
        .collect();
    let entity = if keys.is_empty() {
        "CAST(map(), 'Map(String, String)')".to_owned()
    } else {
        format!("CAST(map({}), 'Map(String, String)')", keys.join(", "))
    };
    let optional = family.metrics.iter().any(|metric| metric.optional);
    let pairs: Vec<String> = family
        .metrics
        .iter()
        .map(|m| {
            // With its table's name: a metric may be called `value` or `metric` like a column of the view.
            let column = format!("raw.{}", identifier(&m.name));
            let value = if optional {
                format!("CAST({column}, 'Nullable(Float64)')")
            } else {
                format!("toFloat64({column})")
            };
            format!("({}, {value})", literal(&m.name))
        })
        .collect();
    let pairs = format!("[{}]", pairs.join(", "));
    let (pairs, value) = if optional {
        (format!("arrayFilter(m -> isNotNull(m.2), {pairs})"), "assumeNotNull(sample.2)")
    } else {
        (pairs, "sample.2")
    };
    format!(
        "SELECT raw.ts AS ts, raw.host AS host, {} AS family, {entity} AS entity, sample.1 AS metric, {value} AS value\n\
         FROM {} AS raw\nARRAY JOIN {pairs} AS sample",
        literal(&family.name),
        place.asked(&family.name),
    )
}
