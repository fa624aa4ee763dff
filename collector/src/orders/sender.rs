//! Sends signed orders as requests and takes receipts. Both are said again until they are answered, so a
//! message lost on the way costs a second and nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use fettle_shared::command::{Order, Outcome, Receipt};
use fettle_shared::subjects::{is_agent_name, orders_subject, RECEIPTS_FILTER};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::pace::{Excess, Pace};
use super::SigningKey;

/// How long an agent has to answer an order.
const PATIENCE: Duration = Duration::from_secs(2);
/// Receipts that may wait to be stored; more are handed in again.
const WAITING: usize = 256;
/// Longest receipt taken.
const MOST_BYTES: usize = 64 << 10;
/// Longest output and other words of a receipt, in bytes; agents cut theirs to the same.
const OUTPUT_BYTES: usize = 8 << 10;
const WORDS_BYTES: usize = 1 << 10;
/// Longest id or name, in bytes.
const NAME_BYTES: usize = 128;
/// Most things found before an action.
const MOST_BEFORE: usize = 16;
/// Pause before the subscription is made again.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of sending an order.
#[derive(Debug)]
pub enum Answer {
    /// The agent's word.
    Receipt(Box<Receipt>),
    /// No answer, for this reason; the order may or may not have arrived.
    Silence(String),
}

/// A receipt that an agent handed in, and where it waits for the word that it is stored.
#[derive(Debug)]
pub struct HandedIn {
    /// The receipt.
    pub receipt: Receipt,
    reply: Option<Subject>,
}

/// Receipts as agents hand them in.
#[derive(Debug)]
pub struct Receipts {
    waiting: mpsc::Receiver<HandedIn>,
    excess: Excess,
}

impl Receipts {
    /// The next one.
    pub async fn next(&mut self) -> Option<HandedIn> {
        self.waiting.recv().await
    }

    /// Receipts of agents that handed in more than [`super::RECEIPTS_PER_SECOND`] and were not looked at, since
    /// this was asked last. The empty name stands for agents beyond those that can be named.
    pub fn excess(&self) -> BTreeMap<String, u64> {
        self.excess.take()
    }
}

/// Speaks to agents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    key: SigningKey,
}

impl Sender {
    /// A sender that signs with this key.
    pub fn new(client: Client, key: SigningKey) -> Self {
        Self { client, key }
    }

    /// The public key, 64 hexadecimal digits: what hosts' files must trust.
    pub fn public_key(&self) -> String {
        self.key.public()
    }

    /// Gives an order and waits for the agent's first word.
    pub async fn give(&self, order: &Order) -> Answer {
        let payload = match self.key.seal(order) {
            Ok(payload) => Bytes::from(payload),
            Err(cause) => return Answer::Silence(cause),
        };
        let request = self.client.request(orders_subject(&order.host), payload);
        match tokio::time::timeout(PATIENCE, request).await {
            Err(_) => Answer::Silence(format!("no answer in {} s", PATIENCE.as_secs())),
            Ok(Err(error)) => Answer::Silence(error.to_string()),
            Ok(Ok(message)) => match serde_json::from_slice::<Receipt>(&message.payload) {
                Ok(receipt) if receipt.id == order.id && receipt.host == order.host => {
                    Answer::Receipt(Box::new(receipt))
                }
                Ok(_) => Answer::Silence("the answer is about another order".into()),
                Err(error) => Answer::Silence(format!("the answer cannot be read: {error}")),
            },
        }
    }

    /// Receipts as agents hand them in. Each must be [`Sender::confirm`]ed once it is stored.
    pub fn receipts(&self) -> Receipts {
        let (sender, waiting) = mpsc::channel(WAITING);
        let (client, excess) = (self.client.clone(), Excess::default());
        let receipts = Receipts { waiting, excess: excess.clone() };
        tokio::spawn(async move {
            let (began, mut pace) = (Instant::now(), Pace::default());
            while !sender.is_closed() {
                match client.subscribe(RECEIPTS_FILTER).await {
                    Ok(mut messages) => {
                        while let Some(message) = messages.next().await {
                            let Some(agent) = agent_of(&message) else { continue };
                            // Before it is read: a flood costs no more than this.
                            if !pace.takes(agent, began.elapsed().as_secs()) {
                                excess.note(agent);
                                continue;
                            }
                            if let Some(handed_in) = read(message) {
                                // A full queue: the agent hands it in again.
                                let _ = sender.try_send(handed_in);
                            }
                        }
                    }
                    Err(error) => tracing::warn!(%error, "receipts cannot be listened for; trying again"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        receipts
    }

    /// Tells the agent that its receipt is stored.
    pub async fn confirm(&self, handed_in: &HandedIn) {
        let Some(reply) = &handed_in.reply else { return };
        let id = Bytes::copy_from_slice(handed_in.receipt.id.as_bytes());
        if let Err(error) = self.client.publish(reply.clone(), id).await {
            tracing::debug!(%error, "a receipt was not confirmed; it comes again");
        }
    }
}

/// The agent on whose subject a message came.
fn agent_of(message: &Message) -> Option<&str> {
    message.subject.strip_prefix("fettle.receipts.").filter(|name| is_agent_name(name))
}

/// The receipt in a message, if it is one and of the agent whose subject it came on.
fn read(message: Message) -> Option<HandedIn> {
    let agent = agent_of(&message)?;
    if message.payload.len() > MOST_BYTES {
        return None;
    }
    let mut receipt: Receipt = serde_json::from_slice(&message.payload).ok()?;
    if receipt.host != agent {
        tracing::warn!(agent, host = receipt.host, "a receipt came on another agent's subject; refused");
        return None;
    }
    if receipt.id.len() > NAME_BYTES || receipt.component.len() > NAME_BYTES {
        tracing::warn!(agent, "a receipt whose names are too long; refused");
        return None;
    }
    cut(&mut receipt);
    Some(HandedIn { receipt, reply: message.reply })
}

/// Cuts words to what agents send: they are kept in the state and in the audit.
fn cut(receipt: &mut Receipt) {
    cut_to(&mut receipt.output, OUTPUT_BYTES);
    cut_to(&mut receipt.because, WORDS_BYTES);
    if let Outcome::Failed { error } = &mut receipt.outcome {
        cut_to(error, WORDS_BYTES);
    }
    while receipt.before.len() > MOST_BEFORE {
        receipt.before.pop_last();
    }
    for value in receipt.before.values_mut() {
        cut_to(value, WORDS_BYTES);
    }
    receipt.before.retain(|key, _| key.len() <= NAME_BYTES);
}

fn cut_to(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fettle_shared::command::Action;

    use super::*;

    #[test]
    fn a_receipt_is_cut_to_what_agents_send() {
        let mut receipt = Receipt {
            id: "a".into(),
            host: "h".into(),
            component: "c".into(),
            action: Action::Restart,
            local: true,
            outcome: Outcome::Failed { error: "ß".repeat(5_000) },
            begun_us: 1,
            ended_us: 2,
            output: "x".repeat(1 << 20),
            before: (0..100).map(|at| (format!("{at:03}"), "y".repeat(5_000))).collect::<BTreeMap<_, _>>(),
            because: "z".repeat(5_000),
        };
        cut(&mut receipt);
        assert_eq!((receipt.output.len(), receipt.because.len()), (OUTPUT_BYTES, WORDS_BYTES));
        assert!(matches!(&receipt.outcome, Outcome::Failed { error } if error.len() == WORDS_BYTES));
        assert_eq!(receipt.before.len(), MOST_BEFORE);
        assert!(receipt.before.values().all(|value| value.len() == WORDS_BYTES));
    }
}
