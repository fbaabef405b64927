//! What of configuration space is virtual, and which writes reach the function.

use crate::firmware::{FunctionKind, PciFunction, reg};

/// Cache line size and latency timer.
const CACHE_LINE: u16 = 0x0c;
const ROM: u16 = 0x30;
/// Interrupt line, pin, and two bytes that PCI Express does not use.
const INTERRUPT: u16 = 0x3c;
/// Power management control and status, from its capability (PCIe 4.0 §7.5.2.2).
const POWER_CONTROL: u16 = 0x04;
const POWER_STATE: u32 = 3;
/// Command: what a user may set of the function itself: bus master, parity, SERR, interrupt disable.
const COMMAND_WRITABLE: u32 = reg::COMMAND_BUS_MASTER | 1 << 6 | 1 << 8 | 1 << 10;
/// Status and device status: bits that a 1 clears.
const STATUS_CLEAR: u32 = 0xf900_0000;
const DEVICE_STATUS_CLEAR: u32 = 0x000f_0000;
/// Device control: error reporting, relaxed ordering, no snoop. Payload and request sizes are the host's.
const DEVICE_CONTROL_WRITABLE: u32 = 0x081f;
/// Length of the AER capability without root registers (PCIe 4.0 §7.8.4).
const AER_LEN: u16 = 0x2c;

/// What a write to configuration space comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing beyond what is virtual.
    None,
    /// A Function Level Reset.
    Reset,
    /// A write to the function, of the bits in `mask`. Offset, length, mask and value are of the bytes that
    /// were written.
    Write { offset: u16, len: u8, mask: u32, value: u32 },
}

/// The virtual registers of one function.
#[derive(Debug)]
pub(super) struct VirtualConfig {
    /// Vendor and device ID that a VF's own space does not have (PCIe 4.0 §9.3.4.1.1).
    ids: Option<u32>,
    /// Bits of each BAR that are address bits, and that say its kind.
    bar_masks: [u32; 6],
    bar_kinds: [u32; 6],
    bars: [u32; 6],
    memory: bool,
    interrupt_line: u8,
    power_state: u32,
    express: u16,
    power: Option<u16>,
    aer: Option<u16>,
    vendor_specific: Vec<std::ops::Range<u16>>,
}

impl VirtualConfig {
    pub(super) fn new(function: &PciFunction) -> Self {
        let (mut bar_masks, mut bar_kinds) = ([0; 6], [0; 6]);
        for (index, bar) in function.bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            let mask = !(bar.size - 1);
            bar_masks[index] = mask as u32;
            bar_kinds[index] = u32::from(bar.wide) << 2 | u32::from(bar.prefetchable) << 3;
            if bar.wide {
                bar_masks[index + 1] = (mask >> 32) as u32;
            }
        }
        let is_virtual = matches!(function.kind, FunctionKind::Virtual { .. });
        Self {
            ids: is_virtual.then(|| u32::from(function.device) << 16 | u32::from(function.vendor)),
            bar_masks,
            bar_kinds,
            bars: [0; 6],
            memory: false,
            interrupt_line: 0,
            power_state: 0,
            express: function.express,
            power: function.power,
            aer: function.aer,
            vendor_specific: function.vendor_specific.clone(),
        }
    }

    /// As after a reset.
    pub(super) fn reset(&mut self) {
        self.bars = [0; 6];
        self.memory = false;
        self.interrupt_line = 0;
        self.power_state = 0;
    }

    /// The DW at `offset`, where the function's own is `real`.
    pub(super) fn read(&self, offset: u16, real: u32) -> u32 {
        if let Some(index) = bar(offset) {
            return self.bars[index] | self.bar_kinds[index];
        }
        match offset {
            0 => self.ids.unwrap_or(real),
            reg::COMMAND => real & !reg::COMMAND_MEMORY | if self.memory { reg::COMMAND_MEMORY } else { 0 },
            ROM => 0,
            INTERRUPT => real & !0xff | u32::from(self.interrupt_line),
            _ if self.power.is_some_and(|power| offset == power + POWER_CONTROL) => {
                real & !POWER_STATE | self.power_state
            }
            _ => real,
        }
    }

    /// Takes a write of `len` bytes at `offset`, inside of one DW.
    pub(super) fn write(&mut self, offset: u16, len: u8, value: u32) -> Effect {
        let dw = offset & !3;
        let shift = 8 * u32::from(offset % 4);
        let touched = (u32::MAX >> (32 - 8 * u32::from(len))) << shift;
        let word = value << shift;
        if let Some(index) = bar(dw) {
            self.bars[index] = (self.bars[index] & !touched | word & touched) & self.bar_masks[index];
            return Effect::None;
        }
        let through = |mask: u32| match (mask & touched) >> shift {
            0 => Effect::None,
            mask => Effect::Write { offset, len, mask, value },
        };
        match dw {
            reg::COMMAND => {
                if touched & reg::COMMAND_MEMORY != 0 {
                    self.memory = word & reg::COMMAND_MEMORY != 0;
                }
                // Status bits are kept by writing 0: what is not written clears nothing.
                through(COMMAND_WRITABLE | STATUS_CLEAR)
            }
            CACHE_LINE => through(0xff),
            INTERRUPT => {
                if touched & 0xff != 0 {
                    self.interrupt_line = word as u8;
                }
                Effect::None
            }
            _ if dw == self.express + reg::DEVICE_CONTROL => {
                if word & touched & reg::FLR != 0 {
                    return Effect::Reset;
                }
                through(DEVICE_CONTROL_WRITABLE | DEVICE_STATUS_CLEAR)
            }
            _ if dw == self.express + reg::DEVICE_CONTROL_2 => through(0xffff),
            _ if self.power.is_some_and(|power| dw == power + POWER_CONTROL) => {
                if touched & POWER_STATE != 0 {
                    self.power_state = word & POWER_STATE;
                }
                Effect::None
            }
            _ if self.aer.is_some_and(|aer| (aer + 4..aer + AER_LEN).contains(&dw)) => through(u32::MAX),
            // virtio's access through configuration space (virtio 1.2 §4.1.4.9).
            _ if self.vendor_specific.iter().any(|range| range.contains(&dw)) => through(u32::MAX),
            _ => Effect::None,
        }
    }
}

/// The BAR that the DW at `offset` is.
fn bar(offset: u16) -> Option<usize> {
    (reg::BAR0..reg::BAR0 + 24).contains(&offset).then(|| usize::from((offset - reg::BAR0) / 4))
}
