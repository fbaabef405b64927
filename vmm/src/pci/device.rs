//! One function as the guest has it: its configuration space, with BARs and MSI-X replaced by the
//! VMM's own, and its BARs.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nitride_driver::Function;
use parking_lot::Mutex;

use super::bars::{Bars, Mapping};
use super::capabilities::Capabilities;
use super::msix::{Area, Areas, Msix};
use super::{COMMAND_MEMORY, reg};
use crate::irq::Messages;
use crate::stats::Exit;
use crate::terminal;

/// Device Control, Initiate Function Level Reset (PCIe 4.0 §7.5.3.4), in the DW of the register.
const INITIATE_FLR: u32 = 1 << 15;
/// Offset of Device Control in the PCI Express capability.
const DEVICE_CONTROL: u16 = 8;

/// A PCI function of the guest.
pub struct Device {
    function: Arc<dyn Function>,
    capabilities: Capabilities,
    areas: Option<Areas>,
    state: Mutex<State>,
    failed: AtomicBool,
}

struct State {
    bars: Bars,
    /// Memory Space Enable as the guest set it: a VF's own is hardwired to 0 (PCIe 4.0 §9.3.4.1.3).
    memory_enabled: bool,
    interrupt_line: u8,
    msix: Option<Msix>,
}

impl Device {
    /// The device for `function`; `reserve` gives out that many GSIs in a row.
    pub fn new(
        function: Arc<dyn Function>,
        messages: Arc<dyn Messages>,
        reserve: impl Fn(u16) -> Option<u32>,
    ) -> Result<Self, String> {
        let name = function.info().name.clone();
        let named = |detail: String| format!("{name}: {detail}");
        let capabilities = Capabilities::read(&*function).map_err(|error| error.to_string())?;
        let bars = Bars::new(function.info().bars).map_err(named)?;
        let msix = match &capabilities.msix {
            Some(capability) => {
                let vectors = capability.vectors;
                let gsi = reserve(vectors)
                    .ok_or_else(|| named(format!("no room for {vectors} more interrupts")))?;
                Some(
                    Msix::new(vectors, gsi, messages)
                        .map_err(|error| named(format!("no interrupts: {error}")))?,
                )
            }
            None => None,
        };
        let areas = capabilities.msix.as_ref().map(Areas::new);
        let state = Mutex::new(State { bars, memory_enabled: false, interrupt_line: 0, msix });
        Ok(Self { function, capabilities, areas, state, failed: AtomicBool::new(false) })
    }

    /// The function behind the device.
    pub fn function(&self) -> &Arc<dyn Function> {
        &self.function
    }

    /// Whether an access to the function has failed: its card may be gone.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Puts a BAR at an address, as firmware does before the guest starts.
    pub fn place(&self, bar: usize, address: u64) {
        self.state.lock().bars.place(bar, address);
    }

    /// The BARs that the guest has switched on, and where.
    pub fn mappings(&self) -> Vec<Mapping> {
        let state = self.state.lock();
        if state.memory_enabled { state.bars.mappings().collect() } else { Vec::new() }
    }

    /// Reads configuration space: 1, 2 or 4 aligned bytes at `offset`.
    pub fn config_read(&self, offset: u16, data: &mut [u8]) {
        let overlay = &self.capabilities.overlay;
        let len = data.len() as u16;
        if !(offset..offset + len).all(|offset| overlay.covers(offset)) {
            let result = self.function.config_read(offset, data);
            if self.check(result).is_none() {
                // What a bus without the function would answer.
                return data.fill(0xff);
            }
        }
        let state = self.state.lock();
        for (byte, offset) in data.iter_mut().zip(offset..) {
            *byte = overlay.apply(offset, *byte);
            let (mask, value) = self.virtual_bits(&state, offset & !3);
            let shift = 8 * (offset & 3);
            *byte = *byte & !((mask >> shift) as u8) | (value >> shift) as u8;
        }
    }

