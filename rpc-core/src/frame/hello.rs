//! The hello: what each side tells the other about itself before anything else; no negotiation.

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
}
