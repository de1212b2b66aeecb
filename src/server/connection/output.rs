//! What is written to a caller.

use std::{cell::Cell, mem::take};

use bytes::Bytes;

/// The bytes of an answer, in a buffer that the thread's next answer uses again.
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// What follows them.
    pub(super) body: Bytes,
    pub(super) written: usize,
}

impl Output {
    pub(super) fn take() -> Self {
        Self { bytes: BUFFER.take(), body: Bytes::new(), written: 0 }
    }

    /// What is to be written next.
    pub(super) fn rest(&self) -> &[u8] {
        match self.written.checked_sub(self.bytes.len()) {
            Some(written) => self.body.get(written..).unwrap_or_default(),
            None => self.bytes.get(self.written..).unwrap_or_default(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() <= MAX_KEPT_BUFFER {
            BUFFER.set(take(&mut self.bytes));
        }
    }
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

const MAX_KEPT_BUFFER: usize = 16 * 1024;
