//! Probability that a component fails within the horizon.
