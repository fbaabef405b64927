//! What of a function's configuration space the guest sees changed.

use nitride_driver::{Function, Result};

use super::reg;

/// MSI: MSI-X serves all there is.
const CAP_MSI: u8 = 0x05;
const CAP_PCIE: u8 = 0x10;
const CAP_MSIX: u8 = 0x11;
/// A list longer than this has a loop (48 capabilities fit into 192 bytes).
const CAPS_MAX: usize = 48;
/// As [`CAPS_MAX`], for extended capabilities of at least 8 bytes in 3,840.
const EXTENDED_MAX: usize = 480;

/// PCI Express Capabilities register: Device/Port Type, root complex integrated endpoint (PCIe 4.0 §7.5.3.2).
const TYPE_INTEGRATED: u8 = 0x9;

/// Fixed bits over a function's configuration space: a guest reads `value` where `mask` is set.
#[derive(Debug, Clone)]
pub struct Overlay {
    value: Vec<u8>,
    mask: Vec<u8>,
}

impl Overlay {
    fn new(size: usize) -> Self {
        Self { value: vec![0; size], mask: vec![0; size] }
    }

    /// Fixes the bits of `mask` in the byte at `offset`.
    fn fix(&mut self, offset: u16, value: u8, mask: u8) {
        let offset = usize::from(offset);
        if let (Some(old), Some(fixed)) = (self.value.get_mut(offset), self.mask.get_mut(offset)) {
            *old = *old & !mask | value & mask;
            *fixed |= mask;
        }
    }

    fn hide(&mut self, offset: u16, len: u16) {
        for offset in offset..offset.saturating_add(len) {
            self.fix(offset, 0, 0xff);
        }
    }

    /// Whether nothing of the function shows in the byte at `offset`.
    pub fn covers(&self, offset: u16) -> bool {
        self.mask.get(usize::from(offset)).is_none_or(|mask| *mask == 0xff)
    }

    /// What the guest reads in the byte at `offset` when the function has `byte` there.
    pub fn apply(&self, offset: u16, byte: u8) -> u8 {
        let offset = usize::from(offset);
        match (self.value.get(offset), self.mask.get(offset)) {
            (Some(value), Some(mask)) => byte & !mask | value & mask,
            _ => 0xff,
        }
    }
}

/// The MSI-X capability of a function (PCIe 4.0 §7.7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsixCapability {
    /// Offset of the capability.
    pub offset: u16,
    /// Table size in vectors.
    pub vectors: u16,
    /// BAR and offset of the table.
    pub table: (u8, u64),
    /// BAR and offset of the pending bit array.
    pub pba: (u8, u64),
}

/// A function's configuration space, read once.
#[derive(Debug)]
pub struct Capabilities {
    /// What the guest sees changed.
    pub overlay: Overlay,
    /// MSI-X, if the function has it.
    pub msix: Option<MsixCapability>,
    /// Offset of the PCI Express capability.
    pub pcie: Option<u16>,
}

impl Capabilities {
    /// Reads the capabilities of `function`.
    pub fn read(function: &dyn Function) -> Result<Self> {
        let size = usize::from(function.info().config_size).clamp(256, 4096);
        let mut space = vec![0; size];
        for (offset, dword) in (0u16..).step_by(4).zip(space.chunks_exact_mut(4)) {
            function.config_read(offset, dword)?;
        }
        Ok(Self::parse(&space))
    }

    /// The capabilities in a copy of configuration space.
    fn parse(space: &[u8]) -> Self {
        let mut this = Self { overlay: Overlay::new(space.len()), msix: None, pcie: None };
        let overlay = &mut this.overlay;
        // Every function is one of its own for the guest: no multi-function devices, no INTx, no ROM.
        overlay.fix(reg::HEADER_TYPE, 0, 0xff);
        overlay.hide(reg::BAR0, 24);
        overlay.hide(reg::CARDBUS_CIS, 4);
        overlay.hide(reg::ROM, 4);
        overlay.hide(reg::INTERRUPT_PIN, 1);
        this.parse_list(space);
        this.parse_extended(space);
        this
    }

