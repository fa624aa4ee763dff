//! What the owner of a partition tells operations of one host and second: findings of the rules, how its
//! components are, and the few values that policies look at. Operations are held by one collector, partitions
//! by many, so it travels over NATS; a report that is lost is healed by the next one, because everything in
//! it is said again.

use std::collections::BTreeMap;

use fettle_alert::handoff::Finding;
use fettle_analysis::second::{FamilySecond, HostSecond, KeyValue};
use fettle_shared::catalogue::Catalogue;
use serde::{Deserialize, Serialize};

/// Subject of a host's reports.
pub fn subject(host: &str) -> String {
    format!("fettle.reports.{host}")
}

/// In place of a host, where a finding is about none. No agent can be called this, so that the right to speak of one host
/// is never the right to speak of the fleet.
pub const FLEET: &str = "$fleet";

/// Filter of all reports.
pub const FILTER: &str = "fettle.reports.>";

/// Longest report taken.
pub const MOST_BYTES: usize = 1 << 20;

/// One host in one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostReport {
    /// Agent's name.
    pub host: String,
    /// End of the data it tells of, µs since 1970; 0: it is about no data, as when a host is silent.
    pub at_us: i64,
    /// What rules found.
    pub findings: Vec<Finding>,
    /// Components by name.
    pub components: BTreeMap<String, ComponentReport>,
    /// Metrics of the whole host by name, means of the second.
    pub values: BTreeMap<String, f64>,
}

/// One component in one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComponentReport {
    /// What runs it.
    pub kind: String,
    /// Whether its check passed at the end of the second.
    pub up: bool,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// Replicas it should have.
    pub replicas: u32,
    /// What its check complains of, by its number ([`fettle_shared::error_kind::ErrorKind`]); 0: nothing.
    pub error_kind: u8,
}

/// Families of the whole host whose values travel.
const VALUES: [&str; 3] = ["memory", "load", "pressure"];

impl HostReport {
    /// Whether it came on its own host's subject, and says nothing about another's or the fleet's. Reports are not signed:
    /// this is what keeps whoever may write on one host's subject from having anything done on another.
    pub fn belongs_to(&self, came_on: &str) -> bool {
        let host = if self.host.is_empty() { FLEET } else { &self.host };
        let own = |finding: &Finding| finding.labels.get("host").map_or("", String::as_str) == self.host;
        came_on == subject(host) && self.findings.iter().all(own)
    }

    /// A report of a second, without findings yet.
    pub fn of(second: &HostSecond, catalogue: &Catalogue) -> Self {
        let mut report = Self {
            host: second.host.clone(),
            at_us: (i64::from(second.second) + 1) * 1_000_000,
            ..Self::default()
        };
        for (at, family) in catalogue.families.iter().enumerate() {
            let Some(share) = second.family(at) else { continue };
            if family.name == "component" {
                let position = |name: &str| family.metrics.iter().position(|m| m.name == name);
                report.components = components(share, position);
            } else if VALUES.contains(&family.name.as_str()) {
                for entity in &share.entities {
                    let keys: String = entity.key.iter().map(|key| format!("[{key}]")).collect();
                    for (metric, value) in family.metrics.iter().zip(&entity.values) {
                        if value.is_some() {
                            let name = format!("{}{keys}.{}", family.name, metric.name);
                            report.values.insert(name, value.mean);
                        }
                    }
                }
            }
        }
        report
    }
}

fn components(
    share: &FamilySecond,
    position: impl Fn(&str) -> Option<usize>,
) -> BTreeMap<String, ComponentReport> {
    let columns = ["up", "critical", "replicas", "error_kind"].map(position);
    let [up, critical, replicas, error] = columns;
    let mut found = BTreeMap::new();
    for entity in &share.entities {
        let [KeyValue::Text(name), KeyValue::Text(kind)] = &*entity.key else { continue };
        let last = |column: Option<usize>| column.map_or(0.0, |at| entity.values[at].last);
        found.insert(
            name.to_string(),
            ComponentReport {
                kind: kind.to_string(),
                up: last(up) > 0.5,
                critical: last(critical) > 0.5,
                replicas: last(replicas) as u32,
                error_kind: last(error) as u8,
            },
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use fettle_alert::handoff::Labels;
    use fettle_shared::subjects::is_agent_name;

    use super::*;

    fn finding(host: Option<&str>) -> Finding {
        let labels: Labels = host.map(|host| ("host".to_owned(), host.to_owned())).into_iter().collect();
        serde_json::from_value(serde_json::json!({
            "rule": "down", "labels": labels, "severity": "critical", "standing": "firing", "value": 0.0, "at_us": 1,
            "since_us": 1, "summary": "", "description": "", "runbook": null, "action": "restart",
        }))
        .unwrap()
    }

    #[test]
    fn whoever_writes_on_one_hosts_subject_says_nothing_of_another_or_of_the_fleet() {
        let hosts = ["", "web-1", "web-2", FLEET, "fleet", "web-1.x", ">", "*"];
        let about: Vec<Option<&str>> = hosts.into_iter().map(Some).chain([None]).collect();
        let mut taken = 0;
        for host in hosts {
            for first in &about {
                for second in &about {
                    let findings = vec![finding(*first), finding(*second)];
                    let report = HostReport { host: host.to_owned(), findings, ..HostReport::default() };
                    // As it arrives.
                    let report: HostReport =
                        serde_json::from_slice(&serde_json::to_vec(&report).unwrap()).unwrap();
                    if report.belongs_to("fettle.reports.web-1") {
                        taken += 1;
                        assert_eq!((host, *first, *second), ("web-1", Some("web-1"), Some("web-1")));
                    }
                }
            }
        }
        assert_eq!(taken, 1, "its own is taken");
    }

    #[test]
    fn what_is_about_no_host_comes_on_a_subject_that_is_no_hosts() {
        let fleet = |host| HostReport { findings: vec![finding(host)], ..HostReport::default() };
        assert!(!is_agent_name(FLEET));
        assert!(fleet(None).belongs_to(&subject(FLEET)));
        assert!(!fleet(Some("web-1")).belongs_to(&subject(FLEET)));
        assert!(!fleet(None).belongs_to(&subject("fleet")), "an agent may be called this");
    }
}
