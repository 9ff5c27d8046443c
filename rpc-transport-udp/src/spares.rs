//! Buffers that were used and will be used again, a bounded number of them.
//!
//! Large buffers that come and go cost more than what is done with them: an allocator gives their
//! memory back to the system, and the next one comes in page by page.

/// Emptied buffers.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Vec<u8>>);

impl Spares {
    /// An empty buffer for so many bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.reserve(bytes);
        buffer
    }

    /// Keeps a buffer for later, unless there are `max` already.
    pub(crate) fn keep(&mut self, mut buffer: Vec<u8>, max: usize) {
        if self.0.len() < max {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let mut spares = Spares::default();
        let buffer = vec![7; 5000];
        let place = buffer.as_ptr();
        spares.keep(buffer, 1);
        spares.keep(vec![8; 5000], 1);
        let again = spares.take(3000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(spares.take(100).capacity() < 5000, "only one was kept");
    }
}
