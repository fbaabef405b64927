//! A file mapped into memory, reached by copies.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{MmapOptions, MmapRaw};

/// A shared mapping of a whole file. Whoever else has the file may change it at any time, so its bytes are
/// copied and never referred to.
#[derive(Debug)]
pub(super) struct Mapping(MmapRaw);

impl Mapping {
    /// Maps `file`; only for reading if `read_only`.
    pub(super) fn new(file: &File, len: usize, read_only: bool) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len);
        Ok(Self(if read_only { options.map_raw_read_only(file)? } else { options.map_raw(file)? }))
    }

    /// Copies bytes out. The range must lie inside of the mapping.
    pub(super) fn read(&self, offset: usize, data: &mut [u8]) {
        assert!(offset.checked_add(data.len()).is_some_and(|end| end <= self.0.len()));
        // SAFETY: the source was just checked to lie inside of the mapping, which lives as long as `self`;
        // `data` is memory of ours that cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr().add(offset), data.as_mut_ptr(), data.len()) };
    }

    /// Copies bytes in. The range must lie inside of the mapping, which must not be read-only.
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        assert!(offset.checked_add(data.len()).is_some_and(|end| end <= self.0.len()));
        // SAFETY: as in `read`; callers never write to an image that was opened read-only.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.0.as_mut_ptr().add(offset), data.len()) };
    }

    /// Makes a range durable.
    pub(super) fn flush(&self, range: Range<u64>) -> io::Result<()> {
        self.0.flush_range(range.start as usize, (range.end - range.start) as usize)
    }
}
