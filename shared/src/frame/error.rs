//! Why a frame was refused: one variant for each thing that can be wrong, so that every refusal has
//! a countable reason.

/// A refused frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than a header.
    #[error("the frame is cut off: {have} bytes where a header needs {need}; it is sent again")]
    ShortHeader {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Not a frame at all.
    #[error("the message does not begin like a frame; check who else publishes on this subject")]
    Magic,
    /// The header's own checksum does not fit.
    #[error("the frame's header is damaged; it is sent again")]
    HeaderChecksum,
    /// A later format.
    #[error("the frame has format {0}, which this program does not know; upgrade the collector first")]
    Version(u16),
    /// A header field outside its bounds.
    #[error("the frame's header claims an impossible {0}; it is not taken")]
    Bounds(&'static str),
    /// The payload is shorter or longer than the header says.
    #[error("the frame carries {have} payload bytes where its header says {need}; it is sent again")]
    PayloadLength {
        /// Bytes there.
        have: usize,
        /// Bytes the header promises.
        need: usize,
    },
    /// The payload's checksum does not fit.
    #[error("the frame's payload is damaged; it is sent again")]
    PayloadChecksum,
    /// zstd refused, or gave another length than promised.
    #[error("the frame's payload does not decompress to what its header says; it is not taken")]
    Decompress,
    /// The envelope is not what bincode should read.
    #[error("the frame's envelope does not parse; it is not taken")]
    Envelope,
    /// A block contradicts itself or the header.
    #[error("the frame's block of family {family} has a wrong {what}; it is not taken")]
    Block {
        /// Family number.
        family: u16,
        /// Which part.
        what: &'static str,
    },
    /// A report of dropped frames that cannot be, or one in a frame that is not a report.
    #[error("the frame's report of dropped frames has a wrong {0}; it is not taken")]
    Dropped(&'static str),
    /// The blocks do not add up to the header's totals.
    #[error("the frame's blocks do not add up to the {0} its header promises; it is not taken")]
    Totals(&'static str),
}

impl FrameError {
    /// Short stable word for a metric label or a message header.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ShortHeader { .. } => "short_header",
            Self::Magic => "magic",
            Self::HeaderChecksum => "header_checksum",
            Self::Version(_) => "version",
            Self::Bounds(_) => "bounds",
            Self::PayloadLength { .. } => "payload_length",
            Self::PayloadChecksum => "payload_checksum",
            Self::Decompress => "decompress",
            Self::Envelope => "envelope",
            Self::Block { .. } => "block",
            Self::Dropped(_) => "dropped",
            Self::Totals(_) => "totals",
        }
    }
}
