//! Guest memory: one sealed memfd, seen by KVM, by the boot loader, and by the functions it is mapped for.

use std::sync::Arc;

use nitride_driver::Memory;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use crate::kvm::{Error, Region};
use crate::layout::Layout;

/// Allocates the RAM of `layout`: the regions share one memfd, which no one can resize.
pub fn allocate(layout: &Layout) -> Result<Vec<Region>, Error> {
    let len: u64 = layout.ram.iter().map(|range| range.end - range.start).sum();
    let len = usize::try_from(len).map_err(|_| Error::Memory(std::io::ErrorKind::OutOfMemory.into()))?;
    let whole = Memory::new("nitride-guest", len, true).map_err(Error::Memory)?;
    if let [range] = layout.ram.as_slice() {
        return Ok(vec![Region { address: range.start, memory: Arc::new(whole) }]);
    }
    let mut offset = 0;
    let mut regions = Vec::new();
    for range in &layout.ram {
        let len = (range.end - range.start) as usize;
        let fd = whole.file().map_err(Error::Memory)?.into();
        let memory =
            Memory::map(fd, offset, len, nitride_driver::Access::ReadWrite).map_err(Error::Memory)?;
        regions.push(Region { address: range.start, memory: Arc::new(memory) });
        offset += len as u64;
    }
    Ok(regions)
}

/// The same memory mapped once more, in the form in which boot loaders take it.
pub fn for_loader(regions: &[Region]) -> Result<GuestMemoryMmap, Error> {
    let mut ranges = Vec::new();
    for region in regions {
        let file = region.memory.file().map_err(Error::Memory)?;
        let at = FileOffset::new(file, region.memory.offset());
        ranges.push((GuestAddress(region.address), region.memory.len(), Some(at)));
    }
    GuestMemoryMmap::from_ranges_with_files(ranges)
        .map_err(|error| Error::Memory(std::io::Error::other(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ABOVE, HOLE};
    use rustix::fs::{SealFlags, fcntl_get_seals};
    use vm_memory::Bytes;

    #[test]
    fn who_gets_the_memory_can_neither_resize_it_nor_change_its_seals() {
        for layout in [Layout::new(64 << 20, 40).unwrap(), Layout::new(HOLE + (2 << 20), 40).unwrap()] {
            for region in allocate(&layout).unwrap() {
                let file = region.memory.file().unwrap();
                let sealed = fcntl_get_seals(&file).unwrap();
                assert!(sealed.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL), "{sealed:?}");
                let len = file.metadata().unwrap().len();
                assert!(file.set_len(0).is_err() && file.set_len(2 * len).is_err());
            }
        }
    }

    #[test]
    fn loader_and_regions_see_the_same_bytes_on_both_sides_of_the_hole() {
        let regions = allocate(&Layout::new(HOLE + (2 << 20), 40).unwrap()).unwrap();
        let loader = for_loader(&regions).unwrap();
        loader.write_slice(b"below", GuestAddress(HOLE - 5)).unwrap();
        loader.write_slice(b"above", GuestAddress(ABOVE)).unwrap();
        assert!(loader.write_slice(b"hole!", GuestAddress(HOLE)).is_err());
        let mut bytes = [0; 5];
        assert!(regions[0].memory.read(HOLE as usize - 5, &mut bytes));
        assert_eq!(&bytes, b"below");
        assert!(regions[1].memory.read(0, &mut bytes));
        assert_eq!(&bytes, b"above");
    }
}