    /// The bits of the DW at `offset` that the VMM answers itself: mask and value.
    fn virtual_bits(&self, state: &State, offset: u16) -> (u32, u32) {
        match offset {
            reg::COMMAND => (COMMAND_MEMORY, if state.memory_enabled { COMMAND_MEMORY } else { 0 }),
            reg::BAR0..reg::CARDBUS_CIS => (!0, state.bars.read(usize::from((offset - reg::BAR0) / 4))),
            reg::INTERRUPT_LINE => (0xff, state.interrupt_line.into()),
            _ => match (&state.msix, &self.capabilities.msix) {
                (Some(msix), Some(capability)) if capability.offset == offset => {
                    (0xc000_0000, msix.control())
                }
                _ => (0, 0),
            },
        }
    }

    /// Writes configuration space: 1, 2 or 4 aligned bytes at `offset`. `true` if BARs may have moved.
    pub fn config_write(&self, offset: u16, data: &[u8]) -> bool {
        let dword = offset & !3;
        let shift = 8 * (offset & 3);
        let (mut value, mut lanes) = (0, 0);
        for (index, byte) in data.iter().take(4).enumerate() {
            value |= u32::from(*byte).wrapping_shl(u32::from(shift) + 8 * index as u32);
            lanes |= 0xffu32.wrapping_shl(u32::from(shift) + 8 * index as u32);
        }
        let mut state = self.state.lock();
        match dword {
            reg::BAR0..reg::CARDBUS_CIS => {
                state.bars.write(usize::from((dword - reg::BAR0) / 4), value, lanes);
                return true;
            }
            reg::INTERRUPT_LINE if lanes & 0xff != 0 => state.interrupt_line = value as u8,
            _ => {}
        }
        if self.capabilities.msix.is_some_and(|capability| capability.offset == dword) {
            self.set_msix_control(&mut state, value, lanes);
            return false;
        }
        let control = self.capabilities.pcie.map(|offset| offset + DEVICE_CONTROL);
        if control == Some(dword) && value & lanes & INITIATE_FLR != 0 {
            self.reset(&mut state);
            return true;
        }
        self.forward(offset, data);
        if dword == reg::COMMAND && lanes & COMMAND_MEMORY != 0 {
            state.memory_enabled = value & COMMAND_MEMORY != 0;
            return true;
        }
        false
    }

    /// Hands a write to the function, without the bytes that are not the guest's to write.
    fn forward(&self, offset: u16, data: &[u8]) {
        let overlay = &self.capabilities.overlay;
        let hidden = |offset| overlay.covers(offset) || offset == reg::INTERRUPT_LINE;
        if (offset..offset + data.len() as u16).any(hidden) {
            for (offset, byte) in (offset..).zip(data).filter(|(offset, _)| !hidden(*offset)) {
                self.check(self.function.config_write(offset, &[*byte]));
            }
        } else {
            self.check(self.function.config_write(offset, data));
        }
    }

    fn set_msix_control(&self, state: &mut State, value: u32, lanes: u32) {
        let Some(msix) = &mut state.msix else { return };
        match msix.set_control(value, lanes) {
            Ok(true) if msix.enabled() => {
                let events: Vec<_> = msix.events().map(|event| Some(event.as_fd())).collect();
                self.check(self.function.set_msix(&events));
            }
            Ok(true) => self.check(self.function.set_msix(&[])).unwrap_or_default(),
            Ok(false) => {}
            Err(error) => self.report(&error),
        }
    }

    /// Function Level Reset: BARs, MSI-X and Memory Space Enable go back to where they began.
    fn reset(&self, state: &mut State) {
        self.check(self.function.reset());
        state.bars.reset();
        state.memory_enabled = false;
        state.interrupt_line = 0;
        if let Some(Err(error)) = state.msix.as_mut().map(Msix::reset) {
            self.report(&error);
        }
    }

