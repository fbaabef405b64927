//! What firmware and the PCI core of an operating system do: enumerate, assign, enable, reset.

use std::ops::Range;
use std::sync::Arc;

use nitride_abi::tlp::Status;

use crate::root::Failure;
use crate::system::System;
use crate::{Error, Outcome};

/// Where 64-bit BARs are put: above what any host has of memory below.
const WINDOW_64: u64 = 0x10_0000_0000;
/// Where 32-bit BARs are put, and where that ends.
const WINDOW_32: std::ops::Range<u64> = 0xe000_0000..0xfec0_0000;

/// Offsets and bits of configuration space (PCIe 4.0 §7).
pub(crate) mod reg {
    pub(crate) const COMMAND: u16 = 0x04;
    pub(crate) const BAR0: u16 = 0x10;
    pub(crate) const CAPABILITIES: u16 = 0x34;
    pub(crate) const EXTENDED: u16 = 0x100;
    pub(crate) const COMMAND_MEMORY: u32 = 1 << 1;
    pub(crate) const COMMAND_BUS_MASTER: u32 = 1 << 2;
    pub(crate) const CAP_POWER: u8 = 0x01;
    pub(crate) const CAP_VENDOR_SPECIFIC: u8 = 0x09;
    pub(crate) const CAP_EXPRESS: u8 = 0x10;
    pub(crate) const CAP_MSIX: u8 = 0x11;
    pub(crate) const EXT_AER: u16 = 0x0001;
    pub(crate) const EXT_ARI: u16 = 0x000e;
    pub(crate) const EXT_SRIOV: u16 = 0x0010;
    /// From the PCI Express capability.
    pub(crate) const DEVICE_CAPABILITIES: u16 = 0x04;
    pub(crate) const DEVICE_CONTROL: u16 = 0x08;
    pub(crate) const DEVICE_STATUS: u16 = 0x0a;
    pub(crate) const DEVICE_CONTROL_2: u16 = 0x28;
    pub(crate) const EXTENDED_TAG: u32 = 1 << 8;
    pub(crate) const FLR: u32 = 1 << 15;
    pub(crate) const FLR_CAPABLE: u32 = 1 << 28;
    pub(crate) const TRANSACTIONS_PENDING: u32 = 1 << 5;
    /// From the MSI-X capability.
    pub(crate) const MSIX_CONTROL: u16 = 0x02;
    pub(crate) const MSIX_ENABLE: u32 = 1 << 15;
    pub(crate) const MSIX_TABLE: u16 = 0x04;
    pub(crate) const MSIX_PBA: u16 = 0x08;
    /// From the SR-IOV capability (§9.3.3).
    pub(crate) const SRIOV_CONTROL: u16 = 0x08;
    pub(crate) const SRIOV_TOTAL_VFS: u16 = 0x0e;
    pub(crate) const SRIOV_NUM_VFS: u16 = 0x10;
    pub(crate) const SRIOV_FIRST: u16 = 0x14;
    pub(crate) const SRIOV_STRIDE: u16 = 0x16;
    pub(crate) const SRIOV_DEVICE: u16 = 0x1a;
    pub(crate) const SRIOV_PAGE_SIZE: u16 = 0x20;
    pub(crate) const SRIOV_BAR0: u16 = 0x24;
    /// VF Enable, VF MSE, ARI Capable Hierarchy.
    pub(crate) const SRIOV_ENABLE: u32 = 1 | 1 << 3 | 1 << 4;
}

/// What a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// A PF.
    Physical,
    /// A VF.
    Virtual {
        /// Its PF's number.
        physical: u8,
        /// Its place among the PF's VFs, from 0.
        index: u8,
    },
}

/// A memory BAR with its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarAddress {
    /// Bus address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// 64 bits wide.
    pub wide: bool,
    /// Prefetchable.
    pub prefetchable: bool,
}

/// The MSI-X capability (PCIe 4.0 §7.7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Msix {
    pub(crate) capability: u16,
    pub(crate) vectors: u16,
    pub(crate) table: (u8, u64),
    pub(crate) pending: (u8, u64),
}

