use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};

use super::*;

/// A device that records what is done to it.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Device for Recorder {
    fn region_size(&self, region: Region) -> u64 {
        match region {
            Region::Config => 4096,
            Region::Bar(0) => 0x4000,
            Region::Bar(_) => 0,
        }
    }

    fn read(&self, region: Region, offset: u64, data: &mut [u8]) -> io::Result<()> {
        if (region, offset) == (Region::Bar(0), 0x3000) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()));
        }
        data.fill(offset as u8);
        if (region, offset) == (Region::Config, 0x10) {
            data[0] = 0x0c;
        }
        self.note(format!("read {region:?} {offset:#x} {}", data.len()));
        Ok(())
    }

    fn write(&self, region: Region, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(format!("write {region:?} {offset:#x} {data:x?}"));
        Ok(())
    }

    fn vectors(&self) -> usize {
        4
    }

    fn enable_vectors(&self, events: &[RawFd]) -> io::Result<()> {
        let set: Vec<_> = events.iter().map(|event| *event >= 0).collect();
        self.note(format!("enable {set:?}"));
        Ok(())
    }

    fn disable_vectors(&self) -> io::Result<()> {
        self.note("disable".into());
        Ok(())
    }

    fn map(&self, iova: u64, memory: &Arc<Memory>, access: Access) -> io::Result<()> {
        self.note(format!("map {iova:#x} {:#x} {access:?}", memory.len()));
        Ok(())
    }

    fn unmap(&self, iova: u64, len: usize) -> io::Result<()> {
        self.note(format!("unmap {iova:#x} {len:#x}"));
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        self.note("reset".into());
        Ok(())
    }
}

fn opened() -> (Vfio, Recorder) {
    let recorder = Recorder::default();
    let function = Vfio::on("recorder".into(), Box::new(recorder.clone())).unwrap();
    recorder.taken();
    (function, recorder)
}

#[test]
fn the_function_is_described_from_its_regions() {
    let (function, _) = opened();
    let info = function.info();
    assert_eq!(info.bars[0], Some(Bar { size: 0x4000, wide: true, prefetchable: true }));
    assert_eq!(info.bars[1..], [None; 5]);
    assert_eq!((info.msix_vectors, info.config_size), (4, 4096));
}

#[test]
fn accesses_are_split_into_aligned_dwords_lower_first() {
    let (function, recorder) = opened();
    function.bar_write(0, 0x28, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(recorder.taken(), ["write Bar(0) 0x28 [1, 2, 3, 4]", "write Bar(0) 0x2c [5, 6, 7, 8]"]);
    let mut data = [0; 7];
    function.config_read(0x41, &mut data).unwrap();
    assert_eq!(recorder.taken(), ["read Config 0x41 1", "read Config 0x42 2", "read Config 0x44 4"]);
    assert_eq!(data, [0x41, 0x42, 0x42, 0x44, 0x44, 0x44, 0x44]);
    assert!(matches!(function.bar_write(0, 0x2a, &[0; 4]), Err(Error::OutOfRange { .. })));
    assert!(matches!(function.bar_write(1, 0, &[0; 4]), Err(Error::OutOfRange { .. })));
    assert!(matches!(function.bar_read(0, 0x3000, &mut [0; 4]), Err(Error::Gone { .. })));
    assert!(recorder.taken().is_empty());
}

#[test]
fn vectors_are_only_disabled_where_vfio_needs_it() {
    let (function, recorder) = opened();
    let event: OwnedFd = eventfd(0, EventfdFlags::empty()).unwrap();
    let some = Some(event.as_fd());
    function.set_msix(&[some, None, some]).unwrap();
    assert_eq!(recorder.taken(), ["enable [true, false, true]"]);
    function.set_msix(&[None, some]).unwrap();
    assert_eq!(recorder.taken(), ["enable [false, true, false]"]);
    function.set_msix(&[some; 4]).unwrap();
    assert_eq!(recorder.taken(), ["disable", "enable [true, true, true, true]"]);
    function.set_msix(&[]).unwrap();
    function.set_msix(&[]).unwrap();
    assert_eq!(recorder.taken(), ["disable"]);
    assert!(matches!(function.set_msix(&[some; 5]), Err(Error::OutOfRange { .. })));
}

#[test]
fn memory_stays_mapped_until_it_is_unmapped_or_the_function_goes() {
    let (function, recorder) = opened();
    let memory = Arc::new(Memory::new("test", 0x2000, false).unwrap());
    function.dma_map(0x10_0000, memory.clone(), Access::ReadWrite).unwrap();
    function.dma_map(0x20_0000, memory.clone(), Access::Read).unwrap();
    assert!(matches!(function.dma_unmap(0x10_0000, 0x1000), Err(Error::OutOfRange { .. })));
    function.dma_unmap(0x10_0000, 0x2000).unwrap();
    assert_eq!(Arc::strong_count(&memory), 2);
    drop(function);
    assert_eq!(Arc::strong_count(&memory), 1);
    let expected = [
        "map 0x100000 0x2000 ReadWrite",
        "map 0x200000 0x2000 Read",
        "unmap 0x100000 0x2000",
        "unmap 0x200000 0x2000",
    ];
    assert_eq!(recorder.taken(), expected);
}

#[test]
fn a_reset_disables_interrupts_first() {
    let (function, recorder) = opened();
    let event: OwnedFd = eventfd(0, EventfdFlags::empty()).unwrap();
    function.set_msix(&[Some(event.as_fd())]).unwrap();
    function.reset().unwrap();
    function.set_msix(&[Some(event.as_fd())]).unwrap();
    assert_eq!(recorder.taken(), ["enable [true]", "disable", "reset", "enable [true]"]);
}

#[test]
fn addresses_are_checked_before_they_become_a_path() {
    assert_eq!(parse_address("01:1F.7").as_deref(), Some("0000:01:1f.7"));
    assert_eq!(parse_address("10ab:01:00.2").as_deref(), Some("10ab:01:00.2"));
    for bad in ["", "01:00", "01:20.0", "01:00.8", "../../x:00.0", "0000:01:00.2/..", "1:0.0"] {
        assert_eq!(parse_address(bad), None, "{bad}");
    }
    assert!(matches!(Vfio::open("ffff:ff:1f.7"), Err(Error::Io { .. })));
}
