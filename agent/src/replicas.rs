//! Replicas of a container: how they are named and known again, and what is to be made, started and removed to
//! have so many. Pure.
//!
//! The container that the host's file declares is the first and is never removed. The others are copies of it that the
//! agent made: they are called NAME-2, NAME-3 and so on, and their labels say the same. Both must fit before
//! one is touched: an image made of a replica carries its labels along, and somebody else may use the name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Label of a replica: the name of the container it is a copy of.
pub(crate) const REPLICA_OF: &str = "fettle.replica_of";
/// Label of a replica: its number, from 2.
pub(crate) const NUMBER: &str = "fettle.replica";
/// Most of Docker's answer to [`listing`] that is read, bytes: each one's labels stand in it.
pub(crate) const LISTING_MAX: usize = 8 << 20;

/// Where Docker lists the containers that are called as replicas of this one are; the name must be one that
/// Docker takes. As in the Engine API, `GET /containers/json`, the filter `{"name":["^/?NAME-[0-9]+$"]}`.
pub(crate) fn listing(name: &str) -> String {
    format!(
        "/containers/json?all=true&filters=%7B%22name%22%3A%5B%22%5E%2F%3F{name}-%5B0-9%5D%2B%24%22%5D%7D"
    )
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    created: i64,
}

/// A copy that the agent made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) number: u32,
    /// Docker's own id: what is done to a replica goes by it, so that nobody else's container is hit that has
    /// been given the name meanwhile.
    pub(crate) id: String,
    pub(crate) name: String,
    /// `running`, `exited` and so on.
    pub(crate) state: String,
    /// The same for people: `Exited (3) 5 seconds ago`.
    pub(crate) status: String,
    /// Seconds since 1970.
    created: i64,
}

/// All that have such a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Family {
    /// By number.
    pub(crate) replicas: BTreeMap<u32, Replica>,
    /// Numbers whose name somebody else's container has, or one that is being removed.
    taken: BTreeSet<u32>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Newest first.
    pub(crate) remove: Vec<Replica>,
    /// Those that stay and do not run.
    pub(crate) start: Vec<Replica>,
    /// Numbers, the lowest that are free.
    pub(crate) create: Vec<u32>,
}

/// The name of a replica.
pub(crate) fn name_of(first: &str, number: u32) -> String {
    format!("{first}-{number}")
}

/// Reads Docker's answer to [`listing`] for the container of this name.
pub(crate) fn family(first: &str, answer: &[u8]) -> Result<Family, String> {
    let listed: Vec<Listed> = serde_json::from_slice(answer)
        .map_err(|error| format!("what Docker says of the replicas of {first} cannot be read: {error}"))?;
    let mut family = Family::default();
    for one in listed {
        // Names with a second slash are other containers' links to it.
        let names = one.names.iter().filter_map(|name| name.strip_prefix('/'));
        let Some((name, number)) = names.filter_map(|name| Some((name, number_in(first, name)?))).next()
        else {
            continue;
        };
        let label = |key: &str| one.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let is_ours = label(REPLICA_OF) == Some(first) && label(NUMBER) == Some(&number.to_string());
        if !is_ours || matches!(one.state.as_str(), "removing" | "dead") {
            family.taken.insert(number);
            continue;
        }
        let Listed { id, state, status, created, .. } = &one;
        let (id, state, status) = (id.clone(), state.clone(), status.clone());
        let replica = Replica { number, id, name: name.to_owned(), state, status, created: *created };
        family.replicas.insert(number, replica);
    }
    Ok(family)
}

/// The number of a name that fits, written as [`name_of`] does.
fn number_in(first: &str, name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix(first)?.strip_prefix('-')?.parse().ok()?;
    (number >= 2 && name == name_of(first, number)).then_some(number)
}

impl Family {
    /// Replicas there are, the declared container among them.
    pub(crate) fn count(&self) -> u32 {
        self.replicas.len() as u32 + 1
    }

    /// What has to be done to have so many, the declared container among them.
    pub(crate) fn plan(&self, wanted: u32) -> Plan {
        let copies = wanted.saturating_sub(1) as usize;
        let mut by_age: Vec<&Replica> = self.replicas.values().collect();
        by_age.sort_by_key(|replica| Reverse((replica.created, replica.number)));
        let (removed, staying) = by_age.split_at(by_age.len().saturating_sub(copies));
        let is_free = |number: &u32| !self.replicas.contains_key(number) && !self.taken.contains(number);
        Plan {
            remove: removed.iter().copied().cloned().collect(),
            start: staying.iter().rev().filter(|replica| !replica.runs()).copied().cloned().collect(),
            create: (2..=u32::MAX).filter(is_free).take(copies.saturating_sub(staying.len())).collect(),
        }
    }
}

