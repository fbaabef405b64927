//! What every NVMe controller of the card says of itself: CAP, VS and the Identify data.
//!
//! Each function is an NVM subsystem of its own with one controller, so that namespace IDs of two
//! functions never name the same namespace (NVMe 1.4 §1.6.25).

use super::command::identify::BYTES;
use super::identify::{controller as c, descriptor, namespace as n};
use super::register::cap;
use crate::card;

/// VS: NVMe 1.4.0 (§3.1.2).
pub const VERSION: u32 = 0x0001_0400;

/// CAP (§3.1.1): 1,024 entries, contiguous queues, round robin, 60 s, doorbell stride 4 bytes, NVM
/// command set, 4 KiB pages only. The timeout is long because a simulated card may be a thousand
/// times slower than a real one.
pub const CAP_VALUE: u64 = cap::TO.set(cap::CQR.set(cap::CSS.set(card::QUEUE_ENTRIES as u64 - 1, 1), 1), 120);

/// Serial number without its last 2 characters, the function number in hexadecimal.
pub const SERIAL_PREFIX: &[u8; 18] = b"NITRIDE00000000000";
/// Model number.
pub const MODEL: &[u8; 40] = b"Nitride NVMe Controller                 ";
/// Firmware revision.
pub const FIRMWARE: &[u8; 8] = b"0.1.0   ";
/// Subsystem NQN without its last 2 characters, the function number in hexadecimal (§7.9, UUID form).
pub const SUBNQN_PREFIX: &[u8; 66] = b"nqn.2014-08.org.nvmexpress:uuid:6e697472-6964-8000-8000-0000000000";

/// Aborts at a time, 0's based.
pub const ABORT_LIMIT: u8 = 3;
/// Asynchronous Event Requests at a time, 0's based.
pub const ASYNC_EVENT_LIMIT: u8 = 3;
/// OAES: Namespace Attribute Notices.
pub const ASYNC_EVENTS_SUPPORTED: u32 = super::feature::NAMESPACE_NOTICES.mask() as u32;
/// LPA: Get Log Page takes NUMDU and an offset.
pub const LOG_PAGE_ATTRIBUTES: u8 = 1 << 2;
/// WCTEMP in kelvins.
pub const WARNING_TEMPERATURE: u16 = 343;
/// CCTEMP in kelvins.
pub const CRITICAL_TEMPERATURE: u16 = 373;
/// Composite temperature in the SMART log page, in kelvins: there is no sensor.
pub const TEMPERATURE: u16 = 310;
/// Power cycles in the SMART log page, whose counters are those of the card's one.
pub const POWER_CYCLES: u8 = 1;
/// Spare capacity in the SMART log page, in percent.
pub const AVAILABLE_SPARE: u8 = 100;
/// Threshold of the spare capacity in the SMART log page, in percent.
pub const AVAILABLE_SPARE_THRESHOLD: u8 = 10;

/// log2 of the block size of each LBA format: 512 bytes, 4 KiB.
pub const LBA_FORMATS: [u8; 2] = [9, 12];

/// log2 of the memory page size in bytes: CC.MPS is always 0.
pub const PAGE_SHIFT: u32 = 12;
/// Memory page size in bytes.
pub const PAGE: u64 = 1 << PAGE_SHIFT;
/// Most bytes of a Read or Write, from [`card::MDTS`].
pub const MAX_TRANSFER: u64 = PAGE << card::MDTS;

/// NGUID without its last 2 bytes, the function number and the NSID (§7.10).
pub const NGUID_PREFIX: [u8; 14] = *b"Nitride volume";

const fn put<const N: usize>(to: &mut [u8; BYTES], at: usize, from: &[u8; N]) {
    let mut i = 0;
    while i < N {
        to[at + i] = from[i];
        i += 1;
    }
}

const fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// The Identify Controller data structure of a function (§5.15.2.2).
///
/// Functions differ in 5 bytes: [`c::CMIC`], [`c::SN`] + 18 and + 19, [`c::SUBNQN`] + 66 and + 67.
#[must_use]
pub const fn identify_controller(function: u8) -> [u8; BYTES] {
    let digits = [hex(function >> 4), hex(function & 15)];
    let mut d = [0; BYTES];
    put(&mut d, c::VID, &card::VENDOR_ID.to_le_bytes());
    put(&mut d, c::SSVID, &card::VENDOR_ID.to_le_bytes());
    put(&mut d, c::SN, SERIAL_PREFIX);
    put(&mut d, c::SN + SERIAL_PREFIX.len(), &digits);
    put(&mut d, c::MN, MODEL);
    put(&mut d, c::FR, FIRMWARE);
    // Bit 2: this controller is an SR-IOV virtual function.
    d[c::CMIC] = if function == card::PF_STORAGE { 0 } else { 1 << 2 };
    d[c::MDTS] = card::MDTS;
    put(&mut d, c::VER, &VERSION.to_le_bytes());
    put(&mut d, c::OAES, &ASYNC_EVENTS_SUPPORTED.to_le_bytes());
    // I/O controller.
    d[c::CNTRLTYPE] = 1;
    d[c::ACL] = ABORT_LIMIT;
    d[c::AERL] = ASYNC_EVENT_LIMIT;
    // One firmware slot, read-only.
    d[c::FRMW] = 0b011;
    d[c::LPA] = LOG_PAGE_ATTRIBUTES;
    d[c::ELPE] = super::log::error::ENTRIES as u8 - 1;
    put(&mut d, c::WCTEMP, &WARNING_TEMPERATURE.to_le_bytes());
    put(&mut d, c::CCTEMP, &CRITICAL_TEMPERATURE.to_le_bytes());
    d[c::SQES] = super::SQE_SHIFT << 4 | super::SQE_SHIFT;
    d[c::CQES] = super::CQE_SHIFT << 4 | super::CQE_SHIFT;
    put(&mut d, c::NN, &(card::NAMESPACES as u32).to_le_bytes());
    // Dataset Management, Write Zeroes.
    put(&mut d, c::ONCS, &0b1100u16.to_le_bytes());
    // A volatile write cache; Flush does not take NSID FFFFFFFFh.
    d[c::VWC] = 0b101;
    put(&mut d, c::SUBNQN, SUBNQN_PREFIX);
    put(&mut d, c::SUBNQN + SUBNQN_PREFIX.len(), &digits);
    d
}

/// The NGUID of a function's namespace.
#[must_use]
pub const fn nguid(function: u8, nsid: u8) -> [u8; 16] {
    let mut guid = [0; 16];
    let mut i = 0;
    while i < NGUID_PREFIX.len() {
        guid[i] = NGUID_PREFIX[i];
        i += 1;
    }
    guid[14] = function;
    guid[15] = nsid;
    guid
}

/// The Identify Namespace data structure of an active namespace (§5.15.2.1): `blocks` blocks of LBA
/// format `format` (an index of [`LBA_FORMATS`]).
#[must_use]
pub const fn identify_namespace(
    function: u8,
    nsid: u8,
    blocks: u64,
    format: u8,
    read_only: bool,
) -> [u8; BYTES] {
    let mut d = [0; BYTES];
    put(&mut d, n::NSZE, &blocks.to_le_bytes());
    put(&mut d, n::NCAP, &blocks.to_le_bytes());
    put(&mut d, n::NUSE, &blocks.to_le_bytes());
    d[n::NLBAF] = LBA_FORMATS.len() as u8 - 1;
    d[n::FLBAS] = format;
    // Deallocated blocks read as zeroes.
    d[n::DLFEAT] = 0b001;
    d[n::NSATTR] = read_only as u8;
    put(&mut d, n::NGUID, &nguid(function, nsid));
    let mut i = 0;
    while i < LBA_FORMATS.len() {
        d[n::LBAF0 + 4 * i + n::LBAF_LBADS] = LBA_FORMATS[i];
        i += 1;
    }
    d
}

/// The Namespace Identification Descriptor list of an active namespace (§5.15.2.3): its NGUID.
#[must_use]
pub const fn namespace_descriptors(function: u8, nsid: u8) -> [u8; BYTES] {
    let mut d = [0; BYTES];
    d[descriptor::NIDT] = descriptor::NIDT_NGUID;
    d[descriptor::NIDL] = 16;
    put(&mut d, descriptor::NID, &nguid(function, nsid));
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cap_states_what_the_card_has() {
        assert_eq!(CAP_VALUE, 0x0000_0020_7801_03ff);
    }

    #[test]
    fn functions_differ_in_the_five_documented_bytes_only() {
        let (pf, vf) = (identify_controller(2), identify_controller(0x1f));
        let mut differing = [0; 5];
        let mut count = 0;
        for (i, (a, b)) in pf.iter().zip(&vf).enumerate() {
            if a != b {
                differing[count] = i;
                count += 1;
            }
        }
        assert_eq!(differing[..count], [c::SN + 18, c::SN + 19, c::CMIC, c::SUBNQN + 66, c::SUBNQN + 67]);
        assert_eq!(&vf[c::SN + 16..c::SN + 20], b"001f");
    }
}
