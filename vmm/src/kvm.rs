//! The few KVM calls that need care: opening it, and giving memory to a guest.
#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use nitride_driver::Memory;

/// The stable KVM API's version.
const API_VERSION: i32 = 12;

/// Why KVM cannot be used. One line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// /dev/kvm is absent or closed to this user.
    #[error("cannot open /dev/kvm: {0}")]
    Open(io::Error),
    /// Not the stable API.
    #[error("/dev/kvm speaks API version {0}, not {API_VERSION}")]
    Version(i32),
    /// The probe's loop did not end as it must.
    #[error("KVM cannot run a counting loop in guest kernel mode ({0})")]
    Probe(String),
    /// A call failed.
    #[error("KVM refused to {what}: {source}")]
    Call {
        /// What was asked.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Guest memory could not be made.
    #[error("cannot allocate guest memory: {0}")]
    Memory(io::Error),
}

impl Error {
    /// A failed KVM call; `what` completes "KVM refused to …".
    pub fn call(what: &'static str, error: kvm_ioctls::Error) -> Self {
        Self::Call { what, source: error.into() }
    }
}

/// Opens /dev/kvm and checks its version.
pub fn open() -> Result<Kvm, Error> {
    let kvm = Kvm::new().map_err(|error| Error::Open(error.into()))?;
    match kvm.get_api_version() {
        API_VERSION => Ok(kvm),
        other => Err(Error::Version(other)),
    }
}

/// A range of guest physical memory and what backs it.
#[derive(Debug, Clone)]
pub struct Region {
    /// Guest physical address of the first byte, a multiple of 4 KiB.
    pub address: u64,
    /// The memory behind it.
    pub memory: Arc<Memory>,
}

impl Region {
    /// 64 KiB at guest physical address 0 with `code` at `offset`.
    pub(crate) fn scratch(offset: u64, code: &[u8]) -> Result<Self, Error> {
        let memory = Memory::new("nitride-probe", 0x1_0000, false).map_err(Error::Memory)?;
        if !memory.write(offset as usize, code) {
            return Err(Error::Memory(io::ErrorKind::InvalidInput.into()));
        }
        Ok(Self { address: 0, memory: Arc::new(memory) })
    }
}

/// A virtual machine of KVM and the memory it runs in.
///
/// The memory lives at least as long as the machine and its vCPUs, which is what makes them safe to run.
#[derive(Debug)]
pub struct Guest {
    fd: VmFd,
    memory: Vec<Region>,
}

impl Guest {
    /// A virtual machine with `memory`, one memory slot a region.
    pub fn new(kvm: &Kvm, memory: Vec<Region>) -> Result<Arc<Self>, Error> {
        let fd = kvm.create_vm().map_err(|error| Error::call("create a virtual machine", error))?;
        for (slot, region) in (0u32..).zip(&memory) {
            let slot = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: region.address,
                memory_size: region.memory.len() as u64,
                userspace_addr: region.memory.as_ptr() as u64,
            };
            // SAFETY: the range is a mapping that `Memory` owns; `Guest` keeps it, and every `Vcpu` its `Guest`.
            // The process reaches it by raw copies alone, so a guest that writes at any time breaks no reference.
            unsafe { fd.set_user_memory_region(slot) }
                .map_err(|error| Error::call("map guest memory", error))?;
        }
        Ok(Arc::new(Self { fd, memory }))
    }

    /// The machine's KVM handle.
    pub fn fd(&self) -> &VmFd {
        &self.fd
    }

    /// The machine's memory, by ascending address.
    pub fn memory(&self) -> &[Region] {
        &self.memory
    }

    /// A new vCPU with APIC ID `id`.
    pub fn vcpu(self: &Arc<Self>, id: u8) -> Result<Vcpu, Error> {
        let fd = self.fd.create_vcpu(u64::from(id)).map_err(|error| Error::call("create a vCPU", error))?;
        Ok(Vcpu { fd, _guest: Arc::clone(self) })
    }
}

/// A vCPU, which keeps its machine's memory mapped.
#[derive(Debug)]
pub struct Vcpu {
    /// The vCPU's KVM handle.
    pub fd: VcpuFd,
    _guest: Arc<Guest>,
}