/// The SR-IOV capability (PCIe 4.0 §9.3.3), enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sriov {
    pub(crate) capability: u16,
    pub(crate) vfs: u16,
    pub(crate) first: u16,
    pub(crate) stride: u16,
    pub(crate) device: u16,
    pub(crate) bars: [Option<BarAddress>; 6],
}

/// A function of the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciFunction {
    /// Its number on the bus.
    pub number: u8,
    /// PF or VF.
    pub kind: FunctionKind,
    /// Vendor ID; a VF's is its PF's.
    pub vendor: u16,
    /// Device ID; a VF's is in its PF's SR-IOV capability.
    pub device: u16,
    /// Memory BARs, by BAR index.
    pub bars: [Option<BarAddress>; 6],
    pub(crate) express: u16,
    pub(crate) power: Option<u16>,
    pub(crate) msix: Option<Msix>,
    pub(crate) aer: Option<u16>,
    /// Its vendor-specific capabilities.
    pub(crate) vendor_specific: Vec<Range<u16>>,
    pub(crate) sriov: Option<Sriov>,
    device_control: u32,
}

impl PciFunction {
    /// MSI-X vectors.
    pub fn msix_vectors(&self) -> u16 {
        self.msix.map_or(0, |msix| msix.vectors)
    }
}

/// The functions that a boot found, PFs before their VFs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// In the order of discovery.
    pub functions: Vec<PciFunction>,
}

impl Topology {
    /// The function of a number.
    pub fn function(&self, number: u8) -> Option<&PciFunction> {
        self.functions.iter().find(|function| function.number == number)
    }
}

/// Offset and ID of each capability of a function, in the order of its list.
struct Capabilities(Vec<(u16, u8)>);

impl Capabilities {
    /// Where those with that ID are.
    fn all(&self, id: u8) -> impl Iterator<Item = u16> {
        self.0.iter().filter(move |(_, found)| *found == id).map(|(at, _)| *at)
    }

    fn first(&self, id: u8) -> Option<u16> {
        self.all(id).next()
    }
}

/// Configuration accesses to one function, with errors that name it.
struct Access<'a> {
    system: &'a mut System,
    function: u8,
}

