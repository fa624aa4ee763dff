//! Whether the host's file allows an action on a component: its own list, and what runs it. What an
//! order must pass beyond that (signature, rate, cool-down) is the business of room `act`.

use fettle_shared::command::Action;

use super::{Allowed, Runs};

impl Allowed {
    /// Whether this list, on a component run so, allows the action with its parameters.
    pub fn permits(&self, action: &Action, runs: &Runs) -> bool {
        let controlled = matches!(runs, Runs::Supervised(_) | Runs::Systemd { .. } | Runs::Docker { .. });
        match action {
            Action::Restart => self.restart && controlled,
            Action::Start => self.start && controlled,
            Action::Stop => self.stop && controlled,
            Action::Signal { signal } => *runs != Runs::Nothing && self.signals.contains(signal),
            Action::Renice { nice } => {
                *runs != Runs::Nothing && self.nice.is_some_and(|(low, high)| (low..=high).contains(nice))
            }
            Action::Limit { resource, value } => {
                self.cgroup.is_some()
                    && self.limits.get(resource).is_some_and(|(low, high)| (low..=high).contains(&value))
            }
            Action::CleanUp { policy } => self.clean_up.contains_key(policy),
            Action::DropCaches => self.drop_caches,
            Action::FixPermissions { entry } => self.fix_permissions.contains_key(entry),
            Action::RollBack { entry } => self.roll_back.contains_key(entry),
            Action::FailOver { entry, to } => self.fail_over.get(entry).is_some_and(|fail_over| {
                to.is_empty() || fail_over.candidates.iter().any(|(name, _)| name == to)
            }),
            Action::Scale { replicas } => {
                self.scale
                    && runs.replica_bounds().is_some_and(|(least, most)| (least..=most).contains(replicas))
            }
            Action::Run { command } => self.run.contains_key(command),
        }
    }
}
