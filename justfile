# The same commands as in README.md, shorter to type. Each recipe only calls a script or cargo.
# Needs `just`; without it, run what the recipe runs.

set positional-arguments := true

# List the recipes.
default:
    @just --list

# Set up, build and start Fettle on this machine (arguments go to `fettle up`).
up *args:
    deploy/up "$@"

# Fetch what is missing: nats-server and libchdb.
setup:
    deploy/setup

# Run the whole test suite (arguments go to the test runner).
test *args:
    deploy/test "$@"

# Everything that must pass before a change lands.
ci:
    .ci/run

# Run the benchmarks; without a name it lists them.
bench *args:
    benchmarks/run "$@"

# Check what Fettle needs from this machine.
doctor *args:
    cargo run --quiet --locked -p fettle-cli --bin fettle -- doctor "$@"

# Format all code.
fmt:
    cargo fmt --all

# Lints and the rules of the house, warnings denied.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo test --quiet --locked --workspace --test tidy

# Licences, bans and sources of every crate (needs cargo-deny).
deny:
    cargo deny --locked check licenses bans sources

# Write the metric reference from the catalogue.
metrics *args:
    cargo run --quiet --locked -p fettle-cli --bin fettle -- metrics list "$@"
