//! An IOMMU domain for each requester.

use std::collections::BTreeMap;
use std::sync::Arc;

use nitride_driver::{Access, Memory};

/// Why a range cannot be mapped or unmapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Not on 4 KiB.
    #[error("I/O virtual address and length must be multiples of 4 KiB")]
    Unaligned,
    /// The range wraps around the address space.
    #[error("the range reaches past the end of the address space")]
    TooLong,
    /// Something is mapped there already.
    #[error("the range overlaps one that is mapped")]
    Overlap,
    /// The messages of MSI-X go there.
    #[error("the range overlaps 0xfee00000 to 0xfeefffff, where interrupt messages go")]
    Interrupts,
    /// Nothing was mapped at exactly this range.
    #[error("nothing is mapped at exactly this range")]
    NotMapped,
}

#[derive(Debug)]
struct Range {
    memory: Arc<Memory>,
    access: Access,
}

/// The domains of all functions: I/O virtual addresses to memory.
#[derive(Debug)]
pub(crate) struct Iommu {
    domains: Vec<BTreeMap<u64, Range>>,
}

impl Iommu {
    pub(crate) fn new() -> Self {
        Self { domains: (0..256).map(|_| BTreeMap::new()).collect() }
    }

    pub(crate) fn map(
        &mut self,
        function: u8,
        iova: u64,
        memory: Arc<Memory>,
        access: Access,
    ) -> Result<(), MapError> {
        let len = memory.len() as u64;
        if !iova.is_multiple_of(4096) || !len.is_multiple_of(4096) {
            return Err(MapError::Unaligned);
        }
        let end = iova.checked_add(len).ok_or(MapError::TooLong)?;
        let (first, last) = nitride_abi::tlp::MSI_WINDOW.into_inner();
        if iova <= last && end > first {
            return Err(MapError::Interrupts);
        }
        let domain = &mut self.domains[usize::from(function)];
        if let Some((start, range)) = domain.range(..end).next_back()
            && start + range.memory.len() as u64 > iova
        {
            return Err(MapError::Overlap);
        }
        domain.insert(iova, Range { memory, access });
        Ok(())
    }

    pub(crate) fn unmap(&mut self, function: u8, iova: u64, len: u64) -> Result<(), MapError> {
        let domain = &mut self.domains[usize::from(function)];
        match domain.get(&iova) {
            Some(range) if range.memory.len() as u64 == len => {
                domain.remove(&iova);
                Ok(())
            }
            _ => Err(MapError::NotMapped),
        }
    }

    /// Closes the whole domain.
    pub(crate) fn clear(&mut self, function: u8) {
        self.domains[usize::from(function)].clear();
    }

    /// Memory and offset behind `len` bytes at `iova`; `None` is a fault.
    pub(crate) fn translate(
        &self,
        function: u8,
        iova: u64,
        len: usize,
        write: bool,
    ) -> Option<(&Memory, usize)> {
        let (start, range) = self.domains[usize::from(function)].range(..=iova).next_back()?;
        let offset = iova - start;
        let inside = offset.checked_add(len as u64).is_some_and(|end| end <= range.memory.len() as u64);
        (inside && (!write || range.access == Access::ReadWrite)).then(|| (&*range.memory, offset as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(pages: usize) -> Arc<Memory> {
        Arc::new(Memory::new("iommu-test", pages * 4096, false).unwrap())
    }

    #[test]
    fn only_what_is_mapped_with_the_right_access_translates() {
        let mut iommu = Iommu::new();
        iommu.map(2, 0x10_000, memory(2), Access::ReadWrite).unwrap();
        iommu.map(2, 0x12_000, memory(1), Access::Read).unwrap();
        assert_eq!(iommu.translate(2, 0x11_ff8, 8, true).unwrap().1, 0x1ff8);
        assert!(iommu.translate(2, 0x11_ff8, 9, true).is_none(), "it does not run on into the next mapping");
        assert!(iommu.translate(2, 0x12_000, 4, false).is_some());
        assert!(iommu.translate(2, 0x12_000, 4, true).is_none(), "read-only memory takes no write");
        assert!(iommu.translate(2, 0xf_fff, 1, false).is_none());
        assert!(iommu.translate(2, 0x13_000, 1, false).is_none());
        assert!(iommu.translate(2, u64::MAX, 8, false).is_none());
        assert!(iommu.translate(3, 0x10_000, 4, false).is_none(), "another function has another domain");
        assert_eq!(iommu.unmap(2, 0x10_000, 4096), Err(MapError::NotMapped));
        iommu.unmap(2, 0x10_000, 8192).unwrap();
        assert!(iommu.translate(2, 0x10_000, 4, false).is_none());
    }

    #[test]
    fn overlapping_unaligned_and_wrapping_maps_are_refused() {
        let mut iommu = Iommu::new();
        let mut map = |iova, pages| iommu.map(0, iova, memory(pages), Access::ReadWrite);
        map(0x10_000, 4).unwrap();
        for iova in [0xd_000, 0x10_000, 0x13_000] {
            assert_eq!(map(iova, 4), Err(MapError::Overlap), "{iova:x}");
        }
        assert_eq!(map(0xc_000, 4), Ok(()));
        assert_eq!(map(0x14_000, 4), Ok(()));
        assert_eq!(map(0x1_0010, 1), Err(MapError::Unaligned));
        assert_eq!(map(u64::MAX - 4095, 1), Err(MapError::TooLong));
        assert_eq!(map(0xfedf_f000, 2), Err(MapError::Interrupts));
    }
}
