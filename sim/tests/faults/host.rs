//! A host with a driver for some functions of the RTL: single-threaded, so that a seed decides every cycle.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nitride_abi::card::{BAR0_MSIX_TABLE, PF_MANAGEMENT, VENDOR_ID, VFS, controller_of};
use nitride_abi::management as registers;
use nitride_abi::nvme::command::{admin, identify, queue as q};
use nitride_abi::nvme::register::{self, csts};
use nitride_abi::nvme::{Sqe, Status};
use nitride_abi::pci;
use nitride_abi::tlp::{self, MSI_WINDOW};
use nitride_sim::{Card, Failure, HostRequest, Options, Outcome, System};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::controller::{Controller, ENTRIES};
use crate::disk::{BLOCK, Disk};
use crate::driver::Driver;

/// Blocks of each volume.
pub const BLOCKS: u64 = 1024;
const VOLUME: u64 = BLOCKS * BLOCK as u64;
/// CC for 64-byte and 16-byte entries, enabled.
const CC_ENABLE: u32 = 0x0046_0001;
/// Cycles between two looks at the completion queues.
const LOOK: u64 = 16;
/// How often a register or a function is asked before it counts as stuck.
const PATIENCE: usize = 20_000;

/// A system with the RTL, and drivers on some of its functions. The volume of `drivers[n]` is the image's part `n`.
pub struct Host {
    pub system: System,
    pub drivers: Vec<Driver>,
    pub rng: SmallRng,
    /// Interrupts by function.
    pub interrupts: Vec<u64>,
    image: File,
    look: u64,
}

impl Host {
    /// Boots a card on the image, with a driver on each of `functions`, whose namespaces hold what `disks` say.
    pub fn boot(image: &Path, options: Options, functions: &[u8], disks: Vec<Disk>) -> Self {
        let seed = options.seed;
        let mut system = System::new(Box::new(Card::new()), options).unwrap();
        system.boot().unwrap();
        let file = File::options().read(true).write(true).create(true).truncate(false).open(image).unwrap();
        file.set_len(VOLUME * functions.len() as u64).unwrap();
        system.media().attach(0, image, false).unwrap();
        let mut drivers = Vec::new();
        for ((index, function), disk) in functions.iter().enumerate().zip(disks) {
            let controller = Controller::new(&mut system, *function);
            drivers.push(Driver::new(controller, disk, index as u64 * VOLUME, seed ^ u64::from(*function)));
        }
        let (rng, interrupts) = (SmallRng::seed_from_u64(seed), vec![0; 256]);
        let mut host = Self { system, drivers, rng, interrupts, image: file, look: 0 };
        for index in 0..functions.len() {
            host.attach_volume(index);
            host.start(index);
        }
        host
    }

    fn attach_volume(&mut self, index: usize) {
        let base = self.system.topology().function(PF_MANAGEMENT).unwrap().bars[0].unwrap().address;
        let driver = &self.drivers[index];
        let controller = controller_of(driver.controller.function, VFS).unwrap();
        for (offset, value) in [
            (registers::VOLUME_INDEX, registers::volume_index(controller, 1).unwrap() as u64),
            (registers::VOLUME_FLAGS, registers::VOLUME_ATTACHED),
            (registers::VOLUME_BASE, driver.base),
            (registers::VOLUME_BLOCKS, BLOCKS),
            (registers::VOLUME_COMMIT, 1),
        ] {
            self.system.memory_write(base + offset, &value.to_le_bytes()).unwrap();
        }
    }

    /// One step of the system, and now and then one of each driver that runs.
    pub fn step(&mut self) {
        self.system.advance();
        while let Some(interrupt) = self.system.take_interrupt() {
            self.interrupts[usize::from(interrupt.function)] += 1;
        }
        if self.system.cycle() >= self.look {
            self.look = self.system.cycle() + LOOK;
            for driver in &mut self.drivers {
                driver.turn(&mut self.system, &self.image);
            }
        }
    }

