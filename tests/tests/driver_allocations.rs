//! The NVMe driver allocates nothing for a command.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nitride_abi::card::PF_STORAGE;
use nitride_driver::nvme::{Command, Nvme, Options, Wait};
use nitride_driver::{Access, Function, Info, Interrupts, Memory, Result};
use nitride_tests::differential;
use nitride_tests::nvme_model::ModelFunction;

/// Counts the allocations of threads that asked for it.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The model, whose own allocations are not counted.
struct Uncounted(ModelFunction);

fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let before = COUNTED.replace(false);
    let result = work();
    COUNTED.set(before);
    result
}

impl Function for Uncounted {
    fn info(&self) -> &Info {
        self.0.info()
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        uncounted(|| self.0.config_read(offset, data))
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        uncounted(|| self.0.config_write(offset, data))
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        uncounted(|| self.0.bar_read(bar, offset, data))
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        uncounted(|| self.0.bar_write(bar, offset, data))
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        uncounted(|| self.0.set_msix(vectors))
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        uncounted(|| self.0.dma_map(iova, memory, access))
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        uncounted(|| self.0.dma_unmap(iova, len))
    }

    fn reset(&self) -> Result<()> {
        uncounted(|| self.0.reset())
    }
}

#[test]
fn commands_of_every_kind_and_size_allocate_nothing() {
    let function = Arc::new(Uncounted(differential::reference(PF_STORAGE)));
    let nvme =
        Nvme::open(function, Options { wait: Wait::Poll, queue_entries: 32, ..Options::default() }).unwrap();
    let queue = nvme.queue_pair(0).unwrap();
    let buffer = nvme.allocate(2 << 20).unwrap();
    let (namespace, lba, offset) = (1, 8, 512);
    let commands = [
        Command::Read { namespace, lba, blocks: 8, buffer: &buffer, offset },
        Command::Write { namespace, lba, blocks: 2048, buffer: &buffer, offset, durable: true },
        Command::Flush { namespace },
        Command::WriteZeroes { namespace, lba, blocks: 100 },
        Command::Deallocate { namespace, ranges: &[(0, 8), (100, 8)] },
    ];
    COUNTED.set(true);
    let mut ended = 0;
    for turn in 0..200 {
        while queue.submit(&commands[turn % commands.len()]).unwrap().is_some() {}
        ended += queue.poll(|_, outcome| assert!(outcome.is_ok())).unwrap();
        queue.execute(&commands[turn % commands.len()]).unwrap();
    }
    COUNTED.set(false);
    assert_eq!(ended, 200 * 31);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0);
    // The counter counts.
    COUNTED.set(true);
    drop(vec![1u8; 100]);
    COUNTED.set(false);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 1);
}
