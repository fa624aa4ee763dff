//! The health score of a host and of the fleet, with its deductions in words.
