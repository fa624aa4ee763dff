//! From an alert to an order, and from fresh samples to a verdict: policies, plans, budgets, breakers,
//! verification and the chain of the audit. Everything here is pure: the same incident, policy, history
//! and time give the same plan.
//!
//! Read [`policy`] (what may be done), [`world`] and [`incident`] (what is so), [`planner`] (what is to be
//! done, a [`plan::Plan`]), then [`operator`], which carries plans out by handing orders to whoever sends
//! them and waiting for samples. [`budget`] bounds it, [`memory`] teaches it, [`audit`] tells of it.
//! [`rehearsal`] drives all of it with a stored past, to see what another policy would have done.

pub mod audit;
pub mod budget;
pub mod incident;
pub mod memory;
pub mod operator;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod rehearsal;
pub mod world;
