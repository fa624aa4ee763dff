//! What an agent tells of its host's own file: which components there are, what they need and what may be
//! done to them. Said when it changes and every half minute; the collector plans by it, the agent decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Actions that a host's file allows, by name, each with the entries declared for it (none for actions
/// without entries).
pub type Offers = BTreeMap<String, Vec<String>>;

/// One component as the host's file declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Declared {
    /// What runs it: supervised, systemd, docker, process or nothing.
    pub kind: String,
    /// Components of the same host that it needs.
    pub depends_on: Vec<String>,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// Fewest and most replicas, where it can be scaled.
    pub replica_bounds: Option<(u32, u32)>,
    /// When a release link or file of it was last changed, µs since 1970 by the host's clock; 0: not known.
    pub release_changed_us: i64,
    /// What its checks last complained of, at most 500 bytes; empty while it is well.
    pub complaint: String,
    /// What may be done to it.
    pub offers: Offers,
}

/// All of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Agent.
    pub host: String,
    /// What may be done that is about no component.
    pub offers: Offers,
    /// Components by name.
    pub components: BTreeMap<String, Declared>,
}

/// Most components of a host.
pub const MOST_COMPONENTS: usize = 512;
/// Longest name of a component, an action or an entry, in bytes.
const NAME_BYTES: usize = 64;
/// Longest complaint, in bytes; agents cut theirs shorter.
const COMPLAINT_BYTES: usize = 2_000;
/// Most components that one may need, and most entries of an action.
const MOST_NAMED: usize = 512;

impl Inventory {
    /// Whether it is within what an agent would tell: what comes over the network is kept in the state of operations.
    ///
    /// # Errors
    /// What is too much or too long.
    pub fn check(&self) -> Result<(), &'static str> {
        let name = |text: &String| text.len() <= NAME_BYTES && !text.chars().any(char::is_control);
        let rule = |ok: bool, what| if ok { Ok(()) } else { Err(what) };
        let offers = |offers: &Offers| {
            offers.len() <= NAME_BYTES
                && offers.iter().all(|(action, entries)| {
                    name(action) && entries.len() <= MOST_NAMED && entries.iter().all(name)
                })
        };
        rule(name(&self.host), "its host's name is too long")?;
        rule(self.components.len() <= MOST_COMPONENTS, "it has more than 512 components")?;
        rule(offers(&self.offers), "what it offers is too much or too long")?;
        for (component, declared) in &self.components {
            rule(name(component) && name(&declared.kind), "a component's name is too long")?;
            rule(declared.depends_on.len() <= MOST_NAMED, "a component needs too many")?;
            rule(declared.depends_on.iter().all(name), "a needed component's name is too long")?;
            rule(declared.complaint.len() <= COMPLAINT_BYTES, "a complaint is too long")?;
            rule(offers(&declared.offers), "what a component offers is too much or too long")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_agent_would_tell_is_refused() {
        let with = |count: usize, name: &str, complaint: usize| {
            let declared = Declared { complaint: "x".repeat(complaint), ..Declared::default() };
            let components = (0..count).map(|at| (format!("{name}{at}"), declared.clone())).collect();
            Inventory { host: "h".into(), components, ..Inventory::default() }
        };
        assert_eq!(with(512, "web-", 500).check(), Ok(()));
        assert!(with(513, "web-", 0).check().is_err());
        assert!(with(1, &"n".repeat(64), 0).check().is_err());
        assert!(with(1, "a\n", 0).check().is_err());
        assert!(with(1, "a", 2_001).check().is_err());
    }
}