    /// Lets the drivers work for some cycles.
    pub fn run(&mut self, cycles: u64) {
        let end = self.system.cycle() + cycles;
        while self.system.cycle() < end {
            self.step();
        }
    }

    /// Lets the drivers put no new command, and waits for those in flight.
    pub fn drain(&mut self) {
        self.drivers.iter_mut().for_each(|driver| driver.draining = true);
        while self.drivers.iter().any(Driver::is_busy) {
            self.step();
        }
        self.drivers.iter_mut().for_each(|driver| driver.draining = false);
    }

    fn request(&mut self, request: HostRequest) -> Outcome {
        let ticket = self.system.request(request);
        loop {
            if let Some(outcome) = self.system.poll(ticket) {
                return outcome;
            }
            self.step();
        }
    }

    /// A request of configuration space, repeated while the function is in reset.
    fn config(&mut self, request: HostRequest) -> Vec<u8> {
        for _ in 0..PATIENCE {
            match self.request(request) {
                Err(Failure::Status(tlp::Status::Retry)) => {}
                outcome => return outcome.unwrap_or_else(|error| panic!("{request:x?}: {error}")),
            }
        }
        panic!("{request:x?}: still in reset");
    }

    pub fn config_read(&mut self, function: u8, offset: u16, len: u8) -> u32 {
        let data = self.config(HostRequest::ConfigRead { function, offset, len });
        data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    pub fn config_write(&mut self, function: u8, offset: u16, len: u8, value: u32) {
        self.config(HostRequest::ConfigWrite { function, offset, len, value });
    }

    fn set(&mut self, index: usize, offset: u64, data: &[u8]) {
        self.system.memory_write(self.drivers[index].controller.bar + offset, data).unwrap();
    }

    /// Writes CC.
    pub fn configure(&mut self, index: usize, value: u32) {
        self.set(index, register::CC, &value.to_le_bytes());
    }

    /// Waits until the bits of `mask` in CSTS have a value.
    pub fn wait_status(&mut self, index: usize, mask: u64, value: u64) {
        let address = self.drivers[index].controller.bar + register::CSTS;
        let mut status = 0;
        for _ in 0..PATIENCE {
            let data = self.request(HostRequest::MemoryRead { address, len: 4 }).unwrap();
            status = u64::from(u32::from_le_bytes(data.try_into().unwrap()));
            if status & mask == value {
                return;
            }
        }
        panic!("CSTS of function {} stays {status:#x}", self.drivers[index].controller.function);
    }

    /// Enables a function that was reset, or its controller, and creates its I/O queue; then its driver runs.
    pub fn start(&mut self, index: usize) {
        let function = self.drivers[index].controller.function;
        self.config_write(function, pci::COMMAND, 2, pci::COMMAND_MEMORY | pci::COMMAND_BUS_MASTER);
        for vector in 0..2u64 {
            let entry = BAR0_MSIX_TABLE + 16 * vector;
            self.set(index, entry, &MSI_WINDOW.start().to_le_bytes());
            self.set(index, entry + 8, &vector.to_le_bytes());
        }
        self.config_write(function, pci::MSIX + 2, 2, 1 << (pci::MSIX_ENABLE - 16));
        let controller = &mut self.drivers[index].controller;
        controller.restart();
        let (sq, cq) = controller.bases(&controller.admin);
        let last = u32::from(ENTRIES) - 1;
        self.set(index, register::AQA, &(last << 16 | last).to_le_bytes());
        self.set(index, register::ASQ, &sq.to_le_bytes());
        self.set(index, register::ACQ, &cq.to_le_bytes());
        self.configure(index, CC_ENABLE);
        self.wait_status(index, csts::RDY.mask() | csts::CFS.mask(), csts::RDY.mask());

        let controller = &self.drivers[index].controller;
        let (page, (sq, cq)) = (Controller::slot(0, 0), controller.bases(&controller.io));
        let size = q::QSIZE.set(q::QID.set(0, 1), u64::from(last)) as u32;
        let identify = Sqe {
            opcode: admin::IDENTIFY,
            prp1: controller.iova(page),
            cdw10: [u32::from(identify::CNS_CONTROLLER), 0, 0, 0, 0, 0],
            ..Sqe::default()
        };
        let create = |opcode, prp1, cdw11: u64| Sqe {
            opcode,
            prp1,
            cdw10: [size, cdw11 as u32, 0, 0, 0, 0],
            ..Sqe::default()
        };
        self.admin(index, &identify);
        let mut vendor = [0; 2];
        assert!(self.drivers[index].controller.memory.read(page, &mut vendor));
        assert_eq!(u16::from_le_bytes(vendor), VENDOR_ID, "Identify Controller of function {function}");
        self.admin(index, &create(admin::CREATE_CQ, cq, q::IV.set(q::PC.mask() | q::IEN.mask(), 1)));
        self.admin(index, &create(admin::CREATE_SQ, sq, q::CQID.set(q::PC.mask(), 1)));
        self.drivers[index].running = true;
    }

    /// Executes an admin command, which succeeds.
    fn admin(&mut self, index: usize, sqe: &Sqe) {
        let controller = &mut self.drivers[index].controller;
        controller.put(true, sqe);
        controller.ring(&mut self.system, true);
        for _ in 0..PATIENCE {
            if let Some(cqe) = self.drivers[index].controller.take(&mut self.system, true) {
                assert_eq!(cqe.status, Status::SUCCESS, "{sqe:x?}");
                return;
            }
            self.step();
        }
        panic!("no completion of {sqe:x?}");
    }

    /// A driver's function is to be reset: it puts no more commands.
    pub fn stop(&mut self, index: usize) {
        self.drivers[index].running = false;
    }

    /// The driver forgets its commands in flight, and learns from the image what became of their blocks.
    pub fn forget(&mut self, index: usize) {
        let driver = &mut self.drivers[index];
        driver.reap(&mut self.system, &self.image);
        driver.forget(&self.image);
    }

    /// DMA requests of a driver's function that no mapping allowed.
    pub fn faults(&self, index: usize) -> u64 {
        let function = self.drivers[index].controller.function;
        self.system.counters().functions[usize::from(function)].faults
    }

    /// Every block of every namespace is what its driver wrote last, and the card broke no rule of its edge.
    pub fn verify(&mut self) {
        self.drain();
        for driver in &self.drivers {
            driver.verify(&self.image);
        }
        let violations = self.system.violations();
        assert!(violations.is_empty(), "{violations:?}");
    }

    /// Cuts the power; each sector that was not flushed survives with a chance of one half. Gives what the namespaces
    /// hold then, and how many blocks lost something and kept something that was not durable.
    pub fn power_cut(mut self) -> (Vec<Disk>, [usize; 2]) {
        self.system.media().power_cut(Some(&mut self.rng));
        drop(self.system);
        let mut sums = [0; 2];
        let mut disks = Vec::new();
        for mut driver in self.drivers {
            for block in 0..BLOCKS {
                let (lost, kept) =
                    driver.disk.settle(block, &read(&self.image, driver.base, block..block + 1));
                sums[0] += usize::from(lost > 0);
                sums[1] += usize::from(kept > 0);
            }
            disks.push(driver.disk);
        }
        (disks, sums)
    }

    /// A random number of cycles below `limit`.
    pub fn moment(&mut self, limit: u64) -> u64 {
        self.rng.random_range(0..limit)
    }
}

/// Blocks of the volume at `base` as the image has them.
pub fn read(image: &File, base: u64, blocks: Range<u64>) -> Vec<u8> {
    let mut data = vec![0; (blocks.end - blocks.start) as usize * BLOCK];
    image.read_exact_at(&mut data, base + blocks.start * BLOCK as u64).unwrap();
    data
}
