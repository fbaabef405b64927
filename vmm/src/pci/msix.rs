//! The MSI-X table and pending bit array of a function (PCIe 4.0 §6.1.4, §7.7.2).
//!
//! A vector is an event file descriptor that the function signals. While the guest has the vector
//! unmasked, KVM turns each signal into the interrupt on its own; while it is masked, the signal stays
//! in the descriptor, which makes it the pending bit. Connecting it again delivers what is pending.

use std::ops::Range;
use std::sync::Arc;

use super::capabilities::MsixCapability;
use super::read_bytes;
use crate::event::Event;
use crate::irq::{Message, Messages};
use crate::kvm::Error;

/// Size of a table entry: message address, data, vector control.
const ENTRY: u64 = 16;
/// Vector control: mask bit.
const VECTOR_MASK: u32 = 1;
/// Message control, in the upper half of the capability's first DW: MSI-X enable, function mask.
const ENABLE: u32 = 1 << 31;
const FUNCTION_MASK: u32 = 1 << 30;

/// What a part of a BAR is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The table, at this offset in it.
    Table(u64),
    /// The pending bit array, at this offset in it.
    Pending(u64),
}

/// Where the table and the pending bits lie: what does not change.
#[derive(Debug, Clone)]
pub struct Areas {
    table: (u8, Range<u64>),
    pba: (u8, Range<u64>),
}

impl Areas {
    /// The areas that `capability` names.
    pub fn new(capability: &MsixCapability) -> Self {
        let vectors = u64::from(capability.vectors);
        let area = |(bar, offset): (u8, u64), len| (bar, offset..offset + len);
        Self {
            table: area(capability.table, vectors * ENTRY),
            pba: area(capability.pba, vectors.div_ceil(64) * 8),
        }
    }

    /// What is at `offset` of `bar`, if it belongs to MSI-X.
    pub fn find(&self, bar: u8, offset: u64) -> Option<Area> {
        let inside = |area: &(u8, Range<u64>)| area.0 == bar && area.1.contains(&offset);
        if inside(&self.table) {
            Some(Area::Table(offset - self.table.1.start))
        } else if inside(&self.pba) {
            Some(Area::Pending(offset - self.pba.1.start))
        } else {
            None
        }
    }
}

#[derive(Debug)]
struct Vector {
    message: Message,
    masked: bool,
    event: Event,
    /// The message that the event raises now.
    connected: Option<Message>,
}

/// MSI-X of one function.
pub struct Msix {
    vectors: Vec<Vector>,
    control: u32,
    first_gsi: u32,
    messages: Arc<dyn Messages>,
}

impl Msix {
    /// `count` vectors, masked and disabled, that use the GSIs from `first_gsi` on.
    pub fn new(count: u16, first_gsi: u32, messages: Arc<dyn Messages>) -> std::io::Result<Self> {
        let vector = |_| {
            let message = Message { address: 0, data: 0 };
            Ok(Vector { message, masked: true, event: Event::new()?, connected: None })
        };
        let vectors = (0..count).map(vector).collect::<std::io::Result<_>>()?;
        Ok(Self { vectors, control: 0, first_gsi, messages })
    }

