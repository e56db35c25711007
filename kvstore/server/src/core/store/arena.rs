//! Rows at stable numbers, in chunks, so that growth copies nothing.

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

// === impl Arena ===

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, row: T) -> u32 {
        if let Some(number) = self.free.pop() {
            *self.get_mut(number) = row;
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(row);
        (last << CHUNK_BITS | (self.chunks[last].len() - 1)) as u32
    }

    pub(crate) fn get(&self, number: u32) -> &T {
        &self.chunks[number as usize >> CHUNK_BITS][number as usize & (CHUNK - 1)]
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.chunks[number as usize >> CHUNK_BITS][number as usize & (CHUNK - 1)]
    }

    /// The number may be given to another row from now on.
    pub(crate) fn remove(&mut self, number: u32) {
        self.free.push(number);
    }
}
