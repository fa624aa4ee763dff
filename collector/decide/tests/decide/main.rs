//! The deciding crate as its callers see it: scripts with golden output, properties over arbitrary
//! sequences, a fault of a whole fleet, and the audit's chain.

mod audit;
mod bench;
mod fleet;
mod properties;
mod script;
