//! What is in the configuration space of each kind of function: value after reset and behaviour, by DW.

use super::*;
use crate::card;
use crate::virtio::{net, pci as virtio};

/// Device ID of PF1 and its VFs (virtio 1.2 §4.1.2).
const DEVICE_NETWORK: u16 = virtio::DEVICE_ID + net::DEVICE_TYPE;

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
    /// PF1.
    Network = 3,
    /// VFs of PF1.
    NetworkVf = 4,
}

impl Kind {
    /// All of them, by number.
    pub const ALL: [Self; 5] =
        [Self::Management, Self::Storage, Self::StorageVf, Self::Network, Self::NetworkVf];
    /// Width in bits of the number.
    pub const BITS: usize = 3;

    /// Of a function of the card, or of what would be one if all VFs were enabled.
    #[must_use]
    pub const fn of(function: u8, vfs: u8) -> Option<Self> {
        match function {
            card::PF_MANAGEMENT => Some(Self::Management),
            card::PF_NETWORK => Some(Self::Network),
            card::PF_STORAGE => Some(Self::Storage),
            n if n >= card::VF_NETWORK_FIRST && n < card::VF_NETWORK_FIRST + vfs => Some(Self::NetworkVf),
            n if n >= card::VF_STORAGE_FIRST && n < card::VF_STORAGE_FIRST + vfs => Some(Self::StorageVf),
            _ => None,
        }
    }

    /// A VF.
    #[must_use]
    pub const fn is_virtual(self) -> bool {
        matches!(self, Self::StorageVf | Self::NetworkVf)
    }

    /// PF1 or one of its VFs.
    const fn is_network(self) -> bool {
        matches!(self, Self::Network | Self::NetworkVf)
    }
}

/// What a card's configuration spaces are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// TotalVFs of PF1 and of PF2, at most 15 and at most 8 where there is PF1.
    pub vfs: u8,
    /// There is PF1 with its VFs.
    pub network: bool,
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

/// The DW at byte `offset` (a multiple of 4) of a function's configuration space.
#[must_use]
pub const fn register(kind: Kind, layout: Layout, offset: u16) -> Register {
    if offset < PM {
        header(kind, offset)
    } else if offset < EXTENDED {
        capabilities(kind, offset)
    } else if kind.is_virtual() {
        // Next Function Number and the function groups mean nothing in a VF (PCIe 4.0 §9.3.7).
        ro(if offset == ARI_VF { extended(ARI_ID, 1, 0) } else { 0 })
    } else if offset < SERIAL {
        aer(offset)
    } else if offset < SRIOV {
        serial_and_ari(kind, layout, offset)
    } else if matches!(kind, Kind::Storage | Kind::Network) {
        sriov(kind, layout.vfs, offset)
    } else {
        ro(0)
    }
}

