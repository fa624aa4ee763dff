//! Tests of the manager: scripts, properties, a storm.
