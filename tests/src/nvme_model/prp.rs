//! The PRP walk (NVMe 1.4 §4.3).

use std::ops::Range;

use nitride_abi::nvme::{PAGE, Status};

use super::host::HostMemory;

/// Where a command's data lies: addresses and lengths, in order.
pub(super) type Pages = Vec<(u64, usize)>;

/// The pages that PRP1 and PRP2 give for `len` bytes.
pub(super) fn walk(host: &mut dyn HostMemory, prp1: u64, prp2: u64, len: usize) -> Result<Pages, Status> {
    if !prp1.is_multiple_of(4) {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    let first = len.min((PAGE - prp1 % PAGE) as usize);
    let mut pages = vec![(prp1, first)];
    let mut left = len - first;
    let page = PAGE as usize;
    if left == 0 {
        return Ok(pages);
    }
    if left <= page {
        pages.push((aligned(prp2)?, left));
        return Ok(pages);
    }
    if !prp2.is_multiple_of(8) {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    let mut list = prp2;
    while left > 0 {
        let mut entry = qword(host, list)?;
        let last_of_page = list % PAGE == PAGE - 8;
        if last_of_page && left > page {
            list = aligned(entry)?;
            entry = qword(host, list)?;
        }
        let part = left.min(page);
        pages.push((aligned(entry)?, part));
        left -= part;
        list += 8;
    }
    Ok(pages)
}

/// Copies the pages' bytes out of host memory.
pub(super) fn gather(host: &mut dyn HostMemory, pages: &Pages) -> Result<Vec<u8>, Status> {
    gather_part(host, pages, 0..pages.iter().map(|page| page.1).sum())
}

/// Copies a part of the pages' bytes together.
pub(super) fn gather_part(
    host: &mut dyn HostMemory,
    pages: &Pages,
    part: Range<usize>,
) -> Result<Vec<u8>, Status> {
    let mut data = vec![0; part.len()];
    let mut at = 0;
    for (address, len) in pages {
        let here = part.start.max(at)..part.end.min(at + len);
        if !here.is_empty() {
            let to = &mut data[here.start - part.start..here.end - part.start];
            host.read(address + (here.start - at) as u64, to).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        }
        at += len;
    }
    Ok(data)
}

/// Copies `data` into the pages.
pub(super) fn scatter(host: &mut dyn HostMemory, pages: &Pages, data: &[u8]) -> Result<(), Status> {
    let mut at = 0;
    for (address, len) in pages {
        host.write(*address, &data[at..at + len]).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        at += len;
    }
    Ok(())
}

fn aligned(entry: u64) -> Result<u64, Status> {
    if entry.is_multiple_of(PAGE) { Ok(entry) } else { Err(Status::PRP_OFFSET_INVALID) }
}

fn qword(host: &mut dyn HostMemory, address: u64) -> Result<u64, Status> {
    let mut bytes = [0; 8];
    host.read(address, &mut bytes).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme_model::FlatMemory;

    fn memory(entries: &[(usize, u64)]) -> FlatMemory {
        let mut memory = FlatMemory(vec![0; 0x20_0000]);
        for (at, entry) in entries {
            memory.0[*at..at + 8].copy_from_slice(&entry.to_le_bytes());
        }
        memory
    }

    #[test]
    fn one_page_ignores_prp2_and_two_pages_take_it_as_an_address() {
        let mut host = memory(&[]);
        assert_eq!(walk(&mut host, 0x1004, 1, 0xffc), Ok(vec![(0x1004, 0xffc)]));
        assert_eq!(walk(&mut host, 0x1ffc, 0x5000, 0x1004), Ok(vec![(0x1ffc, 4), (0x5000, 0x1000)]));
        assert_eq!(walk(&mut host, 0x1000, 0x5004, 0x1001), Err(Status::PRP_OFFSET_INVALID));
        assert_eq!(walk(&mut host, 0x1002, 0, 4), Err(Status::PRP_OFFSET_INVALID));
    }

    #[test]
    fn last_qword_of_a_list_page_is_data_only_for_the_last_page() {
        // One page is left at the last qword: it is data.
        let mut host = memory(&[(0x2ff0, 0x6000), (0x2ff8, 0x7000)]);
        assert_eq!(
            walk(&mut host, 0x1000, 0x2ff0, 0x3000),
            Ok(vec![(0x1000, 0x1000), (0x6000, 0x1000), (0x7000, 0x1000)])
        );
        // Two are left: it points to the next list.
        let mut host = memory(&[(0x2ff8, 0x3000), (0x3000, 0x6000), (0x3008, 0x7000)]);
        assert_eq!(
            walk(&mut host, 0x1000, 0x2ff8, 0x2004),
            Ok(vec![(0x1000, 0x1000), (0x6000, 0x1000), (0x7000, 4)])
        );
    }

    #[test]
    fn a_list_outside_of_memory_is_a_transfer_error() {
        let mut host = memory(&[]);
        assert_eq!(walk(&mut host, 0, 0x20_0000, 0x3000), Err(Status::DATA_TRANSFER_ERROR));
    }
}