const fn header(kind: Kind, offset: u16) -> Register {
    let vf = kind.is_virtual();
    let vendor = if kind.is_network() { virtio::VENDOR_ID } else { card::VENDOR_ID } as u32;
    let device = match kind {
        Kind::Management => card::DEVICE_MANAGEMENT,
        Kind::Network | Kind::NetworkVf => DEVICE_NETWORK,
        Kind::Storage => card::DEVICE_STORAGE,
        Kind::StorageVf => card::DEVICE_STORAGE_VF,
    } as u32;
    match offset {
        // A VF's IDs read as all ones; software takes them from its PF (PCIe 4.0 §9.3.4.1.1).
        ID => ro(if vf { 0xffff_ffff } else { vendor | device << 16 }),
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
        // System peripheral; Ethernet controller; NVM Express I/O controller. Revision 1.
        CLASS => ro(match kind {
            Kind::Management => 0x0880_0001,
            Kind::Network | Kind::NetworkVf => 0x0200_0001,
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
        // A modern virtio device's subsystem device ID is 0x40 or higher (virtio 1.2 §4.1.2.1).
        SUBSYSTEM => ro(card::VENDOR_ID as u32 | device << 16),
        CAPABILITIES => ro(if vf { EXPRESS } else { PM } as u32),
        INTERRUPT if !vf => rw(0, 0xff),
        _ => ro(0),
    }
}

const fn capabilities(kind: Kind, offset: u16) -> Register {
    let vf = kind.is_virtual();
    let msix = !matches!(kind, Kind::Management);
    match offset {
        VIRTIO..VIRTIO_WINDOW if kind.is_network() => virtio(offset),
        VIRTIO_WINDOW..EXTENDED if kind.is_network() => virtio_window(offset),
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
            let next = if kind.is_network() { VIRTIO } else { 0 };
            rw(capability(MSIX_ID, next, card::MSIX_VECTORS as u32 - 1), 1 << MSIX_ENABLE | 1 << MSIX_MASK)
        }
        MSIX_TABLE if msix => ro(card::BAR0_MSIX_TABLE as u32),
        MSIX_PBA if msix => ro(card::BAR0_MSIX_PBA as u32),
        _ => ro(0),
    }
}

/// The access to BAR0 through configuration space (virtio 1.2 §4.1.4.9): the driver writes `bar`, `offset` and `length`.
const fn virtio_window(offset: u16) -> Register {
    match offset - VIRTIO_WINDOW {
        0 => ro(capability(VIRTIO_ID, 0, (VIRTIO_BYTES as u32 + 4) | (virtio::capability::PCI as u32) << 8)),
        4 => rw(0, 0xff),
        8 | 12 => rw(0, 0xffff_ffff),
        _ => ro(0),
    }
}

/// The structures of a network function in BAR0 (virtio 1.2 §4.1.4).
const fn virtio(offset: u16) -> Register {
    const STRUCTURES: [(u8, u64, u16); 4] = [
        (virtio::capability::COMMON, card::BAR0_VIRTIO_COMMON, virtio::common::BYTES),
        (virtio::capability::ISR, card::BAR0_VIRTIO_ISR, 1),
        (virtio::capability::DEVICE, card::BAR0_VIRTIO_DEVICE, net::config::BYTES),
        (
            virtio::capability::NOTIFY,
            card::BAR0_VIRTIO_NOTIFY,
            card::VIRTQUEUES as u16 * card::VIRTIO_NOTIFY_MULTIPLIER as u16,
        ),
    ];
    let place = (offset - VIRTIO) as usize / VIRTIO_BYTES as usize;
    if place >= STRUCTURES.len() {
        // The last one has the multiplier behind it.
        return ro(card::VIRTIO_NOTIFY_MULTIPLIER as u32);
    }
    let last = place + 1 == STRUCTURES.len();
    let (kind, at, length) = STRUCTURES[place];
    let bytes = if last { VIRTIO_BYTES + 4 } else { VIRTIO_BYTES };
    let next = if last { VIRTIO_WINDOW } else { VIRTIO + (place as u16 + 1) * VIRTIO_BYTES };
    ro(match (offset - VIRTIO) % VIRTIO_BYTES {
        0 => capability(VIRTIO_ID, next, bytes as u32 | (kind as u32) << 8),
        8 => at as u32,
        12 => length as u32,
        // BAR 0.
        _ => 0,
    })
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

const fn serial_and_ari(kind: Kind, layout: Layout, offset: u16) -> Register {
    const SERIAL_LOW: u16 = SERIAL + 4;
    const SERIAL_HIGH: u16 = SERIAL + 8;
    const ARI_CAPABILITY: u16 = ARI + 4;
    let virtualized = !matches!(kind, Kind::Management);
    // Next Function Number: of each PF the next, of the last 0.
    let next = match kind {
        Kind::Management if layout.network => card::PF_NETWORK,
        Kind::Management | Kind::Network => card::PF_STORAGE,
        _ => 0,
    };
    match offset {
        SERIAL => ro(extended(SERIAL_ID, 1, ARI)),
        SERIAL_LOW => ro(SERIAL_NUMBER as u32),
        SERIAL_HIGH => ro((SERIAL_NUMBER >> 32) as u32),
        ARI => ro(extended(ARI_ID, 1, if virtualized { SRIOV } else { 0 })),
        ARI_CAPABILITY => ro((next as u32) << 8),
        _ => ro(0),
    }
}

const fn sriov(kind: Kind, vfs: u8, offset: u16) -> Register {
    const BAR0_HIGH: u16 = SRIOV_BAR0 + 4;
    let (physical, first, device) = match kind {
        Kind::Network => (card::PF_NETWORK, card::VF_NETWORK_FIRST, DEVICE_NETWORK),
        _ => (card::PF_STORAGE, card::VF_STORAGE_FIRST, card::DEVICE_STORAGE_VF),
    };
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
        SRIOV_NUM_VFS => rw((physical as u32) << 16, 0xf),
        SRIOV_OFFSET => ro((first - physical) as u32 | 1 << 16),
        SRIOV_DEVICE => ro((device as u32) << 16),
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

    const LAYOUT: Layout = Layout { vfs: 8, network: true };

    fn dw(kind: Kind, offset: u16) -> u32 {
        register(kind, LAYOUT, offset).reset
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
        let virtio = (0..4).map(|place| VIRTIO + place * VIRTIO_BYTES).chain([VIRTIO_WINDOW]);
        let virtio = virtio.map(|at| (at, VIRTIO_ID));
        assert!(
            list(Kind::Network)
                .eq([(PM, PM_ID), (EXPRESS, EXPRESS_ID), (MSIX, MSIX_ID)].into_iter().chain(virtio.clone()))
        );
        assert!(list(Kind::NetworkVf).eq([(EXPRESS, EXPRESS_ID), (MSIX, MSIX_ID)].into_iter().chain(virtio)));
        let common = [(AER, AER_ID), (SERIAL, SERIAL_ID), (ARI, ARI_ID)];
        assert!(extended_list(Kind::Management).eq(common));
        assert!(extended_list(Kind::Storage).eq(common.into_iter().chain([(SRIOV, SRIOV_ID)])));
        assert!(extended_list(Kind::Network).eq(common.into_iter().chain([(SRIOV, SRIOV_ID)])));
        assert!(extended_list(Kind::StorageVf).eq([(ARI_VF, ARI_ID)]));
        assert!(extended_list(Kind::NetworkVf).eq([(ARI_VF, ARI_ID)]));
    }

    #[test]
    fn a_bit_has_one_behaviour_and_a_sticky_bit_can_change() {
        for kind in Kind::ALL {
            for offset in (0..BYTES).step_by(4) {
                let r = register(kind, LAYOUT, offset);
                assert_eq!(r.write & r.clear, 0, "{kind:?} {offset:#x}");
                let set_by_the_card = (AER_CONTROL..AER_HEADER + 16).contains(&offset);
                assert!(set_by_the_card || r.sticky & !(r.write | r.clear) == 0, "{kind:?} {offset:#x}");
                assert_eq!(r.reset & r.clear, 0, "{kind:?} {offset:#x}");
            }
        }
    }

    #[test]
    fn virtio_capabilities_name_the_structures_of_the_card() {
        let found = list(Kind::NetworkVf).filter(|(_, id)| *id == VIRTIO_ID).map(|(at, _)| {
            let head = dw(Kind::NetworkVf, at);
            ((head >> 24) as u8, head >> 16 & 0xff, dw(Kind::NetworkVf, at + 8), dw(Kind::NetworkVf, at + 12))
        });
        assert!(found.eq([
            (virtio::capability::COMMON, 16, 0, 0x40),
            (virtio::capability::ISR, 16, 0x100, 1),
            (virtio::capability::DEVICE, 16, 0x200, 0x18),
            (virtio::capability::NOTIFY, 20, 0x1000, 20),
            (virtio::capability::PCI, 20, 0, 0),
        ]));
        assert_eq!(dw(Kind::Network, VIRTIO + 4 * VIRTIO_BYTES), 4);
        assert_eq!(dw(Kind::Network, ID), 0x1041_1af4);
        assert_eq!(dw(Kind::Network, SRIOV_DEVICE) >> 16, 0x1041);
    }

    #[test]
    fn vfs_have_no_bars_and_no_ids_of_their_own() {
        assert_eq!(dw(Kind::StorageVf, ID), 0xffff_ffff);
        for offset in (BAR0..0x28).step_by(4) {
            assert_eq!(register(Kind::StorageVf, LAYOUT, offset), Register::default());
        }
        assert_eq!(register(Kind::StorageVf, LAYOUT, COMMAND).write, COMMAND_BUS_MASTER);
    }
}
