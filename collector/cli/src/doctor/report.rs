//! What the doctor found, for people and for programs.

use serde::Serialize;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// A feature is missing, or it will bite later.
    Warn,
    /// Fettle cannot work.
    Fail,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) name: &'static str,
    /// How it went.
    pub(crate) status: Status,
    /// What was seen.
    pub(crate) saw: String,
    /// How to mend it; empty if there is nothing to mend.
    pub(crate) fix: String,
}

impl Check {
    /// As it should be.
    pub(crate) fn ok(name: &'static str, saw: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, saw: saw.into(), fix: String::new() }
    }

    /// A feature is missing.
    pub(crate) fn warn(name: &'static str, saw: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, saw: saw.into(), fix: fix.into() }
    }

    /// Fettle cannot work.
    pub(crate) fn fail(name: &'static str, saw: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, saw: saw.into(), fix: fix.into() }
    }
}

/// All checks.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// Adds more checks.
    pub(crate) fn extend(&mut self, checks: impl IntoIterator<Item = Check>) {
        self.checks.extend(checks);
    }

    /// How many failed.
    pub(crate) fn failures(&self) -> usize {
        self.count(Status::Fail)
    }

    /// One line a check, a second one with the remedy where there is something to mend, and a sum.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for check in &self.checks {
            let status = match check.status {
                Status::Ok => "ok",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            lines.push(format!("{status:<5} {:<16} {}", check.name, check.saw));
            if !check.fix.is_empty() {
                lines.push(format!("{:<22} fix: {}", "", check.fix));
            }
        }
        let (ok, warn, fail) = (self.count(Status::Ok), self.count(Status::Warn), self.failures());
        lines.push(format!("{ok} ok, {warn} to look at, {fail} to mend"));
        lines
    }

    /// The same as JSON.
    pub(crate) fn as_json(&self) -> String {
        let page = serde_json::json!({
            "ok": self.failures() == 0,
            "warnings": self.count(Status::Warn),
            "failures": self.failures(),
            "checks": self.checks,
        });
        serde_json::to_string_pretty(&page).unwrap_or_default()
    }

    fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_the_same_to_people_and_programs() {
        let mut report = Report::default();
        report.extend([
            Check::ok("a", "fine"),
            Check::warn("b", "old", "renew it"),
            Check::fail("c", "gone", "get it"),
        ]);
        let lines = report.lines();
        assert_eq!(lines.len(), 6);
        assert!(lines[4].ends_with("fix: get it"));
        assert_eq!(lines[5], "1 ok, 1 to look at, 1 to mend");
        let page: serde_json::Value = serde_json::from_str(&report.as_json()).unwrap();
        assert_eq!(page["ok"], false);
        assert_eq!(page["checks"][2]["status"], "fail");
        assert_eq!(page["checks"][1]["fix"], "renew it");
    }
}
