//! Why something was told or was not: every decision has one of these names, kept with the alert and
//! written with each row, so that `fettle alerts why ID` needs no guessing.

use serde::{Deserialize, Serialize};

/// The named reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The rule's condition changed.
    Condition,
    /// Nobody has said it again for the stale time.
    Stale,
    /// Somebody resolved it by hand; it comes back when the condition begins anew.
    ResolvedByHand,
    /// Evicted, or never taken in: the table of alerts is full.
    NoRoom,
    /// It changed its standing too often and is held as flapping.
    FlappingBegan,
    /// It has been calm for long enough.
    FlappingOver,

    /// Told: new in its group.
    New,
    /// Told: it flaps; its changes are not told until it is calm.
    Flapping,
    /// Told: nobody acknowledged in time.
    Escalated,
    /// Told: it still fires after the repeat interval.
    Reminded,
    /// Told: all of the group is resolved.
    AllResolved,
    /// Told: critical in a storm, together with others.
    StormCritical,
    /// Told: named in a storm's digest.
    StormDigest,
    /// Told: somebody acknowledged it.
    AcknowledgedBy,
    /// Told: what had no room in the table of alerts.
    OverflowDigest,
    /// Told, as a note: it was mended before anybody was told.
    Mended,

    /// Not told yet: the group's first wait.
    GroupWait,
    /// Not told yet: the group was told a moment ago.
    GroupInterval,
    /// Not told yet: it is being mended.
    AfterMending,
    /// Not told: silenced.
    Silenced,
    /// Not told: an inhibition rule's source fires.
    Inhibited,
    /// Not told: its host is silent, which is told.
    HostSilent,
    /// Not told: something it depends on is down, which is told.
    DependencyDown,
    /// Not told yet: it was told as resolved a moment ago.
    Cooldown,
    /// Not told: it flaps, which is told.
    FlappingHeld,
    /// Not told by itself: a storm; the digest names it.
    StormHeld,
    /// Not told by itself: critical in a storm; the next batch names it.
    StormBatched,
    /// Not told yet: outside the route's hours.
    OutsideHours,
    /// Not reminded of, not escalated: somebody has acknowledged it.
    Acknowledged,
    /// Not told: it was over before it was told.
    ResolvedUntold,
    /// Not told: its route has no channel.
    NoChannel,

    /// A channel has it.
    Sent,
    /// A channel does not have it yet; tried again.
    SendFailed,
    /// A channel will not have it.
    GaveUp,
    /// Taken out of the full outbox.
    OutboxFull,

    /// The manager's time was ahead of the clock and has followed it back.
    ClockSetBack,
    /// A silence was made.
    SilenceBegan,
    /// A silence ended.
    SilenceOver,
}

impl Reason {
    /// Its name, in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Stale => "stale",
            Self::ResolvedByHand => "resolved_by_hand",
            Self::NoRoom => "no_room",
            Self::FlappingBegan => "flapping_began",
            Self::FlappingOver => "flapping_over",
            Self::New => "new",
            Self::Flapping => "flapping",
            Self::Escalated => "escalated",
            Self::Reminded => "reminded",
            Self::AllResolved => "all_resolved",
            Self::StormCritical => "storm_critical",
            Self::StormDigest => "storm_digest",
            Self::AcknowledgedBy => "acknowledged_by",
            Self::OverflowDigest => "overflow_digest",
            Self::Mended => "mended",
            Self::GroupWait => "group_wait",
            Self::GroupInterval => "group_interval",
            Self::AfterMending => "after_mending",
            Self::Silenced => "silenced",
            Self::Inhibited => "inhibited",
            Self::HostSilent => "host_silent",
            Self::DependencyDown => "dependency_down",
            Self::Cooldown => "cooldown",
            Self::FlappingHeld => "flapping_held",
            Self::StormHeld => "storm_held",
            Self::StormBatched => "storm_batched",
            Self::OutsideHours => "outside_hours",
            Self::Acknowledged => "acknowledged",
            Self::ResolvedUntold => "resolved_untold",
            Self::NoChannel => "no_channel",
            Self::Sent => "sent",
            Self::SendFailed => "send_failed",
            Self::GaveUp => "gave_up",
            Self::OutboxFull => "outbox_full",
            Self::ClockSetBack => "clock_set_back",
            Self::SilenceBegan => "silence_began",
            Self::SilenceOver => "silence_over",
        }
    }

    /// Whether it is a mere wait of the ordinary course, kept with the alert but not written as a row.
    pub fn is_wait(self) -> bool {
        matches!(self, Self::GroupWait | Self::GroupInterval)
    }
}
