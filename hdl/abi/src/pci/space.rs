//! What is in the configuration space of each kind of function: value after reset and behaviour, by DW.

use super::*;
use crate::card;

/// Bytes of configuration space that hold anything; the rest up to 4096 reads as 0.
pub const BYTES: u16 = 0x200;
/// DWs of [`BYTES`].
pub const DWS: usize = BYTES as usize / 4;

/// Kinds of functions. The number is the one the card uses inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// PF0.
    Management = 0,
    /// PF2.
    Storage = 1,
    /// VFs of PF2.
    StorageVf = 2,
}

impl Kind {
    /// All of them, by number.
    pub const ALL: [Self; 3] = [Self::Management, Self::Storage, Self::StorageVf];
    /// Width in bits of the number.
    pub const BITS: usize = 2;

    /// Of a function of the card, or of what would be one if all VFs were enabled.
    #[must_use]
    pub const fn of(function: u8, vfs: u8) -> Option<Self> {
        match function {
            card::PF_MANAGEMENT => Some(Self::Management),
            card::PF_STORAGE => Some(Self::Storage),
            n if n >= card::VF_STORAGE_FIRST && n < card::VF_STORAGE_FIRST + vfs => Some(Self::StorageVf),
            _ => None,
        }
    }
}

/// One DW of configuration space. A bit that is in none of the masks is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Register {
    /// Value after a reset.
    pub reset: u32,
    /// RW bits.
    pub write: u32,
    /// RW1C bits.
    pub clear: u32,
    /// Bits that a function-level reset leaves alone (PCIe 4.0 §6.6.2). Those that are in no other mask are set by the card.
    pub sticky: u32,
}

const fn ro(reset: u32) -> Register {
    Register { reset, write: 0, clear: 0, sticky: 0 }
}

const fn rw(reset: u32, write: u32) -> Register {
    Register { reset, write, clear: 0, sticky: 0 }
}

const fn capability(id: u32, next: u16, upper: u32) -> u32 {
    id | (next as u32) << 8 | upper << 16
}

const fn extended(id: u32, version: u32, next: u16) -> u32 {
    id | version << 16 | (next as u32) << 20
}

/// The DW at byte `offset` (a multiple of 4) of a function's configuration space; `vfs` is TotalVFs of PF2.
#[must_use]
pub const fn register(kind: Kind, vfs: u8, offset: u16) -> Register {
    if offset < PM {
        header(kind, offset)
    } else if offset < EXTENDED {
        capabilities(kind, offset)
    } else if matches!(kind, Kind::StorageVf) {
        // Next Function Number and the function groups mean nothing in a VF (PCIe 4.0 §9.3.7).
        ro(if offset == ARI_VF { extended(ARI_ID, 1, 0) } else { 0 })
    } else if offset < SERIAL {
        aer(offset)
    } else if offset < SRIOV {
        serial_and_ari(kind, offset)
    } else if matches!(kind, Kind::Storage) {
        sriov(vfs, offset)
    } else {
        ro(0)
    }
}

const fn header(kind: Kind, offset: u16) -> Register {
    let vf = matches!(kind, Kind::StorageVf);
    let device = match kind {
        Kind::Management => card::DEVICE_MANAGEMENT,
        Kind::Storage => card::DEVICE_STORAGE,
        Kind::StorageVf => card::DEVICE_STORAGE_VF,
    };
    match offset {
        // A VF's IDs read as all ones; software takes them from its PF (PCIe 4.0 §9.3.4.1.1).
        ID => ro(if vf { 0xffff_ffff } else { card::VENDOR_ID as u32 | (device as u32) << 16 }),
        COMMAND => Register {
            reset: STATUS_CAPABILITIES,
            write: if vf {
                COMMAND_BUS_MASTER
            } else {
                COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE
            },
            clear: STATUS_CLEAR,
            sticky: 0,
        },
        // System peripheral; NVM Express I/O controller. Revision 1.
        CLASS => ro(match kind {
            Kind::Management => 0x0880_0001,
            Kind::Storage | Kind::StorageVf => 0x0108_0201,
        }),
        HEADER => {
            if vf {
                ro(0)
            } else {
                rw(HEADER_MULTIFUNCTION, 0xff)
            }
        }
        BAR0 if !vf => rw(BAR_64 | BAR_PREFETCHABLE, !(card::BAR0_SIZE as u32 - 1)),
        0x14 if !vf => rw(0, 0xffff_ffff),
        SUBSYSTEM => ro(card::VENDOR_ID as u32 | (device as u32) << 16),
        CAPABILITIES => ro(if vf { EXPRESS } else { PM } as u32),
        INTERRUPT if !vf => rw(0, 0xff),
        _ => ro(0),
    }
}