    /// The events that the function signals, by vector.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.vectors.iter().map(|vector| &vector.event)
    }

    /// MSI-X Enable.
    pub fn enabled(&self) -> bool {
        self.control & ENABLE != 0
    }

    /// The message control bits that the guest wrote, in place for the capability's first DW.
    pub fn control(&self) -> u32 {
        self.control
    }

    /// Writes message control (in the upper half of `value`, under `lanes`); `true` if Enable changed.
    pub fn set_control(&mut self, value: u32, lanes: u32) -> Result<bool, Error> {
        let before = self.control;
        let lanes = lanes & (ENABLE | FUNCTION_MASK);
        self.control = before & !lanes | value & lanes;
        let changed = (before ^ self.control) & ENABLE != 0;
        if changed && self.enabled() {
            // What was signalled while MSI-X was off is not pending now.
            self.vectors.iter().for_each(|vector| vector.event.clear());
        }
        self.update_all()?;
        Ok(changed)
    }

    /// Disabled, all vectors masked: the state after a reset.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.control = 0;
        self.vectors.iter_mut().for_each(|vector| vector.masked = true);
        self.update_all()
    }

    /// Reads at `offset` of the table.
    pub fn read_table(&self, offset: u64, data: &mut [u8]) {
        let Some(vector) = self.vectors.get((offset / ENTRY) as usize) else { return data.fill(0) };
        let mut entry = [0; ENTRY as usize];
        entry[..8].copy_from_slice(&vector.message.address.to_le_bytes());
        entry[8..12].copy_from_slice(&vector.message.data.to_le_bytes());
        entry[12..].copy_from_slice(&u32::from(vector.masked).to_le_bytes());
        read_bytes(&entry, (offset % ENTRY) as usize, data);
    }

    /// Writes at `offset` of the table. Only aligned DWs and QWs are defined: others do nothing.
    pub fn write_table(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if !matches!(data.len(), 4 | 8) || !offset.is_multiple_of(data.len() as u64) {
            return Ok(());
        }
        let index = (offset / ENTRY) as usize;
        let Some(vector) = self.vectors.get_mut(index) else { return Ok(()) };
        for (dword, bytes) in ((offset % ENTRY) / 4..).zip(data.chunks_exact(4)) {
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            let address = vector.message.address;
            match dword {
                0 => vector.message.address = address >> 32 << 32 | u64::from(value & !3),
                1 => vector.message.address = address & 0xffff_ffff | u64::from(value) << 32,
                2 => vector.message.data = value,
                _ => vector.masked = value & VECTOR_MASK != 0,
            }
        }
        self.update(index)
    }

    /// Reads at `offset` of the pending bit array.
    pub fn read_pending(&self, offset: u64, data: &mut [u8]) {
        for (byte, index) in data.iter_mut().zip(0..) {
            let first = (offset.saturating_add(index) as usize).saturating_mul(8);
            let bits = self.vectors.iter().skip(first).take(8).enumerate();
            *byte = bits.fold(0, |bits, (bit, vector)| bits | u8::from(self.pending(vector)) << bit);
        }
    }

    fn pending(&self, vector: &Vector) -> bool {
        self.enabled() && vector.connected.is_none() && vector.event.is_signalled()
    }

    fn update_all(&mut self) -> Result<(), Error> {
        (0..self.vectors.len()).try_for_each(|index| self.update(index))
    }

    /// Connects or disconnects a vector as its mask, the function's mask and Enable say.
    fn update(&mut self, index: usize) -> Result<(), Error> {
        let open = self.control & (ENABLE | FUNCTION_MASK) == ENABLE;
        let Some(vector) = self.vectors.get_mut(index) else { return Ok(()) };
        let target = (open && !vector.masked).then_some(vector.message);
        if vector.connected != target {
            let gsi = self.first_gsi + index as u32;
            match target {
                Some(message) => self.messages.connect(gsi, &vector.event, message)?,
                None => self.messages.disconnect(gsi, &vector.event)?,
            }
            vector.connected = target;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::device::tests::{Call, Recorder};

    fn msix(count: u16) -> (Msix, Arc<Recorder>) {
        let recorder = Arc::new(Recorder::default());
        (Msix::new(count, 24, recorder.clone()).unwrap(), recorder)
    }

    fn program(msix: &mut Msix, vector: u64, message: Message, masked: bool) {
        msix.write_table(vector * ENTRY, &message.address.to_le_bytes()).unwrap();
        msix.write_table(vector * ENTRY + 8, &message.data.to_le_bytes()).unwrap();
        msix.write_table(vector * ENTRY + 12, &u32::from(masked).to_le_bytes()).unwrap();
    }

    const MESSAGE: Message = Message { address: 0xfee0_1000, data: 0x41 };

    #[test]
    fn a_vector_is_connected_only_while_nothing_masks_it() {
        let (mut msix, recorder) = msix(4);
        program(&mut msix, 1, MESSAGE, false);
        assert!(recorder.take().is_empty());
        assert!(msix.set_control(ENABLE, !0).unwrap());
        assert_eq!(recorder.take(), [Call::Connect(25, MESSAGE)]);
        assert!(!msix.set_control(ENABLE | FUNCTION_MASK, !0).unwrap());
        assert_eq!(recorder.take(), [Call::Disconnect(25)]);
        assert!(!msix.set_control(ENABLE, !0).unwrap());
        program(&mut msix, 1, MESSAGE, true);
        assert_eq!(recorder.take(), [Call::Connect(25, MESSAGE), Call::Disconnect(25)]);
    }

    #[test]
    fn moving_an_interrupt_changes_its_message() {
        let (mut msix, recorder) = msix(1);
        program(&mut msix, 0, MESSAGE, false);
        msix.set_control(ENABLE, !0).unwrap();
        msix.write_table(8, &0x42u32.to_le_bytes()).unwrap();
        let moved = Message { data: 0x42, ..MESSAGE };
        assert_eq!(recorder.take(), [Call::Connect(24, MESSAGE), Call::Connect(24, moved)]);
    }

    #[test]
    fn a_signal_under_a_mask_is_pending_until_it_is_enabled_anew() {
        let (mut msix, _) = msix(70);
        msix.set_control(ENABLE, !0).unwrap();
        for vector in [0, 69] {
            msix.vectors[vector].event.signal().unwrap();
        }
        let mut bits = [0; 16];
        msix.read_pending(0, &mut bits);
        assert_eq!((bits[0], bits[8]), (1, 1 << 5));
        assert_eq!(bits.iter().map(|byte| byte.count_ones()).sum::<u32>(), 2);
        msix.set_control(0, !0).unwrap();
        msix.set_control(ENABLE, !0).unwrap();
        msix.read_pending(0, &mut bits);
        assert_eq!(bits, [0; 16]);
    }

    #[test]
    fn what_is_written_is_read_back_in_any_width() {
        let (mut msix, _) = msix(2);
        program(&mut msix, 1, Message { address: 0x1_fee0_1000, data: 0x8899_aabb }, true);
        let mut entry = [0; 16];
        msix.read_table(16, &mut entry);
        assert_eq!(entry, [0x00, 0x10, 0xe0, 0xfe, 1, 0, 0, 0, 0xbb, 0xaa, 0x99, 0x88, 1, 0, 0, 0]);
        let mut byte = [0];
        msix.read_table(25, &mut byte);
        assert_eq!(byte, [0xaa]);
    }

    #[test]
    fn accesses_that_are_not_defined_do_nothing() {
        let (mut msix, recorder) = msix(1);
        msix.set_control(ENABLE, !0).unwrap();
        for (offset, len) in [(12, 1), (12, 2), (13, 4), (12, 8), (16, 4), (!7, 8), (0, 16)] {
            msix.write_table(offset, &vec![0; len]).unwrap();
        }
        assert!(recorder.take().is_empty());
        let mut data = [0xff; 8];
        msix.read_table(!7, &mut data);
        assert_eq!(data, [0; 8]);
        msix.read_pending(u64::MAX, &mut data);
        assert_eq!(data[0], 0);
    }
}