    /// Reads a BAR; all ones if the function does not answer. Tells what was accessed.
    pub fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Exit {
        if let Some(area) = self.area(bar, offset) {
            if let Some(msix) = &self.state.lock().msix {
                match area {
                    Area::Table(offset) => msix.read_table(offset, data),
                    Area::Pending(offset) => msix.read_pending(offset, data),
                }
            }
            return Exit::Msix;
        }
        for (at, len) in pieces(offset, data.len()) {
            let piece = &mut data[at..at + len];
            let result = self.function.bar_read(bar, offset + at as u64, piece);
            if self.check(result).is_none() {
                piece.fill(0xff);
            }
        }
        Exit::BarRead
    }

    /// Writes a BAR. Tells what was accessed.
    pub fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Exit {
        if let Some(area) = self.area(bar, offset) {
            if let (Area::Table(offset), Some(msix)) = (area, &mut self.state.lock().msix)
                && let Err(error) = msix.write_table(offset, data)
            {
                self.report(&error);
            }
            return Exit::Msix;
        }
        for (at, len) in pieces(offset, data.len()) {
            self.check(self.function.bar_write(bar, offset + at as u64, &data[at..at + len]));
        }
        Exit::BarWrite
    }

    fn area(&self, bar: u8, offset: u64) -> Option<Area> {
        self.areas.as_ref()?.find(bar, offset)
    }

    /// The value of a result. The first error is reported: after it, the guest has to cope.
    fn check<T>(&self, result: nitride_driver::Result<T>) -> Option<T> {
        result.map_err(|error| self.report(&error)).ok()
    }

    fn report(&self, error: &dyn std::error::Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            let (name, error) = (&self.function.info().name, error.to_string());
            let error = error.strip_prefix(&format!("{name}: ")).unwrap_or(&error);
            terminal::say(&format!("{name}: {error}; the guest goes on and sees a failing device"));
        }
    }
}

