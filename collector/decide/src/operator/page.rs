//! Calls for a person.

use fettle_alert::handoff::Severity;
use serde::{Deserialize, Serialize};

use crate::world::Place;

/// Why a person is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// All that may be tried was tried, or does not last.
    GaveUp,
    /// A plan needs a person's word.
    Approval,
    /// An agent does not take this collector's orders.
    Distrusted,
    /// Alerts are so many that nothing is done without a person's word.
    Storm,
    /// A step that did not help could not be taken back.
    NotTakenBack,
    /// A host tells of more actions of its own than its budget allows.
    LocalTooMany,
    /// A host hands in more receipts than are taken.
    ReceiptsTooMany,
    /// A plan ended without fresh samples: nobody knows whether it helped.
    Unverified,
}

/// A call for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Names it for ever.
    pub id: String,
    /// Why.
    pub kind: PageKind,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// One line.
    pub summary: String,
    /// Incident, if it is about one.
    pub incident: String,
    /// Plan, if it is about one.
    pub plan: String,
    /// When, µs since 1970.
    pub at_us: i64,
}