impl Access<'_> {
    fn error(&self, what: &'static str, detail: String) -> Error {
        Error::Card { function: self.function, what, detail }
    }

    fn read(&mut self, offset: u16, len: u8) -> Result<u32, Error> {
        let outcome = self.system.config(self.function, offset, len, None);
        let data = outcome
            .map_err(|failure| self.error("configuration read", format!("{failure} at {offset:#x}")))?;
        Ok(data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn write(&mut self, offset: u16, len: u8, value: u32) -> Result<(), Error> {
        let outcome = self.system.config(self.function, offset, len, Some(value));
        outcome
            .map(drop)
            .map_err(|failure| self.error("configuration write", format!("{failure} at {offset:#x}")))
    }

    /// Where vendor-specific capabilities are; their length is behind their header (PCIe 4.0 §7.9.4).
    fn vendor_specific(&mut self, list: &Capabilities) -> Result<Vec<Range<u16>>, Error> {
        list.all(reg::CAP_VENDOR_SPECIFIC).map(|at| Ok(at..at + self.read(at + 2, 1)? as u16)).collect()
    }

    fn capabilities(&mut self) -> Result<Capabilities, Error> {
        let (mut found, mut at) = (Vec::new(), self.read(reg::CAPABILITIES, 1)? as u16 & !3);
        while at >= 0x40 {
            if found.len() == 48 {
                return Err(self.error("capability list", "it has a loop".into()));
            }
            let header = self.read(at, 2)?;
            found.push((at, header as u8));
            at = (header >> 8) as u16 & !3;
        }
        Ok(Capabilities(found))
    }

    /// Offset of an extended capability.
    fn extended(&mut self, id: u16) -> Result<Option<u16>, Error> {
        let mut at = reg::EXTENDED;
        for _ in 0..960 {
            let header = self.read(at, 4)?;
            if header == 0 || header == u32::MAX {
                return Ok(None);
            }
            if header as u16 == id {
                return Ok(Some(at));
            }
            at = (header >> 20) as u16 & !3;
            if at < reg::EXTENDED {
                return Ok(None);
            }
        }
        Err(self.error("extended capability list", "it has a loop".into()))
    }

    /// Sizes the six BARs at `base`, and assigns room for `count` times each.
    fn bars(
        &mut self,
        base: u16,
        count: u64,
        windows: &mut Windows,
    ) -> Result<[Option<BarAddress>; 6], Error> {
        let mut bars = [None; 6];
        let mut index = 0;
        while index < 6 {
            let offset = base + 4 * index as u16;
            self.write(offset, 4, u32::MAX)?;
            let low = self.read(offset, 4)?;
            let wide = low & 6 == 4 && index < 5;
            let mut mask = u64::from(low & !0xf) | 0xffff_ffff << 32;
            if wide {
                self.write(offset + 4, 4, u32::MAX)?;
                mask = u64::from(low & !0xf) | u64::from(self.read(offset + 4, 4)?) << 32;
            }
            let size = (!mask).wrapping_add(1);
            if low & !0xf != 0 && low & 1 == 0 && size.is_power_of_two() {
                let address = windows.take(size, count, wide);
                let address = address
                    .ok_or_else(|| self.error("BAR", format!("no room for {count} times {size:#x} bytes")))?;
                bars[index] = Some(BarAddress { address, size, wide, prefetchable: low & 8 != 0 });
            }
            index += if wide { 2 } else { 1 };
        }
        Ok(bars)
    }

    fn program_bars(&mut self, base: u16, bars: &[Option<BarAddress>; 6]) -> Result<(), Error> {
        for (index, bar) in bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            let offset = base + 4 * index as u16;
            self.write(offset, 4, bar.address as u32)?;
            if bar.wide {
                self.write(offset + 4, 4, (bar.address >> 32) as u32)?;
            }
        }
        Ok(())
    }

    fn msix(&mut self, list: &Capabilities) -> Result<Option<Msix>, Error> {
        let Some(capability) = list.first(reg::CAP_MSIX) else { return Ok(None) };
        let vectors = (self.read(capability + reg::MSIX_CONTROL, 2)? as u16 & 0x7ff) + 1;
        let mut place = |offset| {
            self.read(capability + offset, 4).map(|value| ((value & 7) as u8, u64::from(value & !7)))
        };
        Ok(Some(Msix { capability, vectors, table: place(reg::MSIX_TABLE)?, pending: place(reg::MSIX_PBA)? }))
    }
}

/// How often a configuration request is repeated on Configuration Request Retry Status.
const RETRIES: usize = 10_000;

/// Free bus addresses.
struct Windows {
    next_64: u64,
    next_32: u64,
}

impl Windows {
    fn take(&mut self, size: u64, count: u64, wide: bool) -> Option<u64> {
        let next = if wide { &mut self.next_64 } else { &mut self.next_32 };
        // Pages of their own, so that each can be mapped to another guest.
        let address = next.checked_next_multiple_of(size.max(4096))?;
        *next = address.checked_add(size.checked_mul(count)?)?;
        (wide || *next <= WINDOW_32.end).then_some(address)
    }
}

fn encode(bytes: u16) -> u32 {
    u32::from(bytes.clamp(128, 4096)).ilog2() - 7
}