    fn parse_list(&mut self, space: &[u8]) {
        if byte(space, reg::STATUS) & 0x10 == 0 {
            return;
        }
        let mut link = reg::CAPABILITIES;
        let mut next = byte(space, link) & !3;
        for _ in 0..CAPS_MAX {
            if next < 0x40 {
                break;
            }
            let offset = u16::from(next);
            let id = byte(space, offset);
            next = byte(space, offset + 1) & !3;
            if id == CAP_MSI {
                // 64-bit addresses and per-vector masking make it longer (PCIe 4.0 §7.7.1).
                let wide = u16::from(byte(space, offset + 2) >> 7);
                let masking = u16::from(byte(space, offset + 3) & 1);
                self.overlay.hide(offset, 10 + 4 * wide + 10 * masking);
                self.overlay.fix(link, next, 0xff);
                continue;
            }
            match id {
                CAP_MSIX => self.msix = Some(msix(space, offset)),
                CAP_PCIE => self.parse_pcie(space, offset),
                _ => {}
            }
            link = offset + 1;
        }
    }

    /// An endpoint on a root bus is an integrated one, without a link (PCIe 4.0 §7.5.3, table 7-13).
    fn parse_pcie(&mut self, space: &[u8], offset: u16) {
        self.pcie = Some(offset);
        self.overlay.fix(offset + 2, TYPE_INTEGRATED << 4, 0xf0);
        self.overlay.hide(offset + 0x0c, 8);
        if byte(space, offset + 2) & 0xf >= 2 {
            self.overlay.hide(offset + 0x2c, 8);
        }
    }

    fn parse_extended(&mut self, space: &[u8]) {
        let mut previous = None;
        let mut offset = reg::EXTENDED;
        for _ in 0..EXTENDED_MAX {
            let header = dword(space, offset);
            if header == 0 || header == !0 {
                break;
            }
            let next = (header >> 20) as u16 & !3;
            match hidden_len(space, header as u16, offset) {
                Some(len) => self.hide_extended(previous, offset, len, next),
                None => previous = Some(offset),
            }
            if next < reg::EXTENDED {
                break;
            }
            offset = next;
        }
    }

    /// Takes the capability at `offset` out of the list. The first one has no predecessor to take it
    /// out of: it stays as a header of ID 0 and version 0, which nothing recognises, with its successor.
    fn hide_extended(&mut self, previous: Option<u16>, offset: u16, len: u16, next: u16) {
        let overlay = &mut self.overlay;
        overlay.hide(offset, len);
        let link = previous.unwrap_or(offset);
        overlay.fix(link + 2, (next << 4) as u8, 0xf0);
        overlay.fix(link + 3, (next >> 4) as u8, 0xff);
    }
}

/// Length in bytes of an extended capability that a guest must not use, or that has no sense on a root bus.
fn hidden_len(space: &[u8], id: u16, offset: u16) -> Option<u16> {
    match id {
        // ARI, ATS, PASID (PCIe 4.0 §7.8.7, §10.5.1, §7.8.8)
        0x0e | 0x0f | 0x1b => Some(8),
        // PRI (§10.5.2)
        0x13 => Some(16),
        // SR-IOV (§9.3.3): VFs are the host's to hand out.
        0x10 => Some(0x40),
        // Resizable BAR (§7.8.6): as many pairs of registers as the first control register says.
        0x15 => Some(4 + 8 * (dword(space, offset.saturating_add(8)) >> 5 & 7) as u16),
        _ => None,
    }
}

fn msix(space: &[u8], offset: u16) -> MsixCapability {
    let window = |at| {
        let register = dword(space, at);
        ((register & 7) as u8, u64::from(register & !7))
    };
    let control = dword(space, offset) >> 16;
    MsixCapability {
        offset,
        vectors: (control & 0x7ff) as u16 + 1,
        table: window(offset + 4),
        pba: window(offset + 8),
    }
}

fn byte(space: &[u8], offset: u16) -> u8 {
    space.get(usize::from(offset)).copied().unwrap_or(0)
}

