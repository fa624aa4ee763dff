//! A store in the real engine, somebody who asks it, and what the collector makes of the same frames.
#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use fettle_collector::store::{AgentWindow, Assembler, Piece, Store, StoreSettings};
use fettle_history::{Ask, AskError};
use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{decode, Scratch};
use tokio::runtime::Handle;

/// The agent of all frames.
pub(crate) const HOST: &str = "web-1";

/// Asks the engine as the user who may only read.
pub(crate) struct Asker {
    client: reqwest::Client,
    url: String,
    runtime: Handle,
    asked: AtomicUsize,
}

impl Asker {
    pub(crate) fn new(url: &str, database: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, runtime) = (format!("{url}/?database={database}"), Handle::current());
        Self { client, url, runtime, asked: AtomicUsize::new(0) }
    }

    /// The same as the user who writes.
    pub(crate) fn writer(settings: &StoreSettings) -> Self {
        let login = format!(
            "&user={}&password={}",
            settings.user.as_deref().unwrap_or_default(),
            settings.password.as_ref().map_or("", |password| password.0.as_str())
        );
        let asker = Self::new(&settings.url, &settings.database);
        Self { url: asker.url.clone() + &login, ..asker }
    }

    /// Questions that were asked so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Ask for Asker {
    fn ask(&self, sql: &str, most_bytes: usize) -> Result<Vec<u8>, AskError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let asked = async {
            let answer = self.client.post(&self.url).body(sql.to_owned()).send().await.unwrap();
            let good = answer.status().is_success();
            (good, answer.bytes().await.unwrap().to_vec())
        };
        let (good, bytes) = self.runtime.block_on(asked);
        match bytes {
            bytes if !good => Err(AskError::Failed(String::from_utf8_lossy(&bytes).into_owned())),
            bytes if bytes.len() > most_bytes => Err(AskError::TooLarge { most_bytes }),
            bytes => Ok(bytes),
        }
    }
}

/// Stores frames as the collector does, in batches, and gives the seconds that its detection would see.
pub(crate) async fn ingest(store: &Store, frames: &[Vec<u8>]) -> BTreeMap<u32, AgentWindow> {
    let mut seconds: BTreeMap<u32, AgentWindow> = BTreeMap::new();
    let mut assembler = Assembler::new(catalogue());
    for (at, batch) in frames.chunks(7).enumerate() {
        assembler.keep_from(0);
        let mut scratch = Scratch::default();
        for bytes in batch {
            assembler.append(&decode(bytes, &mut scratch).unwrap());
        }
        let done = assembler.finish();
        for Piece { table, body, .. } in &done.pieces {
            store.insert_block(table, body, &format!("history:{table}:{at}")).await.unwrap();
        }
        assert_eq!((done.reductions.old, done.reductions.crowded), (0, 0));
        for second in done.reductions.seconds {
            seconds.entry(second.second).or_default().absorb(&second.window, catalogue());
        }
        done.pieces.into_iter().for_each(|piece| assembler.recycle(piece));
    }
    seconds
}
