//! Keys and values, each stored once, in chunks of equal slots.
//!
//! A slot's size is the next of its class's sizes, so that a freed slot serves the next piece of about the same length
//! and nothing ever moves. Pieces above the largest class get an allocation of their own.

/// Where a piece lies. Its length is its owner's to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(u64);

/// Slots up to here grow by 16 bytes, above it by an eighth: at most an eighth is lost.
const FINE: usize = 256;
const LARGEST: usize = 32 << 10;
/// Large enough to hold many small slots, small enough that a class with one piece costs little.
const CHUNK: usize = 64 << 10;
const CLASS_SHIFT: u32 = 56;
const OWN: u8 = u8::MAX;

#[derive(Debug)]
struct Class {
    size: usize,
    per_chunk: usize,
    chunks: Vec<Box<[u8]>>,
    used: usize,
    free: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct BytesSlab {
    classes: Vec<Class>,
    own: Vec<Box<[u8]>>,
    own_free: Vec<u64>,
}

// === impl BytesSlab ===

impl BytesSlab {
    pub(crate) fn new() -> Self {
        let mut classes = Vec::new();
        let mut size = 16;
        while size <= LARGEST {
            let per_chunk = (CHUNK / size).max(1);
            classes.push(Class { size, per_chunk, chunks: Vec::new(), used: 0, free: Vec::new() });
            size += if size < FINE { 16 } else { (size / 8).next_multiple_of(16) };
        }
        Self { classes, own: Vec::new(), own_free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, piece: &[u8]) -> Handle {
        let class = self.class_of(piece.len());
        if class == OWN {
            let slot = match self.own_free.pop() {
                Some(slot) => {
                    self.own[slot as usize] = piece.into();
                    slot
                }
                None => {
                    self.own.push(piece.into());
                    self.own.len() as u64 - 1
                }
            };
            return Handle(u64::from(OWN) << CLASS_SHIFT | slot);
        }
        let (slot, place) = self.classes[usize::from(class)].take();
        place[..piece.len()].copy_from_slice(piece);
        Handle(u64::from(class) << CLASS_SHIFT | slot)
    }

    pub(crate) fn get(&self, handle: Handle, len: u32) -> &[u8] {
        let (class, slot) = handle.parts();
        if class == OWN {
            return &self.own[slot as usize];
        }
        let class = &self.classes[usize::from(class)];
        let start = slot as usize % class.per_chunk * class.size;
        &class.chunks[slot as usize / class.per_chunk][start..start + len as usize]
    }

    pub(crate) fn remove(&mut self, handle: Handle) {
        let (class, slot) = handle.parts();
        if class == OWN {
            self.own[slot as usize] = Box::default();
            self.own_free.push(slot);
        } else {
            self.classes[usize::from(class)].free.push(slot);
        }
    }

    /// Bytes that a piece of this length takes.
    pub(crate) fn cost(&self, len: usize) -> u64 {
        let class = self.class_of(len);
        if class == OWN { len as u64 } else { self.classes[usize::from(class)].size as u64 }
    }

    fn class_of(&self, len: usize) -> u8 {
        let class = self.classes.partition_point(|class| class.size < len);
        if class == self.classes.len() { OWN } else { class as u8 }
    }
}

// === impl Class ===

impl Class {
    fn take(&mut self) -> (u64, &mut [u8]) {
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.used == self.chunks.len() * self.per_chunk {
                self.chunks.push(vec![0; self.size * self.per_chunk].into());
            }
            self.used += 1;
            self.used as u64 - 1
        });
        let start = slot as usize % self.per_chunk * self.size;
        (slot, &mut self.chunks[slot as usize / self.per_chunk][start..start + self.size])
    }
}

// === impl Handle ===

impl Handle {
    fn parts(self) -> (u8, u64) {
        ((self.0 >> CLASS_SHIFT) as u8, self.0 & ((1 << CLASS_SHIFT) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_freed_slots_are_reused() {
        let mut slab = BytesSlab::new();
        let piece = |len: usize| (0..len).map(|i| (i * 7 + len) as u8).collect::<Vec<_>>();
        let lengths: Vec<usize> = (0..700).chain([4096, 32 << 10, (32 << 10) + 1, 1 << 20]).collect();
        for _ in 0..2 {
            let handles: Vec<Handle> = lengths.iter().map(|len| slab.insert(&piece(*len))).collect();
            for (len, handle) in lengths.iter().zip(&handles) {
                assert_eq!(slab.get(*handle, *len as u32), piece(*len), "length {len}");
            }
            handles.into_iter().for_each(|handle| slab.remove(handle));
        }
        assert_eq!(slab.own.len(), slab.own_free.len());
        assert!(!slab.own.is_empty(), "the largest have allocations of their own");
        assert!(slab.classes.iter().all(|class| class.used == class.free.len()));
    }
}
