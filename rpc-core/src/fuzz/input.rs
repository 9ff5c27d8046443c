//! Decisions out of the bytes of a fuzzer: few bytes for each, so that a changed byte changes one of
//! them; when they are used up, all that follow are 0.

/// What is left of the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many bytes, or what is left.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.iter_mut().zip(self.bytes(N)).for_each(|(to, from)| *to = *from);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `limit`, of no more bytes than it takes.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let number = match limit {
            0..=0x100 => self.u8().into(),
            0x101..=0x1_0000 => self.u16().into(),
            0x1_0001..=0x1_0000_0000 => self.u32().into(),
            _ => self.u64(),
        };
        number % limit.max(1)
    }

    pub(crate) fn size(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or(0)
    }

    /// One of these, if there are any.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.size(from.len());
        from.get(at).copied()
    }
}