/// Splits an access into naturally aligned pieces of the widths that a function takes: index and length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = len.checked_sub(at).filter(|left| *left > 0)?;
        let position = offset.wrapping_add(at as u64);
        let width = [8, 4, 2, 1]
            .into_iter()
            .find(|width| *width <= left && position.is_multiple_of(*width as u64))?;
        at += width;
        Some((at - width, width))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::mem;

    use nitride_driver::{Access, Bar, Error, Info, Interrupts, Memory, Result};
    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;
    use crate::irq::Message;

    /// What a device asked of its surroundings.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Call {
        Connect(u32, Message),
        Disconnect(u32),
        SetMsix(usize),
        Reset,
        ConfigWrite(u16, Vec<u8>),
        BarRead(u8, u64, usize),
        BarWrite(u8, u64, Vec<u8>),
    }

    /// Records calls: as the guest's interrupt controller, and for [`Mock`].
    #[derive(Debug, Default)]
    pub struct Recorder(Mutex<Vec<Call>>);

    impl Recorder {
        pub fn take(&self) -> Vec<Call> {
            mem::take(&mut self.0.lock())
        }

        fn push(&self, call: Call) {
            self.0.lock().push(call);
        }
    }

    impl Messages for Recorder {
        fn connect(
            &self,
            gsi: u32,
            _: &Event,
            message: Message,
        ) -> std::result::Result<(), crate::kvm::Error> {
            self.push(Call::Connect(gsi, message));
            Ok(())
        }

        fn disconnect(&self, gsi: u32, _: &Event) -> std::result::Result<(), crate::kvm::Error> {
            self.push(Call::Disconnect(gsi));
            Ok(())
        }
    }

    /// A function with 4,096 bytes of writable configuration space, which records what reaches it.
    pub struct Mock {
        info: Info,
        space: Mutex<Vec<u8>>,
        pub calls: Arc<Recorder>,
        pub gone: AtomicBool,
    }

    /// PCI Express capability at 0x40, MSI-X at 0x60 (4 vectors at 0x2000 of BAR 0, pending bits at 0x3000).
    pub fn mock() -> Arc<Mock> {
        let mut space = vec![0; 4096];
        space[..4].copy_from_slice(&[0x57, 0x1e, 0x04, 0x00]);
        space[6] = 0x10;
        space[0x34] = 0x40;
        space[0x40..0x44].copy_from_slice(&[0x10, 0x60, 0x02, 0x00]);
        space[0x60..0x6c].copy_from_slice(&[0x11, 0, 3, 0, 0, 0x20, 0, 0, 0, 0x30, 0, 0]);
        let bar = |size, wide| Some(Bar { size, wide, prefetchable: wide });
        let bars = [bar(0x4000, true), None, bar(0x1000, false), None, None, None];
        let info = Info { name: "mock".to_owned(), bars, msix_vectors: 4, config_size: 4096 };
        let calls = Arc::default();
        Arc::new(Mock { info, space: Mutex::new(space), calls, gone: AtomicBool::new(false) })
    }

    impl Mock {
        fn check(&self) -> Result<()> {
            if self.gone.load(Ordering::Relaxed) {
                return Err(Error::Gone { name: "mock".to_owned(), detail: "test".to_owned() });
            }
            Ok(())
        }
    }

    impl Function for Mock {
        fn info(&self) -> &Info {
            &self.info
        }

        fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
            let offset = usize::from(offset);
            data.copy_from_slice(&self.space.lock()[offset..offset + data.len()]);
            self.check()
        }

        fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
            self.calls.push(Call::ConfigWrite(offset, data.to_vec()));
            let offset = usize::from(offset);
            self.space.lock()[offset..offset + data.len()].copy_from_slice(data);
            self.check()
        }

        fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
            self.calls.push(Call::BarRead(bar, offset, data.len()));
            data.fill(0x11);
            self.check()
        }

        fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
            self.calls.push(Call::BarWrite(bar, offset, data.to_vec()));
            self.check()
        }

        fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
            self.calls.push(Call::SetMsix(vectors.len()));
            self.check()
        }

        fn dma_map(&self, _: u64, _: Arc<Memory>, _: Access) -> Result<()> {
            Ok(())
        }

        fn dma_unmap(&self, _: u64, _: u64) -> Result<()> {
            Ok(())
        }

        fn reset(&self) -> Result<()> {
            self.calls.push(Call::Reset);
            Ok(())
        }
    }

    pub fn device(mock: &Arc<Mock>) -> Device {
        let function: Arc<dyn Function> = mock.clone();
        Device::new(function, mock.calls.clone(), |_| Some(24)).unwrap()
    }

    fn read(device: &Device, offset: u16) -> u32 {
        let mut data = [0; 4];
        device.config_read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(device: &Device, offset: u16, value: u32) -> bool {
        device.config_write(offset, &value.to_le_bytes())
    }

    #[test]
    fn bars_are_where_the_guest_puts_them_while_memory_space_is_enabled() {
        let device = device(&mock());
        write(&device, 0x10, 0x8000_0000);
        write(&device, 0x14, 0x4);
        assert!(device.mappings().is_empty());
        assert!(write(&device, 0x04, 0x2));
        assert_eq!(device.mappings()[0], Mapping { address: 0x4_8000_0000, size: 0x4000, bar: 0 });
        assert!(device.config_write(0x11, &[0x40]));
        assert_eq!(device.mappings()[0].address, 0x4_8000_4000);
        assert!(write(&device, 0x04, 0x4));
        assert!(device.mappings().is_empty());
    }

    #[test]
    fn the_function_never_sees_its_bars_or_msi_x_control_written() {
        let mock = mock();
        let device = device(&mock);
        for offset in (0x10..0x28).step_by(4) {
            write(&device, offset, !0);
        }
        write(&device, 0x30, !0);
        write(&device, 0x60, 0x8000_0000);
        assert_eq!(mock.calls.take(), [Call::SetMsix(4)]);
        assert_eq!(read(&device, 0x60), 0x8003_0011);
        device.config_write(0x63, &[0]);
        assert_eq!(mock.calls.take(), [Call::SetMsix(0)]);
    }

    #[test]
    fn a_write_over_hidden_bytes_reaches_the_others() {
        let mock = mock();
        let device = device(&mock);
        write(&device, 0x0c, 0x1122_3344);
        let bytes = [(0x0c, 0x44), (0x0d, 0x33), (0x0f, 0x11)];
        assert_eq!(mock.calls.take(), bytes.map(|(offset, byte)| Call::ConfigWrite(offset, vec![byte])));
    }

    #[test]
    fn flr_resets_the_function_and_what_the_vmm_keeps_for_it() {
        let mock = mock();
        let device = device(&mock);
        device.place(0, 0x8000_0000);
        write(&device, 0x04, 0x6);
        write(&device, 0x60, 0x8000_0000);
        mock.calls.take();
        assert!(device.config_write(0x48, &0x8000u16.to_le_bytes()));
        assert_eq!(mock.calls.take(), [Call::Reset]);
        assert!(device.mappings().is_empty());
        assert_eq!((read(&device, 0x10), read(&device, 0x60) >> 16), (0xc, 3));
    }

    #[test]
    fn msi_x_areas_are_the_vmms_and_the_rest_is_the_functions() {
        let mock = mock();
        let device = device(&mock);
        let mut data = [0; 4];
        assert_eq!(device.bar_write(0, 0x2000, &[0xff; 8]), Exit::Msix);
        assert_eq!(device.bar_read(0, 0x3000, &mut data), Exit::Msix);
        assert!(mock.calls.take().is_empty());
        assert_eq!(device.bar_write(0, 0x1008, &[1, 0, 0, 0]), Exit::BarWrite);
        assert_eq!(device.bar_write(2, 0x0, &[9]), Exit::BarWrite);
        assert_eq!(
            mock.calls.take(),
            [Call::BarWrite(0, 0x1008, vec![1, 0, 0, 0]), Call::BarWrite(2, 0, vec![9])]
        );
    }

    #[test]
    fn odd_accesses_arrive_in_natural_pieces() {
        let mock = mock();
        let device = device(&mock);
        device.bar_read(0, 0x1001, &mut [0; 8]);
        let reads = [(0x1001, 1), (0x1002, 2), (0x1004, 4), (0x1008, 1)];
        assert_eq!(mock.calls.take(), reads.map(|(offset, len)| Call::BarRead(0, offset, len)));
    }

    #[test]
    fn a_card_that_is_gone_reads_as_all_ones() {
        let mock = mock();
        let device = device(&mock);
        mock.gone.store(true, Ordering::Relaxed);
        assert_eq!(read(&device, 0), !0);
        let mut data = [0; 8];
        device.bar_read(0, 0x1c, &mut data);
        assert_eq!(data, [0xff; 8]);
        device.bar_write(0, 0x1000, &[0; 4]);
        assert!(device.failed());
    }

    proptest! {
        #[test]
        fn no_access_of_a_guest_breaks_the_device(
            accesses in prop::collection::vec((any::<bool>(), 0u16..4096, 0usize..3, any::<[u8; 4]>()), 1..64),
        ) {
            let mock = mock();
            let device = device(&mock);
            for (write, offset, width, mut data) in accesses {
                let width = 1 << width;
                let offset = offset & !(width as u16 - 1);
                if write {
                    device.config_write(offset, &data[..width]);
                } else {
                    device.config_read(offset, &mut data[..width]);
                }
            }
            for call in mock.calls.take() {
                if let Call::ConfigWrite(offset, data) = call {
                    let bytes = offset..offset + data.len() as u16;
                    prop_assert!(!bytes.clone().any(|offset| (0x10..0x28).contains(&offset)), "{bytes:?}");
                    prop_assert!(!bytes.clone().any(|offset| (0x60..0x64).contains(&offset)), "{bytes:?}");
                }
            }
        }
    }
}
