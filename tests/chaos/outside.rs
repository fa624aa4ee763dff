//! No action outside policy, ever: whatever was done to the host was ordered by a plan, the plan's steps are
//! strategies of the policies in force, the host's file allows the action, and the audit is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fettle_tests::wait::until;
use serde_json::Value;

use super::host::ALLOWED;
use super::world::World;

const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at everything that was done; gives how many actions that were.
pub async fn nothing_was_done(world: &World) -> usize {
    until("the audit is whole", PATIENCE, || async { world.mended.verify_audit() }).await;
    let sql = world.mended.stack.sql();
    let ask = |query: &'static str| {
        let sql = &sql;
        async move { sql.rows(query).await.unwrap() }
    };
    let done = ask("SELECT id, component, action, max(local) AS local FROM fettle.actions \
         WHERE outcome != 'refused' GROUP BY id, component, action")
    .await;
    // Once more: whatever was ordered for what is in there has come into the audit before it is whole.
    let whole = until("the audit is whole still", PATIENCE, || async { world.mended.verify_audit() }).await;
    println!("{whole}");
    let ordered = ask("SELECT DISTINCT order_id, plan FROM fettle.audit WHERE kind = 'intent'").await;
    let planned = ask("SELECT DISTINCT plan, detail FROM fettle.audit WHERE kind = 'planned'").await;
    let plan_of: BTreeMap<&str, &str> =
        ordered.iter().map(|row| (text(&row["order_id"]), text(&row["plan"]))).collect();
    let plans: BTreeMap<&str, Value> = planned
        .iter()
        .map(|row| (text(&row["plan"]), serde_json::from_str(text(&row["detail"])).unwrap()))
        .collect();
    for action in &done {
        let (component, name) = (text(&action["component"]), text(&action["action"]));
        let allowed = ALLOWED.iter().find(|(one, _)| *one == component).map_or(&[][..], |(_, all)| all);
        assert!(allowed.contains(&name), "the host's file does not allow {action}");
        if action["local"] == 1 {
            assert_eq!((component, name), ("alone", "restart"), "no rule of the agent's own says {action}");
            continue;
        }
        let plan = plan_of.get(text(&action["id"])).unwrap_or_else(|| panic!("nobody ordered {action}"));
        let plan = plans.get(plan).unwrap_or_else(|| panic!("nobody planned {action}"));
        assert!(
            strategies(plan).iter().any(|(entry, step)| step["action"]["action"] == name
                && step["place"]["component"] == component
                && strategy_of(&world.policies, entry).contains(name)),
            "no strategy of the policies says {action}: {plan}"
        );
    }
    let ids: BTreeSet<&str> = done.iter().map(|row| text(&row["id"])).collect();
    ids.len()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Steps of a plan, each with the policy's entry that it comes from.
fn strategies(plan: &Value) -> Vec<(&str, &Value)> {
    let steps = plan["steps"].as_array().map_or(&[][..], Vec::as_slice);
    steps.iter().map(|step| (text(&step["strategy"]).split('/').next().unwrap(), step)).collect()
}

/// What the policies' text says under an entry; nothing when there is no such entry.
fn strategy_of<'a>(policies: &'a str, entry: &str) -> &'a str {
    let Some((_, after)) = policies.split_once(&format!("\n  {entry}:\n")) else { return "" };
    let end = after
        .match_indices("\n  ")
        .find(|(at, _)| after[at + 3..].starts_with(|c: char| c.is_alphanumeric()));
    &after[..end.map_or(after.len(), |(at, _)| at)]
}

#[test]
fn an_entrys_text_ends_where_the_next_begins() {
    let policies = "entries:\n  one:\n    strategies:\n      - action: restart\n\n  # words\n  two:\n    strategies: []\n";
    assert!(strategy_of(policies, "one").contains("restart"));
    assert!(!strategy_of(policies, "one").contains("two"));
    assert_eq!(strategy_of(policies, "restart"), "");
}
