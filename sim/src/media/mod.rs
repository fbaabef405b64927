//! The media behind the card: images at addresses, with a volatile write cache where one is asked for.

mod axi;
mod image;
mod mapping;

use std::ops::Range;
use std::path::Path;

pub(crate) use axi::AxiSlave;
pub use image::{Image, ImageError};
use rand::rngs::SmallRng;

use crate::edge::MediaOperation;

/// How an access to the media ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaStatus {
    /// AXI OKAY.
    Ok,
    /// AXI SLVERR: an injected error, or a write to a read-only image.
    SlaveError,
    /// AXI DECERR: no image is there, or an injected error.
    DecodeError,
}

/// A range of the media whose accesses fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRange {
    /// Media byte addresses.
    pub range: Range<u64>,
    /// Reads fail.
    pub reads: bool,
    /// Writes fail.
    pub writes: bool,
    /// Flushes, discards and writes of zeroes fail.
    pub commands: bool,
    /// Reads and writes end with DECERR instead of SLVERR.
    pub decode: bool,
}

/// The media's contents: raw images, each at an address of its own.
#[derive(Debug)]
pub struct Media {
    images: Vec<Image>,
    errors: Vec<ErrorRange>,
    volatile: bool,
}

impl Media {
    pub(crate) fn new(volatile: bool) -> Self {
        Self { images: Vec::new(), errors: Vec::new(), volatile }
    }

    /// Opens the raw image at `path`, locks it against other processes, and puts it at the address `base`
    /// (a multiple of 4 KiB, with room for the whole image). Gives its length in bytes.
    pub fn attach(&mut self, base: u64, path: &Path, read_only: bool) -> Result<u64, ImageError> {
        let image = Image::open(base, path, read_only, self.volatile)?;
        let len = image.len();
        if let Some(other) = self.images.iter().find(|i| i.base() < base + len && base < i.base() + i.len()) {
            return Err(ImageError::Overlap { path: path.display().to_string(), base, other: other.base() });
        }
        self.images.push(image);
        Ok(len)
    }

    /// Makes the image at `base` durable and takes it away. What reaches its addresses later fails.
    pub fn detach(&mut self, base: u64) -> Result<(), ImageError> {
        let index =
            self.images.iter().position(|i| i.base() == base).ok_or(ImageError::NotAttached { base })?;
        let mut image = self.images.swap_remove(index);
        let len = image.len();
        image.flush(0..len)
    }

    /// The images, in no order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Makes everything durable.
    pub fn flush(&mut self) -> Result<(), ImageError> {
        self.images.iter_mut().try_for_each(|image| {
            let len = image.len();
            image.flush(0..len)
        })
    }

    /// Lets the accesses to a range fail from now on; [`Media::clear_errors`] ends it.
    pub fn inject_error(&mut self, error: ErrorRange) {
        self.errors.push(error);
    }

    /// Ends all injected errors.
    pub fn clear_errors(&mut self) {
        self.errors.clear();
    }

    /// Cuts the power of a volatile media ([`crate::MediaOptions::volatile`]): every sector of 512 bytes that was not
    /// flushed is lost, or with `keep` kept with a chance of one half, as a cache that was writing back would.
    pub fn power_cut(&mut self, keep: Option<&mut SmallRng>) {
        let mut keep = keep;
        for image in &mut self.images {
            image.power_cut(keep.as_deref_mut());
        }
    }

    /// The injected error that an access meets.
    fn error(&self, address: u64, len: u64, concerns: impl Fn(&ErrorRange) -> bool) -> Option<MediaStatus> {
        let hit = |e: &&ErrorRange| address < e.range.end && e.range.start < address.saturating_add(len);
        let error = self.errors.iter().filter(hit).find(|error| concerns(error))?;
        Some(if error.decode { MediaStatus::DecodeError } else { MediaStatus::SlaveError })
    }

    fn image(&mut self, address: u64, len: u64) -> Option<(&mut Image, u64)> {
        let image = self.images.iter_mut().find(|i| i.base() <= address && address - i.base() < i.len())?;
        let offset = address - image.base();
        (len <= image.len() - offset).then_some((image, offset))
    }

    /// Reads bytes; what fails gives zeroes.
    pub(crate) fn read(&mut self, address: u64, data: &mut [u8]) -> MediaStatus {
        data.fill(0);
        if let Some(error) = self.error(address, data.len() as u64, |error| error.reads) {
            return error;
        }
        let Some((image, offset)) = self.image(address, data.len() as u64) else {
            return MediaStatus::DecodeError;
        };
        image.read(offset, data);
        MediaStatus::Ok
    }

    /// Writes bytes: all of them or, if that fails, none.
    pub(crate) fn write(&mut self, address: u64, data: &[u8]) -> MediaStatus {
        if let Some(error) = self.error(address, data.len() as u64, |error| error.writes) {
            return error;
        }
        match self.image(address, data.len() as u64) {
            None => MediaStatus::DecodeError,
            Some((image, _)) if image.read_only() => MediaStatus::SlaveError,
            Some((image, offset)) => {
                image.write(offset, data);
                MediaStatus::Ok
            }
        }
    }

    /// Carries a command of the media stream out; `false` if it failed.
    pub(crate) fn command(&mut self, operation: MediaOperation, address: u64, length: u64) -> bool {
        if self.error(address, length, |error| error.commands).is_some() {
            return false;
        }
        let Some((image, offset)) = self.image(address, length) else { return false };
        let range = offset..offset + length;
        match operation {
            MediaOperation::Flush => image.flush(range).is_ok(),
            MediaOperation::Discard | MediaOperation::WriteZeroes => {
                !image.read_only() && image.zero(range).is_ok()
            }
        }
    }
}
