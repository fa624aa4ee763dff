//! The file as it is written: every key optional, unknown ones refused by name and line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use fettle_shared::access::RawAccess;
use serde::Deserialize;
use toml::Spanned;

use super::units::{Percent, Size, Span};

type Value<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub agent: Value<String>,
    pub nats: RawNats,
    pub spool: RawSpool,
    pub sample: RawSample,
    pub log: RawLog,
    pub metrics: RawMetrics,
    pub act: RawAct,
}

macro_rules! raw_nats {
    ($($(#[$about:meta])* $key:ident: $type:ty,)*) => {
        /// `[nats]`: how to connect, as shared says, and how to publish.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct RawNats {
            $($(#[$about])* $key: Value<$type>,)*
            pub partitions: Value<i64>,
            pub window: Value<i64>,
            pub ack_timeout: Value<Span>,
            pub resend_after: Value<Span>,
        }

        impl RawNats {
            /// How to connect, without the places in the file.
            pub(super) fn access(&self) -> RawAccess {
                RawAccess { $($key: self.$key.as_ref().map(|value| value.get_ref().clone()),)* }
            }

            /// Where in the file the value of such a key stands, if it does.
            pub(super) fn place(&self, key: &str) -> Option<Range<usize>> {
                match key {
                    $(stringify!($key) => self.$key.as_ref().map(Spanned::span),)*
                    _ => None,
                }
            }
        }
    };
}

fettle_shared::access_keys!(raw_nats);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSpool {
    pub dir: Value<PathBuf>,
    pub quota: Value<Size>,
    pub segment: Value<Size>,
    pub memory: Value<Size>,
    pub durability: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSample {
    pub target_rate: Value<f64>,
    pub cpu_budget: Value<Percent>,
    pub max_open_files: Value<i64>,
    pub discovery_interval: Value<Span>,
    pub rediscover_interval: Value<Span>,
    pub families: BTreeMap<Spanned<String>, RawFamily>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFamily {
    pub enabled: Option<bool>,
    pub interval: Value<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub format: Value<String>,
    pub level: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMetrics {
    pub listen: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAct {
    pub file: Value<PathBuf>,
    pub state_dir: Value<PathBuf>,
}
