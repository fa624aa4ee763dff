//! What Fettle refuses and where it stops, against real agents over a real NATS: forged, replayed, expired,
//! re-addressed, stale and unwanted orders; links that would lead an action out of its place; an agent killed in
//! the middle of an action; file work that hangs; a remediation that does not help; a service that does not stay
//! well; more faults than may be mended at once; a flood of receipts; a freeze. Each is refused or bounded with a named reason, and on record.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

#[path = "safety/bounds.rs"]
mod bounds;
#[path = "safety/flood.rs"]
mod flood;
#[path = "safety/half_done.rs"]
mod half_done;
#[path = "safety/hung.rs"]
mod hung;
#[path = "safety/links.rs"]
mod links;
#[path = "safety/refused.rs"]
mod refused;
#[path = "safety/tree.rs"]
mod tree;

use std::time::Duration;

use fettle_shared::signing::key_to_text;
use fettle_tests::mended::{Given, Mended, Service};
use fettle_tests::stranger;

const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");
/// Longest wait for anything, on a busy machine.
const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_must_not_be_followed_are_refused_by_name_and_change_nothing() {
    let web = Service::new(VICTIM);
    let keys = [key_to_text(&stranger::signer().public())];
    let given = Given {
        policies: half_done::POLICIES,
        keys: &keys,
        limits: "per_hour = 1000\ncooldown = \"1s\"\nconcurrent = 2\n",
        ..Given::default()
    };
    let mut mended = Mended::start_given(given, |files| {
        links::prepare(files);
        half_done::prepare(files);
        let own = [links::components(files), hung::components(files), half_done::components(files)];
        refused::components(files, &web) + &own.concat()
    })
    .await;
    let stranger = stranger::Stranger::on(&mended.stack.nats_url()).await;
    refused::attack(&mended, &stranger, &web).await;
    links::mislead(&mended, &stranger).await;
    hung::keeps_its_component_busy(&mended, &stranger).await;
    half_done::kill_the_agent(&mut mended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mending_stops_at_its_bounds_and_calls_a_person_once() {
    let fleet = bounds::Fleet::new();
    let given = Given { policies: &bounds::policies(2), alerts: bounds::ALERTS, ..Given::default() };
    let mended = Mended::start_given(given, |files| fleet.components(files)).await;
    let stranger = stranger::Stranger::on(&mended.stack.nats_url()).await;
    bounds::everything_falls(&mended, &fleet).await;
    // What was held up, was held up by the budget alone.
    mended.set_policies(&bounds::policies(100)).await;
    bounds::the_rest_is_mended(&mended, &fleet).await;
    tokio::join!(bounds::what_does_not_help(&mended), bounds::what_does_not_last(&mended, &fleet));
    bounds::a_freeze(&mended, &fleet, &stranger).await;
    bounds::the_audit_is_whole(&mended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agents_flood_of_receipts_costs_operations_nothing() {
    let mut mended = Mended::start("", flood::components).await;
    flood::costs_nothing_while_clickhouse_is_away(&mut mended).await;
}
