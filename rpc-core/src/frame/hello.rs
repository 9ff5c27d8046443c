//! The hello: what each side tells the other about itself before anything else; no negotiation.

/// Bytes of a hello after the common bytes. Spec: `r[hello.layout]`.
pub(super) const BYTES: usize = 44;

/// What one side tells the other in its first frame. Spec: `r[hello.layout]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The version of the frames that it speaks.
    pub(crate) version: u16,
    /// The codec of its message bodies.
    pub(crate) codec: u16,
    /// Which optional parts of the protocol it knows.
    pub(crate) features: Features,
    /// A random number for this run of the process.
    pub(crate) instance: u128,
    /// The largest frame it accepts.
    pub(crate) frame_bytes: u32,
    /// The largest message it accepts.
    pub(crate) message_bytes: u32,
    /// How many calls it accepts at a time.
    pub(crate) calls: u32,
    /// The largest metadata it accepts with a call.
    pub(crate) metadata_bytes: u32,
    /// How many bytes of streams it accepts before it grants more. None until streams exist.
    pub(crate) window_bytes: u32,
}

/// Optional parts of the protocol, one bit each. None is defined yet. Spec: `r[hello.features]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features(pub(crate) u32);

impl Hello {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // r[impl hello.layout]
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.codec.to_le_bytes());
        out.extend_from_slice(&self.features.0.to_le_bytes());
        out.extend_from_slice(&self.instance.to_le_bytes());
        for limit in [
            self.frame_bytes,
            self.message_bytes,
            self.calls,
            self.metadata_bytes,
            self.window_bytes,
        ] {
            out.extend_from_slice(&limit.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8; BYTES]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let instance = bytes[8..24].iter().rev().fold(0, |n, byte| n << 8 | u128::from(*byte));
        Self {
            version: u16_at(0),
            codec: u16_at(2),
            features: Features(u32_at(4)),
            instance,
            frame_bytes: u32_at(24),
            message_bytes: u32_at(28),
            calls: u32_at(32),
            metadata_bytes: u32_at(36),
            window_bytes: u32_at(40),
        }
    }
}
