//! Rules: what counts as wrong.
