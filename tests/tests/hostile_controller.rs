//! A controller that writes rubbish over everything it shares with the driver: the driver reports errors, and
//! neither panics nor hangs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nitride_abi::card::PF_STORAGE;
use nitride_driver::nvme::{Command, Nvme, Options, Wait};
use nitride_driver::{Access, Function, Info, Interrupts, Memory, Result};
use nitride_tests::differential;
use nitride_tests::nvme_model::ModelFunction;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The model, with random bytes written over mapped memory and random answers to register reads now and then.
struct Hostile {
    inner: ModelFunction,
    memories: Mutex<Vec<(u64, Arc<Memory>)>>,
    random: Mutex<StdRng>,
    /// How likely it is that a register access is accompanied by rubbish.
    rate: Mutex<f64>,
}

impl Hostile {
    fn scribble(&self) {
        let mut random = self.random.lock().unwrap();
        let memories = self.memories.lock().unwrap();
        if memories.is_empty() || !random.random_bool(*self.rate.lock().unwrap()) {
            return;
        }
        // The first mappings are the queues and the Identify buffer: those the driver looks into, at their start.
        let (_, memory) = &memories[random.random_range(0..memories.len())];
        let offset = random.random_range(0..memory.len().min(256) / 16) * 16;
        let mut bytes: [u8; 16] = random.random();
        if random.random_bool(0.5) {
            // A believable command identifier and any status, of any phase.
            bytes[12..14].copy_from_slice(&random.random_range(0..40u16).to_le_bytes());
        }
        assert!(memory.write(offset, &bytes));
    }
}

impl Function for Hostile {
    fn info(&self) -> &Info {
        self.inner.info()
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        self.inner.config_read(offset, data)
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        self.inner.config_write(offset, data)
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        self.inner.bar_read(bar, offset, data)?;
        let mut random = self.random.lock().unwrap();
        // CAP's time-out is left alone, so that a lie about readiness is found out soon.
        if offset != 0 && random.random_bool(*self.rate.lock().unwrap() / 10.0) {
            random.fill(data);
        }
        Ok(())
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        self.scribble();
        self.inner.bar_write(bar, offset, data)?;
        self.scribble();
        Ok(())
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        self.inner.set_msix(vectors)
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        self.memories.lock().unwrap().push((iova, memory.clone()));
        self.inner.dma_map(iova, memory, access)
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        self.memories.lock().unwrap().retain(|(other, _)| *other != iova);
        self.inner.dma_unmap(iova, len)
    }

    fn reset(&self) -> Result<()> {
        self.inner.reset()
    }
}

#[test]
fn rubbish_from_the_controller_ends_in_errors() {
    let (mut opened, mut succeeded, mut failed) = (0, 0, 0);
    for seed in 0..60 {
        println!("seed {seed}");
        let function = Arc::new(Hostile {
            inner: differential::reference(PF_STORAGE),
            memories: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            // A third of the controllers are well-behaved until they are open.
            rate: Mutex::new(if seed % 3 == 0 { 0.0 } else { 0.05 }),
        });
        let wait = if seed % 2 == 0 { Wait::Poll } else { Wait::Interrupt };
        let options =
            Options { queue_entries: 8, wait, timeout: Duration::from_millis(20), ..Options::default() };
        let Ok(nvme) = Nvme::open(function.clone(), options) else { continue };
        opened += 1;
        *function.rate.lock().unwrap() = 0.5;
        let Some(queue) = nvme.queue_pair(0) else { continue };
        let Ok(buffer) = nvme.allocate(64 << 10) else { continue };
        for turn in 0..10 {
            let lba = turn * 8;
            let read = Command::Read { namespace: 1, lba, blocks: 64, buffer: &buffer, offset: 0 };
            let outcome = queue.execute(&read);
            *if outcome.is_ok() { &mut succeeded } else { &mut failed } += 1;
            for _ in 0..3 {
                let _ = queue.submit(&Command::Flush { namespace: 1 });
            }
            let _ = queue.poll(|_, _| ());
        }
    }
    println!("{opened} opened, {succeeded} commands succeeded, {failed} failed");
    // Both must have happened for the test to mean something.
    assert!(opened > 0 && succeeded > 0 && failed > 0);
}
