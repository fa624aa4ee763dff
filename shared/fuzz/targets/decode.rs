//! Feeds any bytes to the decoder: as a whole frame, and as the inside of a frame with right checksums.
#![no_main]

#[path = "../../tests/model/mod.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| model::attack::frame(bytes));
