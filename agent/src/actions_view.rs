//! `fettle-agent actions`: the ledger of actions for a person's eyes, or as JSON.

use fettle_agent::act::Entry;
use fettle_shared::command::Outcome;

use crate::spool_view::show_time;

/// A line each, oldest first.
pub(crate) fn render(entries: &[Entry], json: bool) -> anyhow::Result<String> {
    if json {
        let lines: Result<Vec<String>, _> = entries.iter().map(serde_json::to_string).collect();
        return Ok(lines?.into_iter().map(|line| line + "\n").collect());
    }
    let mut text = format!(
        "{:<24}  {:<20} {:<16} {:<34} {:<9} order\n",
        "decided", "component", "action", "outcome", "collector"
    );
    for entry in entries {
        let receipt = &entry.receipt;
        let component = if receipt.component.is_empty() { "(host)" } else { &receipt.component };
        let by = if receipt.local { " (own rule)" } else { "" };
        let told = match (entry.confirmed, entry.is_waiting()) {
            (true, _) => "has it",
            (_, true) => "waiting",
            _ => "-",
        };
        text += &format!(
            "{:<24}  {component:<20} {:<16} {:<34} {told:<9} {}{by}\n",
            show_time(entry.decided_us),
            receipt.action.name(),
            outcome(&receipt.outcome),
            receipt.id,
        );
    }
    Ok(text)
}

/// As the audit writes it; an error on one line.
fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused { reason } => {
            let reason = serde_json::to_value(reason).unwrap_or_default();
            format!("refused: {}", reason.as_str().unwrap_or_default())
        }
        Outcome::Accepted => "running".to_owned(),
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::Failed { error } => format!("failed: {}", error.replace('\n', " ")),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::NeverCompleted => "never completed".to_owned(),
        Outcome::WouldDo => "would do".to_owned(),
    }
}
