//! The registers of the first vCPU as a kernel expects them.

use kvm_bindings::{Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};

use crate::boot::Entry;
use crate::kvm::{Error, Vcpu};
use crate::layout::{PAGE_TABLES, PVH_START_INFO, ZERO_PAGE};

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Segment types: code, execute and read, accessed; data, read and write, accessed; busy TSS.
const CODE: u8 = 11;
const DATA: u8 = 3;
const TSS: u8 = 11;

/// IA32_MISC_ENABLE: fast string operations.
const MSR_MISC_ENABLE: (u32, u64) = (0x1a0, 1);
/// IA32_MTRR_DEF_TYPE: MTRRs on, all memory write-back.
const MSR_MTRR_DEF_TYPE: (u32, u64) = (0x2ff, 1 << 11 | 6);

/// Sets all registers of `vcpu` for `entry`.
pub(super) fn set(vcpu: &Vcpu, entry: Entry) -> Result<(), Error> {
    let refused = |error| Error::call("set a vCPU's registers", error);
    let fd = &vcpu.fd;
    let mut sregs = fd.get_sregs().map_err(refused)?;
    set_mode(&mut sregs, entry);
    fd.set_sregs(&sregs).map_err(refused)?;
    fd.set_regs(&general(entry)).map_err(refused)?;
    fd.set_fpu(&kvm_fpu { fcw: 0x37f, mxcsr: 0x1f80, ..Default::default() }).map_err(refused)?;
    for (index, data) in [MSR_MISC_ENABLE, MSR_MTRR_DEF_TYPE] {
        let entry = kvm_msr_entry { index, data, ..Default::default() };
        let msrs = Msrs::from_entries(&[entry])
            .map_err(|_| Error::Memory(std::io::ErrorKind::OutOfMemory.into()))?;
        // One that this CPU does not have has its effect anyway: the result does not matter.
        fd.set_msrs(&msrs).map_err(refused)?;
    }
    Ok(())
}

fn general(entry: Entry) -> kvm_regs {
    let regs = kvm_regs { rflags: 2, ..Default::default() };
    match entry {
        Entry::Linux64 { rip } => kvm_regs { rip, rsi: ZERO_PAGE, ..regs },
        Entry::Pvh { rip } => kvm_regs { rip, rbx: PVH_START_INFO, ..regs },
    }
}

/// Flat segments, and 64-bit mode with page tables or 32-bit protected mode without.
fn set_mode(sregs: &mut kvm_sregs, entry: Entry) {
    let long = matches!(entry, Entry::Linux64 { .. });
    // The selectors of the Linux boot protocol: __BOOT_CS and __BOOT_DS.
    sregs.cs = kvm_segment { l: long.into(), db: (!long).into(), ..flat(0x10, CODE) };
    let data = kvm_segment { db: 1, ..flat(0x18, DATA) };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = kvm_segment { limit: 0x67, s: 0, g: 0, ..flat(0x20, TSS) };
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr4 = 0;
    sregs.efer = 0;
    if long {
        sregs.cr0 |= CR0_PG;
        sregs.cr3 = PAGE_TABLES;
        sregs.cr4 = CR4_PAE;
        sregs.efer = EFER_LME | EFER_LMA;
    }
}

fn flat(selector: u16, type_: u8) -> kvm_segment {
    kvm_segment { base: 0, limit: 0xffff_ffff, selector, type_, present: 1, s: 1, g: 1, ..Default::default() }
}