impl Replica {
    /// Whether it runs, or Docker is about to start it again.
    fn runs(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting")
    }

    /// Whether it was ever started. One that was not is being made this moment, or its making was broken off; the
    /// next scaling starts or removes it.
    pub(crate) fn has_begun(&self) -> bool {
        self.state != "created"
    }

    /// What keeps it from being well, if anything does.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Self { name, state, status, .. } = self;
        if state != "running" {
            return Some(format!("{name} is {state}: {status}"));
        }
        status.contains("(unhealthy)").then(|| format!("{name} runs and calls itself unhealthy"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn listed(name: &str, of: &str, number: &str, state: &str, created: i64) -> Value {
        let labels = json!({ "fettle.replica_of": of, "fettle.replica": number, "more": "x" });
        json!({ "Id": format!("id of {name}"), "Names": [format!("/{name}")], "Labels": labels, "State": state,
                "Status": "Up 3 minutes", "Created": created })
    }

    fn of(listed: &[Value]) -> Family {
        family("web", &serde_json::to_vec(listed).unwrap()).unwrap()
    }

    fn names(replicas: &[Replica]) -> Vec<&str> {
        replicas.iter().map(|replica| replica.name.as_str()).collect()
    }

    #[test]
    fn the_lowest_free_numbers_are_made_and_the_newest_are_removed() {
        assert_eq!(of(&[]).plan(4).create, [2, 3, 4]);
        assert_eq!(of(&[]).plan(1), Plan::default());
        let family = of(&[
            listed("web-3", "web", "3", "running", 10),
            // Made anew after it had gone: younger than those with higher numbers.
            listed("web-2", "web", "2", "running", 30),
            listed("web-5", "web", "5", "running", 20),
        ]);
        assert_eq!(family.count(), 4);
        assert_eq!(family.plan(4), Plan::default(), "as it should be already");
        assert_eq!(family.plan(6).create, [4, 6]);
        let fewer = family.plan(2);
        assert_eq!(names(&fewer.remove), ["web-2", "web-5"]);
        assert!(fewer.start.is_empty() && fewer.create.is_empty());
        assert_eq!(names(&family.plan(1).remove), ["web-2", "web-5", "web-3"]);
        assert_eq!(names(&family.plan(0).remove).len(), 3, "the declared one is never removed");
    }

    #[test]
    fn of_the_same_second_the_higher_number_is_the_newer() {
        let family =
            of(&[listed("web-2", "web", "2", "running", 7), listed("web-3", "web", "3", "running", 7)]);
        assert_eq!(names(&family.plan(2).remove), ["web-3"]);
    }

    #[test]
    fn what_stays_and_does_not_run_is_started() {
        let family = of(&[
            listed("web-2", "web", "2", "exited", 1),
            listed("web-3", "web", "3", "restarting", 2),
            listed("web-4", "web", "4", "created", 3),
        ]);
        let plan = family.plan(3);
        assert_eq!((names(&plan.remove), names(&plan.start)), (vec!["web-4"], vec!["web-2"]));
        assert_eq!(names(&family.plan(5).start), ["web-2", "web-4"]);
        assert_eq!(family.plan(5).create, [5]);
        assert_eq!(family.replicas[&2].complaint().unwrap(), "web-2 is exited: Up 3 minutes");
    }

    #[test]
    fn nobody_elses_container_is_taken_for_a_replica() {
        let mut foreign = listed("web-2", "", "", "running", 1);
        foreign["Labels"] = Value::Null;
        let mut linked = listed("other", "web", "7", "running", 1);
        linked["Names"] = json!(["/other", "/third/web-7"]);
        let family = of(&[
            foreign,
            // Run from an image that was made of a replica.
            listed("web-3", "web", "4", "running", 1),
            listed("web-6", "webs", "6", "running", 1),
            listed("web-8", "web", "8", "removing", 1),
            linked,
            listed("web-05", "web", "5", "running", 1),
            listed("web-1", "web", "1", "running", 1),
        ]);
        assert!(family.replicas.is_empty(), "{family:?}");
        assert_eq!(family.plan(6).create, [4, 5, 7, 9, 10], "their names are left to them");
        assert!(super::family("web", b"{}").unwrap_err().contains("cannot be read"));
    }
}