const fn capabilities(kind: Kind, offset: u16) -> Register {
    let vf = matches!(kind, Kind::StorageVf);
    let msix = !matches!(kind, Kind::Management);
    match offset {
        // Version 3; no PME, no auxiliary current, D0 and D3hot only.
        PM if !vf => ro(capability(PM_ID, EXPRESS, 3)),
        PM_CONTROL if !vf => rw(PM_NO_SOFT_RESET, PM_STATE),
        // Capability version 2, an endpoint.
        EXPRESS => ro(capability(EXPRESS_ID, if msix { MSIX } else { 0 }, 2)),
        DEVICE_CAPABILITIES => ro(MPS_SUPPORTED | DEVICE_EXTENDED_TAG | DEVICE_ROLE_BASED | DEVICE_FLR),
        // The card never sets No Snoop or Relaxed Ordering, so their enables are 0. Max_Read_Request_Size starts
        // at 512 bytes. A VF has none of the fields: the PF's settings rule (§9.3.5.4). Initiate FLR is no storage.
        DEVICE_CONTROL => {
            let control =
                CONTROL_REPORTING | 0b111 << CONTROL_MPS | CONTROL_EXTENDED_TAG | 0b111 << CONTROL_MRRS;
            Register {
                reset: if vf { 0 } else { CONTROL_EXTENDED_TAG | 2 << CONTROL_MRRS },
                write: if vf { 0 } else { control },
                clear: DEVICE_CORRECTABLE | DEVICE_NON_FATAL | DEVICE_FATAL | DEVICE_UNSUPPORTED,
                // Max_Payload_Size survives a function-level reset (§6.6.2).
                sticky: if vf { 0 } else { 0b111 << CONTROL_MPS },
            }
        }
        // No ASPM; ASPM Optionality Compliance.
        LINK_CAPABILITIES => ro(LINK_SPEED | LINK_WIDTH << 4 | 1 << 22),
        // RCB, Common Clock Configuration, Extended Synch: of the link, so not reset. Status: the speed, the width
        // and Slot Clock Configuration; RsvdZ in a VF.
        LINK_CONTROL if !vf => {
            let control = 1 << 3 | 1 << 6 | 1 << 7;
            Register {
                reset: (LINK_SPEED | LINK_WIDTH << 4 | 1 << 12) << 16,
                write: control,
                clear: 0,
                sticky: control,
            }
        }
        // No timeout ranges: it is between 50 µs and 50 ms. A VF's timeout is its PF's.
        DEVICE_CAPABILITIES_2 => ro(DEVICE_TIMEOUT_DISABLE | DEVICE_10_BIT_COMPLETER),
        DEVICE_CONTROL_2 if !vf => rw(0, CONTROL_2_TIMEOUT_DISABLE),
        // 2.5 to 16 GT/s.
        LINK_CAPABILITIES_2 => ro(0b1111 << 1),
        // Target Link Speed; status: equalization complete and its phases successful.
        LINK_CONTROL_2 if !vf => {
            Register { reset: LINK_SPEED | 0b1_1110 << 16, write: 0xf, clear: 0, sticky: 0xf }
        }
        MSIX if msix => {
            rw(capability(MSIX_ID, 0, card::MSIX_VECTORS as u32 - 1), 1 << MSIX_ENABLE | 1 << MSIX_MASK)
        }
        MSIX_TABLE if msix => ro(card::BAR0_MSIX_TABLE as u32),
        MSIX_PBA if msix => ro(card::BAR0_MSIX_PBA as u32),
        _ => ro(0),
    }
}

const fn aer(offset: u16) -> Register {
    const fn status(bits: u32) -> Register {
        Register { reset: 0, write: 0, clear: bits, sticky: bits }
    }
    const fn mask(reset: u32, bits: u32) -> Register {
        Register { reset, write: bits, clear: 0, sticky: bits }
    }
    const fn log(bits: u32) -> Register {
        Register { reset: 0, write: 0, clear: 0, sticky: bits }
    }
    const AER_HEADER_END: u16 = AER_HEADER + 16;
    match offset {
        AER => ro(extended(AER_ID, 2, SERIAL)),
        AER_UNCORRECTABLE => status(AER_UNCORRECTABLE_BITS),
        AER_UNCORRECTABLE_MASK => mask(0, AER_UNCORRECTABLE_BITS),
        AER_SEVERITY => mask(AER_SEVERITY_RESET, AER_UNCORRECTABLE_BITS),
        AER_CORRECTABLE => status(AER_CORRECTABLE_BITS),
        AER_CORRECTABLE_MASK => mask(AER_ADVISORY, AER_CORRECTABLE_BITS),
        // First Error Pointer. No ECRC, and one header is kept.
        AER_CONTROL => log(0x1f),
        AER_HEADER..AER_HEADER_END => log(0xffff_ffff),
        _ => ro(0),
    }
}

