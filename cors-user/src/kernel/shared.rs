//! Memory that the kernel programs read: arrays made with `BPF_F_MMAPABLE` (Linux 5.5).
//!
//! The kernel reads while the agent writes, so every access is of an atomic word of 64 bits. A
//! value of several words changes word by word: it is written where nobody reads, and named by
//! one word afterwards.

use std::{
    io,
    marker::PhantomData,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use bytemuck::Pod;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use thiserror::Error;

/// Why a map cannot be shared.
#[derive(Debug, Error)]
#[error("{bytes} bytes of a map cannot be mapped into memory: {source}")]
pub struct SharedError {
    bytes: usize,
    source: io::Error,
}

// SAFETY: the mapping belongs to the process and not to a thread, and is reached by atomic words
// alone.
unsafe impl<T: Send> Send for Shared<T> {}

const WORD: usize = size_of::<u64>();

/// The entries of an array map, each a `T` of whole words.
#[derive(Debug)]
pub(super) struct Shared<T> {
    start: NonNull<AtomicU64>,
    words: usize,
    entry: PhantomData<T>,
}

impl<T: Pod> Shared<T> {
    const ENTRY_WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(WORD) && size_of::<T>() != 0);
        size_of::<T>() / WORD
    };

    /// Maps an array of this many entries of `T`. The mapping keeps the map alive.
    pub(super) fn map(map: &MapData, entries: usize) -> Result<Self, SharedError> {
        Self::map_fd(map.fd().as_fd(), entries)
    }

    fn map_fd(fd: BorrowedFd<'_>, entries: usize) -> Result<Self, SharedError> {
        let words = entries * Self::ENTRY_WORDS;
        let bytes = words * WORD;
        let failed = |source| SharedError { bytes, source };
        let length = NonZeroUsize::new(bytes)
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice touches no other memory. The
        // kernel refuses one that is longer than the map.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { start: start.cast(), words, entry: PhantomData })
    }

    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.words / Self::ENTRY_WORDS
    }

    /// Writes a whole entry where nobody reads.
    ///
    /// # Panics
    ///
    /// Where there is no such entry.
    pub(super) fn store(&self, index: usize, value: &T) {
        let entry = self.entry(index);
        for (word, bytes) in entry.iter().zip(bytemuck::bytes_of(value).chunks_exact(WORD)) {
            word.store(from_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Writes one word of an entry, after everything that was written before. `offset` is in
    /// bytes; the word is the one that it is in.
    ///
    /// # Panics
    ///
    /// Where there is no such word.
    pub(super) fn publish(&self, index: usize, value: &T, offset: usize) {
        let at = offset / WORD;
        let bytes = &bytemuck::bytes_of(value)[at * WORD..][..WORD];
        self.entry(index)[at].store(from_bytes(bytes), Ordering::Release);
    }

    /// Reads an entry word by word: as a whole only where nobody writes meanwhile.
    ///
    /// # Panics
    ///
    /// Where there is no such entry.
    pub(super) fn read(&self, index: usize) -> T {
        let mut value = T::zeroed();
        let entry = self.entry(index);
        for (bytes, word) in bytemuck::bytes_of_mut(&mut value).chunks_exact_mut(WORD).zip(entry) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        value
    }

    fn entry(&self, index: usize) -> &[AtomicU64] {
        &self.all()[index * Self::ENTRY_WORDS..][..Self::ENTRY_WORDS]
    }

    fn all(&self) -> &[AtomicU64] {
        // SAFETY: the mapping starts on a page, has this many words, and lives as long as `self`.
        // Any bits are a value of an atomic word, and whoever else writes there (nobody) would
        // not break one.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and no reference into it
        // outlives `self`. It cannot fail with the values that `mmap` gave.
        let _ = unsafe { munmap(self.start.cast(), self.words * WORD) };
    }
}

fn from_bytes(bytes: &[u8]) -> u64 {
    bytemuck::pod_read_unaligned(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use super::*;

    /// A file in memory stands for a map; the size of an entry is that of three words.
    fn shared(entries: usize) -> (File, Shared<[u64; 3]>) {
        let fd = nix::sys::memfd::memfd_create(c"map", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
            .expect("a file in memory");
        let file = File::from(fd);
        file.set_len((entries * 24) as u64).expect("its length");
        let shared = Shared::map_fd(file.as_fd(), entries).expect("a mapping");
        (file, shared)
    }

    fn words(file: &File) -> Vec<u64> {
        let mut bytes = vec![0; file.metadata().expect("its length").len() as usize];
        file.read_exact_at(&mut bytes, 0).expect("its contents");
        bytes.chunks_exact(8).map(from_bytes).collect()
    }

    #[test]
    fn entries_are_where_the_kernel_looks_for_them() {
        let (file, shared) = shared(3);
        assert_eq!(shared.len(), 3);
        shared.store(1, &[1, 2, 3]);
        assert_eq!(words(&file), [0, 0, 0, 1, 2, 3, 0, 0, 0]);
        assert_eq!(shared.read(1), [1, 2, 3]);
        shared.publish(2, &[7, 8, 9], 12);
        assert_eq!(words(&file), [0, 0, 0, 1, 2, 3, 0, 8, 0]);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn there_is_nothing_behind_the_last() {
        shared(2).1.store(2, &[1, 2, 3]);
    }

    #[test]
    fn nothing_is_no_map() {
        let file = File::open("/dev/null").expect("a file");
        assert!(Shared::<u64>::map_fd(file.as_fd(), 0).is_err());
    }
}