impl System {
    /// Does a firmware's work: finds the functions, gives them addresses, sets Max_Payload_Size and
    /// Max_Read_Request_Size, enables all VFs and memory space. Bus mastering is left to drivers.
    pub fn boot(&mut self) -> Result<Arc<Topology>, Error> {
        let mut windows = Windows { next_64: WINDOW_64, next_32: WINDOW_32.start };
        let mut topology = Topology::default();
        let mut next = Some(0);
        while let Some(number) = next {
            let mut access = Access { system: self, function: number };
            let ari = match access.read(0, 4) {
                Ok(ids) if ids as u16 != 0xffff => access.extended(reg::EXT_ARI)?,
                // A function that the ARI list names and that is not there ends it, but for the first.
                _ if number > 0 => break,
                Ok(_) => return Err(access.error("enumeration", "vendor ID 0xffff".into())),
                Err(error) => return Err(error),
            };
            let follower = match ari {
                Some(ari) => (access.read(ari + 4, 2)? >> 8) as u8,
                None => 0,
            };
            next = (follower > number).then_some(follower);
            let function = self.discover(number, &mut windows)?;
            topology.functions.push(function);
        }
        let physical = topology.functions.clone();
        // All PFs agree on the smallest payload (§7.5.3.4), which is also the host's.
        let (payload, read) = (self.link_options().max_payload, self.link_options().max_read_request);
        let payload = physical.iter().map(|f| f.device_control as u16).fold(payload, u16::min).max(128);
        for (function, place) in physical.into_iter().zip(0..) {
            let mut access = Access { system: self, function: function.number };
            let tags = access.read(function.express + reg::DEVICE_CAPABILITIES, 4)? & 1 << 5 != 0;
            let tags = tags && access.system.link_options().extended_tags;
            let control =
                encode(payload) << 5 | encode(read) << 12 | if tags { reg::EXTENDED_TAG } else { 0 };
            topology.functions[place].device_control = control;
            self.program(&topology.functions[place])?;
        }
        (self.max_payload, self.max_read_request) = (128 << encode(payload), 128 << encode(read));
        let physical = topology.functions.clone();
        for function in &physical {
            let Some(sriov) = function.sriov else { continue };
            for index in 0..sriov.vfs {
                let vf = self.discover_virtual(function, &sriov, index)?;
                topology.functions.push(vf);
            }
        }
        let topology = Arc::new(topology);
        self.topology = topology.clone();
        Ok(topology)
    }

    /// What a PF is, with addresses for its BARs and its VFs'. `device_control` holds the largest payload it takes.
    fn discover(&mut self, number: u8, windows: &mut Windows) -> Result<PciFunction, Error> {
        let mut access = Access { system: self, function: number };
        let ids = access.read(0, 4)?;
        let list = access.capabilities()?;
        let express = list.first(reg::CAP_EXPRESS);
        let express =
            express.ok_or_else(|| access.error("enumeration", "it has no PCI Express capability".into()))?;
        let bars = access.bars(reg::BAR0, 1, windows)?;
        let payload = 128 << (access.read(express + reg::DEVICE_CAPABILITIES, 4)? & 7).min(5);
        let sriov = match access.extended(reg::EXT_SRIOV)? {
            None => None,
            Some(at) => {
                let vfs = access.read(at + reg::SRIOV_TOTAL_VFS, 2)? as u16;
                access.write(at + reg::SRIOV_PAGE_SIZE, 4, 1)?;
                access.write(at + reg::SRIOV_CONTROL, 2, 1 << 4)?;
                access.write(at + reg::SRIOV_NUM_VFS, 2, u32::from(vfs))?;
                Some(Sriov {
                    capability: at,
                    vfs,
                    first: access.read(at + reg::SRIOV_FIRST, 2)? as u16,
                    stride: access.read(at + reg::SRIOV_STRIDE, 2)? as u16,
                    device: access.read(at + reg::SRIOV_DEVICE, 2)? as u16,
                    bars: access.bars(at + reg::SRIOV_BAR0, u64::from(vfs), windows)?,
                })
            }
        };
        Ok(PciFunction {
            number,
            kind: FunctionKind::Physical,
            vendor: ids as u16,
            device: (ids >> 16) as u16,
            bars,
            express,
            power: list.first(reg::CAP_POWER),
            msix: access.msix(&list)?,
            aer: access.extended(reg::EXT_AER)?,
            vendor_specific: access.vendor_specific(&list)?,
            sriov,
            device_control: payload,
        })
    }

