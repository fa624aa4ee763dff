//! Unit tests of rules, in YAML.
