//! One raw image: a mapped file, and the sectors that are not in it yet.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::path::Path;

use rand::Rng;
use rand::rngs::SmallRng;
use rustix::fs::{FallocateFlags, FlockOperation};

use super::mapping::Mapping;

const PAGE: u64 = 4096;
const SECTOR: usize = 512;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be opened, mapped or flushed.
    #[error("image {path}: {what}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was being done.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another process has the file.
    #[error("image {path}: in use by another process (stop it, or attach the image read-only in both)")]
    Locked {
        /// The file.
        path: String,
    },
    /// The file's length is not a number of blocks.
    #[error(
        "image {path}: its length of {len} bytes is not a multiple of 4096, or 0 (make it with `truncate -s 1G {path}`)"
    )]
    Length {
        /// The file.
        path: String,
        /// Its length.
        len: u64,
    },
    /// The address is not on 4 KiB, or the image would reach past the media's 48-bit addresses.
    #[error("image {path}: media address {base:#x} is not a multiple of 4096 or leaves no room below 2^48")]
    Base {
        /// The file.
        path: String,
        /// The address.
        base: u64,
    },
    /// Another image is there.
    #[error("image {path}: at media address {base:#x} it overlaps the image at {other:#x}")]
    Overlap {
        /// The file.
        path: String,
        /// Its address.
        base: u64,
        /// The other image's.
        other: u64,
    },
    /// There is no image to detach.
    #[error("no image is attached at media address {base:#x}")]
    NotAttached {
        /// The address.
        base: u64,
    },
}

/// A page that differs from the file, with the sectors that do.
#[derive(Debug)]
struct DirtyPage {
    data: Box<[u8; PAGE as usize]>,
    sectors: u8,
}

/// A raw image, attached to the media.
#[derive(Debug)]
pub struct Image {
    base: u64,
    len: u64,
    path: String,
    read_only: bool,
    file: File,
    mapping: Mapping,
    /// What was written and not flushed, by page; `None` if writes go to the file at once.
    cache: Option<HashMap<u64, DirtyPage>>,
}

impl Image {
    pub(super) fn open(base: u64, path: &Path, read_only: bool, volatile: bool) -> Result<Self, ImageError> {
        let name = path.display().to_string();
        let failed = |what| {
            let path = name.clone();
            move |source| ImageError::Io { path, what, source }
        };
        let file = OpenOptions::new().read(true).write(!read_only).open(path).map_err(failed("open"))?;
        let lock = if read_only {
            FlockOperation::NonBlockingLockShared
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        rustix::fs::flock(&file, lock).map_err(|_| ImageError::Locked { path: name.clone() })?;
        let len = file.metadata().map_err(failed("size"))?.len();
        if len == 0 || len % PAGE != 0 {
            return Err(ImageError::Length { path: name, len });
        }
        if !base.is_multiple_of(PAGE) || base.checked_add(len).is_none_or(|end| end > 1 << 48) {
            return Err(ImageError::Base { path: name, base });
        }
        let mapping = Mapping::new(&file, len as usize, read_only).map_err(failed("map"))?;
        Ok(Self { base, len, path: name, read_only, file, mapping, cache: volatile.then(HashMap::new) })
    }

    /// Its first byte's media address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Writes to it fail.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        self.mapping.read(offset as usize, data);
        let Some(cache) = self.cache.as_ref().filter(|cache| !cache.is_empty()) else { return };
        for (page, at, part) in parts(offset, data.len()) {
            if let Some(dirty) = cache.get(&page) {
                data[part.clone()].copy_from_slice(&dirty.data[at..at + part.len()]);
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let Some(cache) = &mut self.cache else { return self.mapping.write(offset as usize, data) };
        for (page, at, part) in parts(offset, data.len()) {
            let dirty = cache.entry(page).or_insert_with(|| {
                let mut data = Box::new([0; PAGE as usize]);
                self.mapping.read((page * PAGE) as usize, &mut data[..]);
                DirtyPage { data, sectors: 0 }
            });
            dirty.data[at..at + part.len()].copy_from_slice(&data[part.clone()]);
            for sector in at / SECTOR..=(at + part.len() - 1) / SECTOR {
                dirty.sectors |= 1 << sector;
            }
        }
    }

    /// Zeroes a range; whole pages of it become a hole in the file, where the file system has holes.
    pub(super) fn zero(&mut self, range: Range<u64>) -> Result<(), ImageError> {
        let (first, last) = (range.start.next_multiple_of(PAGE), range.end - range.end % PAGE);
        if self.cache.is_some() || first >= last {
            self.write_zeroes(range);
            return Ok(());
        }
        self.write_zeroes(range.start..first);
        self.write_zeroes(last..range.end);
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, punch, first, last - first) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                self.write_zeroes(first..last);
                Ok(())
            }
            Err(error) => Err(self.failed("discard", error.into())),
        }
    }

    fn write_zeroes(&mut self, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(PAGE);
            self.write(at, &[0; PAGE as usize][..len as usize]);
            at += len;
        }
    }

    /// Makes a range durable.
    pub(super) fn flush(&mut self, range: Range<u64>) -> Result<(), ImageError> {
        if range.is_empty() || self.read_only {
            return Ok(());
        }
        if let Some(cache) = &mut self.cache {
            let pages = range.start / PAGE..range.end.div_ceil(PAGE);
            for (page, dirty) in cache.extract_if(|page, _| pages.contains(page)) {
                self.mapping.write((page * PAGE) as usize, &dirty.data[..]);
            }
        }
        self.mapping.flush(range).map_err(|source| self.failed("flush", source))
    }

    /// Loses what was not flushed, or each sector of it with a chance of one half.
    pub(super) fn power_cut(&mut self, mut keep: Option<&mut SmallRng>) {
        let Some(cache) = self.cache.as_mut().map(std::mem::take) else { return };
        // In page order, so that a seed decides.
        let mut pages: Vec<_> = cache.into_iter().collect();
        pages.sort_by_key(|(page, _)| *page);
        for (page, dirty) in pages {
            for sector in (0..8).filter(|sector| dirty.sectors >> sector & 1 != 0) {
                if keep.as_mut().is_some_and(Rng::random) {
                    let at = sector * SECTOR;
                    self.mapping.write(page as usize * PAGE as usize + at, &dirty.data[at..at + SECTOR]);
                }
            }
        }
    }

    fn failed(&self, what: &'static str, source: std::io::Error) -> ImageError {
        ImageError::Io { path: self.path.clone(), what, source }
    }
}

/// A range of bytes page by page: the page's number, the offset in it, and the part of the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let in_page = (at % PAGE) as usize;
        let part = done..len.min(done + PAGE as usize - in_page);
        done = part.end;
        (!part.is_empty()).then_some((at / PAGE, in_page, part))
    })
}
