//! Somebody who can publish on NATS: hears every order as it goes by, and sends agents whatever it likes. It also
//! has a key that the hosts trust, as if it had been stolen, to see what stands behind the signature.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fettle_shared::command::{Action, Order, Outcome, Receipt, SignedOrder};
use fettle_shared::signing::{key_to_text, write, Signer};
use fettle_shared::subjects::orders_subject;
use futures_util::StreamExt as _;

use super::mended::HOST;
use super::wait::until;

/// Longest wait for an answer, on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// How long an agent is waited for before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The key that hosts trust beside their collector's.
pub fn signer() -> Signer {
    Signer::from_seed(&[5; 32])
}

/// Now, µs since 1970.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// An order as it should be, with a generation above all others.
pub fn order(host: &str, component: &str, action: Action) -> Order {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = now_us();
    // Collectors count in microseconds of the clock, too.
    let rise = |last: u64| Some(now.unsigned_abs().max(last + 1));
    let last = LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rise).unwrap_or_default();
    let generation = now.unsigned_abs().max(last + 1);
    Order {
        id: format!("stranger-{generation}"),
        host: host.into(),
        generation,
        issued_us: now,
        expires_us: now + 300_000_000,
        component: component.into(),
        action,
        timeout_s: 0,
        dry_run: false,
        plan: String::new(),
    }
}

/// The running of a declared command.
pub fn run(command: &str) -> Action {
    Action::Run { command: command.into() }
}

/// The order, signed with the stolen key, as it travels.
pub fn sealed(order: &Order) -> Vec<u8> {
    write(&signer().sign(order).expect("an order can be written as JSON"))
}

/// See the module.
#[derive(Debug)]
pub struct Stranger {
    client: async_nats::Client,
    heard: Arc<Mutex<Vec<SignedOrder>>>,
}

impl Stranger {
    /// Connects and listens.
    pub async fn on(url: &str) -> Self {
        let client = async_nats::connect(url).await.expect("NATS is there");
        let heard = Arc::<Mutex<Vec<SignedOrder>>>::default();
        let mut orders = client.subscribe("fettle.orders.>").await.expect("NATS is there");
        client.flush().await.expect("NATS is there");
        let kept = heard.clone();
        tokio::spawn(async move {
            while let Some(message) = orders.next().await {
                if let Ok(signed) = serde_json::from_slice(&message.payload) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(signed);
                }
            }
        });
        Self { client, heard }
    }

    /// Orders about a component that went by, each once, but for its own.
    pub fn heard(&self, component: &str) -> Vec<SignedOrder> {
        let own = key_to_text(&signer().public());
        let about = |signed: &SignedOrder| {
            serde_json::from_str::<Order>(&signed.order).is_ok_and(|order| order.component == component)
        };
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> =
            heard.iter().filter(|signed| signed.key != own && about(signed)).cloned().collect();
        found.dedup();
        found
    }

    /// Sends bytes until the agent answers; it may not be there yet, or have been sent too much in one second.
    pub async fn ask(&self, agent: &str, bytes: Vec<u8>) -> Receipt {
        until(&format!("{agent} answers"), SOON, || async {
            let request = self.client.request(orders_subject(agent), bytes.clone().into());
            match tokio::time::timeout(PATIENCE, request).await {
                Ok(Ok(answer)) => serde_json::from_slice(&answer.payload).map_err(|error| error.to_string()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// The same; gives what became of it.
    pub async fn send(&self, agent: &str, bytes: Vec<u8>) -> Outcome {
        self.ask(agent, bytes).await.outcome
    }

    /// Gives an order with the stolen key.
    pub async fn give(&self, order: &Order) -> Outcome {
        self.send(&order.host, sealed(order)).await
    }

    /// Gives one to the mended host and waits until it is over.
    pub async fn finish(&self, component: &str, action: Action) -> Outcome {
        self.is_over(&order(HOST, component, action)).await
    }

    /// Gives an order and asks again until it is over.
    pub async fn is_over(&self, order: &Order) -> Outcome {
        self.receipt(order).await.outcome
    }

    /// The same; gives the whole of what the agent says.
    pub async fn receipt(&self, order: &Order) -> Receipt {
        until(&format!("{} is over", order.action.name()), SOON, || async {
            let receipt = self.ask(&order.host, sealed(order)).await;
            match receipt.outcome {
                Outcome::Accepted => Err("under way"),
                _ => Ok(receipt),
            }
        })
        .await
    }
}