    fn discover_virtual(
        &mut self,
        physical: &PciFunction,
        sriov: &Sriov,
        index: u16,
    ) -> Result<PciFunction, Error> {
        let number = u16::from(physical.number) + sriov.first + index * sriov.stride;
        let number = u8::try_from(number).map_err(|_| Error::Card {
            function: physical.number,
            what: "SR-IOV",
            detail: format!("VF {index} would be number {number}, beyond its bus"),
        })?;
        let mut access = Access { system: self, function: number };
        let list = access.capabilities()?;
        let express = list.first(reg::CAP_EXPRESS);
        let express =
            express.ok_or_else(|| access.error("enumeration", "it has no PCI Express capability".into()))?;
        let place =
            |bar: BarAddress| BarAddress { address: bar.address + u64::from(index) * bar.size, ..bar };
        Ok(PciFunction {
            number,
            kind: FunctionKind::Virtual { physical: physical.number, index: index as u8 },
            vendor: physical.vendor,
            device: sriov.device,
            bars: sriov.bars.map(|bar| bar.map(place)),
            express,
            power: list.first(reg::CAP_POWER),
            msix: access.msix(&list)?,
            aer: access.extended(reg::EXT_AER)?,
            vendor_specific: access.vendor_specific(&list)?,
            sriov: None,
            device_control: 0,
        })
    }

    /// Programs what firmware owns of a PF: BARs, device control, SR-IOV, memory space.
    fn program(&mut self, function: &PciFunction) -> Result<(), Error> {
        let mut access = Access { system: self, function: function.number };
        access.program_bars(reg::BAR0, &function.bars)?;
        access.write(function.express + reg::DEVICE_CONTROL, 2, function.device_control)?;
        if let Some(sriov) = function.sriov {
            access.write(sriov.capability + reg::SRIOV_PAGE_SIZE, 4, 1)?;
            access.write(sriov.capability + reg::SRIOV_CONTROL, 2, 1 << 4)?;
            access.write(sriov.capability + reg::SRIOV_NUM_VFS, 2, u32::from(sriov.vfs))?;
            access.program_bars(sriov.capability + reg::SRIOV_BAR0, &sriov.bars)?;
            access.write(sriov.capability + reg::SRIOV_CONTROL, 2, reg::SRIOV_ENABLE)?;
        }
        access.write(reg::COMMAND, 2, reg::COMMAND_MEMORY)
    }

    /// Resets a function (FLR, PCIe 4.0 §6.6.2), waits until it answers again, and restores what firmware had set.
    /// A PF takes its VFs with it: they are enabled anew.
    pub fn reset(&mut self, number: u8) -> Result<(), Error> {
        let topology = self.topology.clone();
        let function = topology.function(number).ok_or(Error::NoFunction(number))?;
        let mut access = Access { system: self, function: number };
        let express = function.express;
        if access.read(express + reg::DEVICE_CAPABILITIES, 4)? & reg::FLR_CAPABLE == 0 {
            return Err(access.error("reset", "it is not capable of Function Level Reset".into()));
        }
        let memory = if function.kind == FunctionKind::Physical { reg::COMMAND_MEMORY } else { 0 };
        access.write(reg::COMMAND, 2, memory)?;
        for _ in 0..RETRIES {
            if access.read(express + reg::DEVICE_STATUS, 2)? & reg::TRANSACTIONS_PENDING == 0 {
                break;
            }
        }
        access.write(express + reg::DEVICE_CONTROL, 2, function.device_control | reg::FLR)?;
        access.read(reg::COMMAND, 2)?;
        if function.kind == FunctionKind::Physical { self.program(function) } else { Ok(()) }
    }

    /// Accesses configuration space and waits; a function that was just reset may ask to be asked again (§2.3.1).
    pub(crate) fn config(&mut self, function: u8, offset: u16, len: u8, write: Option<u32>) -> Outcome {
        for _ in 0..RETRIES {
            let ticket = match write {
                Some(value) => self.config_write(function, offset, len, value),
                None => self.config_read(function, offset, len),
            };
            match self.wait(ticket) {
                Err(Failure::Status(Status::Retry)) => {}
                outcome => return outcome,
            }
        }
        Err(Failure::Status(Status::Retry))
    }
}
