//! Rules: what counts as wrong. A file of rules is read into a tree ([`tree`]), settled into rules ([`settle`],
//! [`kinds`], [`other_kinds`]) and put together into a [`RuleSet`]; an [`Evaluator`] makes findings of seconds and signals.
//! `docs/rules.md` describes the files.

mod evaluator;
mod expression;
mod hosts;
mod kinds;
mod level;
mod other_kinds;
mod problem;
mod quantity;
mod reader;
mod renewed;
mod rule;
mod saved;
mod select;
mod set;
mod settle;
mod signals;
mod silence;
mod speaker;
mod template;
mod threshold;
mod tree;
pub mod trial;
mod window;

pub use evaluator::{severity_name, Evaluator, RuleFigures, Settings, SqlRow};
pub use problem::Problem;
pub use rule::{Rule, SqlRule};
pub use saved::Saved;
pub use set::{RuleSet, DEFAULT_PACK, DEFAULT_PACK_NAME, MOST_RULES};
pub use signals::{AnomalySignal, ForecastSignal, PredictionSignal, SeriesName};
pub use speaker::Ending;
pub use tree::MOST_BYTES;
