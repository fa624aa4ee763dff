//! From an alert to an order, and from fresh samples to a verdict: policies, plans, budgets, breakers,
//! verification and the chain of the audit. Everything here is pure: the same incident, policy, history
//! and time give the same plan.
