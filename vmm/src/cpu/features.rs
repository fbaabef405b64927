//! The CPU that a guest sees: the host's as far as KVM can offer it.

use std::arch::x86_64::__cpuid;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;

use crate::kvm::{Error, Vcpu};

/// Leaf 1, ECX: TSC deadline timer. KVM's local APIC has it, but KVM does not list it; without it, and
/// without a legacy timer, a kernel cannot calibrate its local APIC's timer.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1, ECX: there is a hypervisor. Without it a guest does not look for KVM's clock.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, EDX: EBX bits 23:16 count logical processors.
const HTT: u32 = 1 << 28;

/// Physical address bits of this machine's CPUs (leaf 0x8000_0008; 36 where it is missing).
pub fn address_bits() -> u8 {
    if __cpuid(0x8000_0000).eax < 0x8000_0008 { 36 } else { __cpuid(0x8000_0008).eax as u8 }
}

/// Gives `vcpu` its CPUID leaves.
pub(super) fn set(kvm: &Kvm, vcpu: &Vcpu, id: u8, count: u8) -> Result<(), Error> {
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    let mut cpuid = supported.map_err(|error| Error::call("tell what CPU it offers", error))?;
    cpuid.as_mut_slice().iter_mut().for_each(|entry| patch(entry, id, count));
    vcpu.fd.set_cpuid2(&cpuid).map_err(|error| Error::call("set a vCPU's features", error))
}

/// Makes one leaf that of CPU `id` of `count` CPUs in one package, one thread a core.
fn patch(entry: &mut kvm_cpuid_entry2, id: u8, count: u8) {
    let (id, count) = (u32::from(id), u32::from(count));
    match entry.function {
        1 => {
            entry.ecx |= TSC_DEADLINE | HYPERVISOR;
            entry.ebx = entry.ebx & 0xff00_ffff | count << 16;
            entry.ebx = entry.ebx & 0x00ff_ffff | id << 24;
            entry.edx = if count > 1 { entry.edx | HTT } else { entry.edx & !HTT };
        }
        // Cache parameters: no cache is shared by threads; all cores are in one package.
        4 if entry.eax & 0x1f != 0 => {
            entry.eax = entry.eax & 0x3fff | (count - 1) << 26;
        }
        // Extended topology: a core of one thread, then a package of `count` cores.
        0xb | 0x1f => {
            let (shift, processors, kind) = match entry.index {
                0 => (0, 1, 1),
                1 => (u8::BITS - (count as u8 - 1).leading_zeros(), count, 2),
                _ => (0, 0, 0),
            };
            (entry.eax, entry.ebx, entry.edx) = (shift, processors, id);
            entry.ecx = entry.index & 0xff | kind << 8;
        }
        // AMD: cores in the package; then the topology of this one.
        0x8000_0008 => entry.ecx = entry.ecx & !0xf0ff | (count - 1),
        0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (id, id, 0),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(function: u32, index: u32, id: u8, count: u8) -> kvm_cpuid_entry2 {
        let mut entry = kvm_cpuid_entry2 { function, index, ebx: !0, ..Default::default() };
        patch(&mut entry, id, count);
        entry
    }

    #[test]
    fn a_guest_finds_the_hypervisor_its_timer_and_its_own_apic_id() {
        let entry = patched(1, 0, 3, 8);
        assert_eq!(entry.ecx, TSC_DEADLINE | HYPERVISOR);
        assert_eq!((entry.ebx >> 24, entry.ebx >> 16 & 0xff, entry.edx), (3, 8, HTT));
    }

    #[test]
    fn the_topology_has_room_for_every_apic_id() {
        for count in 1..=8u8 {
            let entry = patched(0xb, 1, 0, count);
            assert!(1 << entry.eax >= u32::from(count), "{count}");
            assert_eq!(entry.ebx, u32::from(count));
        }
        assert_eq!(patched(0xb, 2, 0, 8).ecx, 2);
    }
}
