//! The frame's outside, put together by hand from the format's description: bincode 2 for the
//! envelope (a test oracle only), zstd, and the header's bytes at their written offsets. With it the
//! tests make frames that no builder would.

use xxhash_rust::xxh3::xxh3_64;

/// Family, scans, entities, then the streams: times, keys, presence, changes, metrics, values.
pub type WireBlock = (u16, u16, u32, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);
/// Boot, first, last, rows, samples.
pub type WireRange = (u64, u64, u64, u64, u64);
/// Blocks and dropped ranges.
pub type Envelope = (Vec<WireBlock>, Vec<WireRange>);

/// Bytes of a frame's header.
pub const HEADER: usize = 144;

/// What the header claims.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The first four bytes.
    pub magic: [u8; 4],
    /// Format.
    pub version: u16,
    /// Flags.
    pub flags: u16,
    /// Agent name, padded with zeros.
    pub agent: Vec<u8>,
    /// Sequence number.
    pub seq: u64,
    /// Earliest time.
    pub first_us: i64,
    /// Latest time.
    pub last_us: i64,
    /// Rows.
    pub rows: u32,
    /// Samples.
    pub samples: u64,
    /// Added to the true uncompressed length.
    pub raw_off: i64,
    /// Added to the true payload length.
    pub payload_off: i64,
}

impl Default for Claims {
    fn default() -> Self {
        let (magic, agent) = (*b"FTLE", b"oracle".to_vec());
        let (rows, samples, first_us, last_us) = (1, 1, 0, 1_000_000);
        Self {
            magic,
            version: 1,
            flags: 0,
            agent,
            seq: 1,
            first_us,
            last_us,
            rows,
            samples,
            raw_off: 0,
            payload_off: 0,
        }
    }
}

impl Claims {
    /// Claims of one family with these rows and metrics.
    pub fn of(rows: u32, metrics: u64) -> Self {
        Self { rows, samples: u64::from(rows) * metrics, ..Self::default() }
    }

    /// A whole frame: these claims over this envelope, all checksums right.
    pub fn frame(&self, envelope: &Envelope) -> Vec<u8> {
        self.frame_of_raw(&bincode::encode_to_vec(envelope, bincode::config::standard()).expect("encodes"))
    }

    /// A whole frame over these uncompressed payload bytes.
    pub fn frame_of_raw(&self, raw: &[u8]) -> Vec<u8> {
        self.frame_of_payload(&zstd::bulk::compress(raw, 1).expect("compresses"), raw.len() as i64)
    }

    /// A whole frame over this payload.
    pub fn frame_of_payload(&self, payload: &[u8], raw_len: i64) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        out[0..4].copy_from_slice(&self.magic);
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out[6..8].copy_from_slice(&self.flags.to_le_bytes());
        out[8..8 + self.agent.len()].copy_from_slice(&self.agent);
        out[72..80].copy_from_slice(&7u64.to_le_bytes());
        out[80..88].copy_from_slice(&self.seq.to_le_bytes());
        out[88..96].copy_from_slice(&self.first_us.to_le_bytes());
        out[96..104].copy_from_slice(&self.last_us.to_le_bytes());
        out[104..108].copy_from_slice(&self.rows.to_le_bytes());
        out[108..112].copy_from_slice(&((payload.len() as i64 + self.payload_off) as u32).to_le_bytes());
        out[112..116].copy_from_slice(&((raw_len + self.raw_off) as u32).to_le_bytes());
        out[116..120].copy_from_slice(&1u32.to_le_bytes());
        out[120..128].copy_from_slice(&self.samples.to_le_bytes());
        out[128..136].copy_from_slice(&xxh3_64(payload).to_le_bytes());
        let hash = xxh3_64(&out[..136]);
        out[136..144].copy_from_slice(&hash.to_le_bytes());
        out.extend_from_slice(payload);
        out
    }
}

/// The uncompressed payload of a frame.
pub fn raw_of(frame: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(&frame[HEADER..], 64 << 20).expect("a frame's payload is zstd")
}

/// The envelope of a frame as bincode reads it.
pub fn envelope_of(frame: &[u8]) -> Envelope {
    let raw = raw_of(frame);
    let (envelope, used) =
        bincode::decode_from_slice(&raw, bincode::config::standard()).expect("bincode reads it");
    assert_eq!(used, raw.len(), "bincode reads all of it");
    envelope
}

/// The same header as in `frame`, over another payload.
pub fn with_raw(frame: &[u8], raw: &[u8]) -> Vec<u8> {
    let payload = zstd::bulk::compress(raw, 1).expect("compresses");
    let mut out = frame[..HEADER].to_vec();
    out[108..112].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    out[112..116].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    out[128..136].copy_from_slice(&xxh3_64(&payload).to_le_bytes());
    let hash = xxh3_64(&out[..136]);
    out[136..144].copy_from_slice(&hash.to_le_bytes());
    out.extend_from_slice(&payload);
    out
}

/// A varint as the format has it.
pub fn varint(mut value: u128) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A zigzagged varint.
pub fn signed(value: i64) -> Vec<u8> {
    varint(u128::from(((value << 1) ^ (value >> 63)) as u64))
}

/// The smallest block that is right: one entity without key, one scan at time 5, one metric, value 3.
pub fn plain_block(family: u16) -> WireBlock {
    (family, 1, 1, signed(5), Vec::new(), Vec::new(), varint(1), varint(1), signed(3))
}
