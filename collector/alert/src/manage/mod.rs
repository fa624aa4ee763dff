//! Alerts: what is remembered of findings, and who is told.