const fn serial_and_ari(kind: Kind, offset: u16) -> Register {
    const SERIAL_LOW: u16 = SERIAL + 4;
    const SERIAL_HIGH: u16 = SERIAL + 8;
    const ARI_CAPABILITY: u16 = ARI + 4;
    let storage = matches!(kind, Kind::Storage);
    match offset {
        SERIAL => ro(extended(SERIAL_ID, 1, ARI)),
        SERIAL_LOW => ro(SERIAL_NUMBER as u32),
        SERIAL_HIGH => ro((SERIAL_NUMBER >> 32) as u32),
        ARI => ro(extended(ARI_ID, 1, if storage { SRIOV } else { 0 })),
        // Next Function Number: PF0 leads to PF2, the last.
        ARI_CAPABILITY => ro(if storage { 0 } else { (card::PF_STORAGE as u32) << 8 }),
        _ => ro(0),
    }
}

const fn sriov(vfs: u8, offset: u16) -> Register {
    const BAR0_HIGH: u16 = SRIOV_BAR0 + 4;
    match offset {
        SRIOV => ro(extended(SRIOV_ID, 1, 0)),
        SRIOV_CAPABILITIES => ro(SRIOV_ARI_PRESERVED),
        SRIOV_CONTROL => Register {
            reset: 0,
            write: 1 << SRIOV_ENABLE | 1 << SRIOV_MEMORY | SRIOV_ARI,
            clear: 0,
            sticky: SRIOV_ARI,
        },
        SRIOV_TOTAL => ro(vfs as u32 | (vfs as u32) << 16),
        // NumVFs, as many bits as TotalVFs (at most 15) needs.
        SRIOV_NUM_VFS => rw((card::PF_STORAGE as u32) << 16, 0xf),
        SRIOV_OFFSET => ro((card::VF_STORAGE_FIRST - card::PF_STORAGE) as u32 | 1 << 16),
        SRIOV_DEVICE => ro((card::DEVICE_STORAGE_VF as u32) << 16),
        SRIOV_PAGE_SIZES => ro(PAGE_SIZES),
        SRIOV_PAGE_SIZE => rw(1, PAGE_SIZES),
        SRIOV_BAR0 => rw(BAR_64 | BAR_PREFETCHABLE, !(card::BAR0_SIZE as u32 - 1)),
        BAR0_HIGH => rw(0, 0xffff_ffff),
        _ => ro(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dw(kind: Kind, offset: u16) -> u32 {
        register(kind, 8, offset).reset
    }

    /// The (offset, ID) pairs of a list, walked as software does.
    fn list(kind: Kind) -> impl Iterator<Item = (u16, u32)> {
        let mut at = dw(kind, CAPABILITIES) as u16;
        core::iter::from_fn(move || {
            let here = at;
            (here != 0).then(|| {
                at = (dw(kind, here) >> 8) as u16 & 0xff;
                (here, dw(kind, here) & 0xff)
            })
        })
    }

    fn extended_list(kind: Kind) -> impl Iterator<Item = (u16, u32)> {
        let mut at = EXTENDED;
        core::iter::from_fn(move || {
            let here = at;
            (here != 0).then(|| {
                at = (dw(kind, here) >> 20) as u16;
                (here, dw(kind, here) & 0xffff)
            })
        })
    }

    #[test]
    fn capability_lists_lead_through_every_structure() {
        assert!(list(Kind::Management).eq([(PM, PM_ID), (EXPRESS, EXPRESS_ID)]));
        assert!(list(Kind::Storage).eq([(PM, PM_ID), (EXPRESS, EXPRESS_ID), (MSIX, MSIX_ID)]));
        assert!(list(Kind::StorageVf).eq([(EXPRESS, EXPRESS_ID), (MSIX, MSIX_ID)]));
        let common = [(AER, AER_ID), (SERIAL, SERIAL_ID), (ARI, ARI_ID)];
        assert!(extended_list(Kind::Management).eq(common));
        assert!(extended_list(Kind::Storage).eq(common.into_iter().chain([(SRIOV, SRIOV_ID)])));
        assert!(extended_list(Kind::StorageVf).eq([(ARI_VF, ARI_ID)]));
    }

    #[test]
    fn a_bit_has_one_behaviour_and_a_sticky_bit_can_change() {
        for kind in Kind::ALL {
            for offset in (0..BYTES).step_by(4) {
                let r = register(kind, 8, offset);
                assert_eq!(r.write & r.clear, 0, "{kind:?} {offset:#x}");
                let set_by_the_card = (AER_CONTROL..AER_HEADER + 16).contains(&offset);
                assert!(set_by_the_card || r.sticky & !(r.write | r.clear) == 0, "{kind:?} {offset:#x}");
                assert_eq!(r.reset & r.clear, 0, "{kind:?} {offset:#x}");
            }
        }
    }

    #[test]
    fn vfs_have_no_bars_and_no_ids_of_their_own() {
        assert_eq!(dw(Kind::StorageVf, ID), 0xffff_ffff);
        for offset in (BAR0..0x28).step_by(4) {
            assert_eq!(register(Kind::StorageVf, 8, offset), Register::default());
        }
        assert_eq!(register(Kind::StorageVf, 8, COMMAND).write, COMMAND_BUS_MASTER);
    }
}
