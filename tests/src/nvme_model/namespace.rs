//! A namespace: blocks in a byte vector.

use nitride_abi::nvme::{LBA_FORMATS, Status};

/// An active namespace and its medium.
#[derive(Debug, Clone)]
pub struct Namespace {
    format: u8,
    read_only: bool,
    data: Vec<u8>,
}

impl Namespace {
    /// A namespace of zeroed blocks. `format` is an index of [`LBA_FORMATS`].
    pub fn new(blocks: u64, format: u8) -> Self {
        let bytes = usize::try_from(blocks << LBA_FORMATS[format as usize]).expect("a medium fits in memory");
        Self { format, read_only: false, data: vec![0; bytes] }
    }

    /// A namespace with a medium of `data`, of which a part of a block at the end is not used.
    pub fn with_data(data: Vec<u8>, format: u8) -> Self {
        Self { format, read_only: false, data }
    }

    /// The same, write protected.
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// The index of its LBA format.
    pub fn format(&self) -> u8 {
        self.format
    }

    /// Whether it is write protected.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// log2 of its block size in bytes.
    pub fn block_shift(&self) -> u8 {
        LBA_FORMATS[self.format as usize]
    }

    /// Its size in blocks.
    pub fn blocks(&self) -> u64 {
        self.data.len() as u64 >> self.block_shift()
    }

    /// Its medium.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes of `count` blocks from `first` on.
    pub(super) fn range(&self, first: u64, count: u64) -> Result<std::ops::Range<usize>, Status> {
        let end =
            first.checked_add(count).filter(|end| *end <= self.blocks()).ok_or(Status::LBA_OUT_OF_RANGE)?;
        Ok((first << self.block_shift()) as usize..(end << self.block_shift()) as usize)
    }

    pub(super) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}