fn dword(space: &[u8], offset: u16) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|index| byte(space, offset.saturating_add(index))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A configuration space with `bytes` at the given offsets.
    fn space(bytes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut space = vec![0; 4096];
        for (offset, bytes) in bytes {
            space[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        space
    }

    fn seen(space: &[u8]) -> Vec<u8> {
        let overlay = Capabilities::parse(space).overlay;
        (0u16..).zip(space).map(|(offset, byte)| overlay.apply(offset, *byte)).collect()
    }

    fn extended(id: u16, next: u16) -> [u8; 4] {
        (u32::from(next) << 20 | 1 << 16 | u32::from(id)).to_le_bytes()
    }

    /// IDs of the extended capabilities that a guest finds.
    fn walk(space: &[u8]) -> Vec<u16> {
        let mut found = Vec::new();
        let mut offset = reg::EXTENDED;
        while offset >= reg::EXTENDED && dword(space, offset) != 0 {
            let header = dword(space, offset);
            found.push(header as u16);
            offset = (header >> 20) as u16 & !3;
        }
        found
    }

    #[test]
    fn msi_is_hidden_and_msi_x_found() {
        let space = space(&[
            (0x06, &[0x10]),
            (0x34, &[0x40]),
            (0x40, &[0x05, 0x60, 0x80, 0x01, 0xff, 0xff]),
            (0x60, &[0x11, 0x00, 0x07, 0x00, 0x00, 0x20, 0x00, 0x00, 0x04, 0x30, 0x00, 0x00]),
        ]);
        let capabilities = Capabilities::parse(&space);
        let msix = MsixCapability { offset: 0x60, vectors: 8, table: (0, 0x2000), pba: (4, 0x3000) };
        assert_eq!(capabilities.msix, Some(msix));
        let seen = seen(&space);
        assert_eq!(seen[0x34], 0x60);
        assert_eq!(&seen[0x40..0x58], &[0; 24]);
        assert!(capabilities.overlay.covers(0x57) && !capabilities.overlay.covers(0x58));
    }

    #[test]
    fn an_endpoint_looks_integrated_and_has_no_link() {
        let space =
            space(&[(0x06, &[0x10]), (0x34, &[0x80]), (0x80, &[0x10, 0, 0x02, 0]), (0x8c, &[0xff; 8])]);
        let seen = seen(&space);
        assert_eq!(seen[0x82], 0x92);
        assert_eq!(&seen[0x8c..0x94], &[0; 8]);
    }

    #[test]
    fn sr_iov_is_out_of_reach_wherever_it_is_in_the_list() {
        for order in [[0x10, 0x01, 0x03], [0x01, 0x10, 0x03], [0x01, 0x03, 0x10], [0x10, 0x0e, 0x01]] {
            let space = space(&[
                (0x100, &extended(order[0], 0x200)),
                (0x200, &extended(order[1], 0x300)),
                (0x300, &extended(order[2], 0)),
            ]);
            let overlay = Capabilities::parse(&space).overlay;
            let expected: Vec<u16> = order.into_iter().filter(|id| ![0x10, 0x0e].contains(id)).collect();
            let found: Vec<u16> = walk(&seen(&space)).into_iter().filter(|id| *id != 0).collect();
            assert_eq!(found, expected);
            let at = 0x100 + 0x100 * order.iter().position(|id| *id == 0x10).unwrap() as u16;
            assert!((at + 4..at + 0x40).all(|offset| overlay.covers(offset)));
        }
    }

    #[test]
    fn lists_that_loop_end() {
        let space =
            space(&[(0x06, &[0x10]), (0x34, &[0x40]), (0x40, &[0x09, 0x40]), (0x100, &extended(1, 0x100))]);
        assert!(Capabilities::parse(&space).msix.is_none());
    }

    proptest! {
        #[test]
        fn any_configuration_space_is_parsed(mut space in prop::collection::vec(any::<u8>(), 256..=4096)) {
            space[6] |= 0x10;
            let capabilities = Capabilities::parse(&space);
            prop_assert!(capabilities.overlay.covers(reg::BAR0) && capabilities.overlay.covers(reg::INTERRUPT_PIN));
        }
    }
}
