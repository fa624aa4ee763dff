//! From findings to notifications: rules say what is wrong, alerts remember it, and what people are told
//! follows from routes, silences, storms and escalations. Everything here is pure: time comes in with the
//! input, state is plain data that can be saved, and every decision has a named reason.
//!
//! Rooms: [`rules`] (rules in YAML, what they find in a second of a host, their unit tests) and [`manage`]
//! (states, groups, silences, inhibition, storms, routing, escalation, incidents). What passes between
//! them is in [`handoff`]; [`yaml`] reads files into trees that know their places, for rules and for policies.

pub mod handoff;
pub mod manage;
pub mod rules;
pub mod yaml;
