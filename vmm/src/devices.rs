//! What a guest's port and memory accesses outside of RAM reach.

use std::sync::Arc;

use crate::event::Event;
use crate::layout::{COM1, RESET, SLEEP_CONTROL};
use crate::pci::Root;
use crate::pci::ports::{self, Ports};
use crate::serial::Console;
use crate::stats::Exit;

/// Sleep control: sleep type in bits 4:2, Sleep Enable in bit 5 (ACPI 6.5 §4.8.3.7).
const SLEEP_ENABLE: u8 = 1 << 5;
/// The sleep type that [`crate::acpi`] calls S5.
pub const SLEEP_TYPE_OFF: u8 = 5;
/// The value that resets the machine when it is written to the reset register.
pub const RESET_VALUE: u8 = 1;

/// Sleep status, behind sleep control.
const SLEEP_STATUS: u16 = SLEEP_CONTROL + 1;
/// The last of COM1's eight ports.
const COM1_END: u16 = COM1 + 7;
/// The clock's index and data ports. There is no clock; a data port of all ones would look like one
/// whose update never ends, and a kernel waits for that.
const CLOCK: std::ops::RangeInclusive<u16> = 0x70..=0x71;
/// The keyboard controller's command port and its reset command: a kernel's second choice for a reboot.
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

/// CONFIG_ADDRESS and CONFIG_DATA.
const CONFIG: std::ops::RangeInclusive<u16> = ports::ADDRESS..=ports::DATA + 3;

/// What a guest asked of its power supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Switch it off.
    Off,
    /// Reset the machine.
    Reset,
}

/// All devices of a machine.
pub struct Devices {
    /// COM1.
    pub console: Arc<Console>,
    /// PCI.
    pub root: Arc<Root>,
    /// PCI configuration space by ports.
    pub ports: Ports,
    /// Signalled: the power button is pressed, and the guest is to shut down.
    pub power_button: Event,
}

impl Devices {
    /// Reads a port. String instructions read it several times: one byte each.
    pub fn port_read(&self, port: u16, data: &mut [u8]) -> Exit {
        if CONFIG.contains(&port) {
            self.ports.read(&self.root, port, data);
            return Exit::ConfigRead;
        }
        for byte in data {
            *byte = match port {
                COM1..=COM1_END => self.console.read((port - COM1) as u8),
                SLEEP_CONTROL..=SLEEP_STATUS => 0,
                _ if CLOCK.contains(&port) => 0,
                _ => 0xff,
            };
        }
        Exit::PortRead
    }

    /// Writes a port, as [`Devices::port_read`] reads one.
    pub fn port_write(&self, port: u16, data: &[u8]) -> (Exit, Option<Power>) {
        if CONFIG.contains(&port) {
            self.ports.write(&self.root, port, data);
            return (Exit::ConfigWrite, None);
        }
        let mut power = None;
        for byte in data {
            match (port, *byte) {
                (COM1..=COM1_END, byte) => self.console.write((port - COM1) as u8, byte),
                (SLEEP_CONTROL, byte) if byte == SLEEP_TYPE_OFF << 2 | SLEEP_ENABLE => {
                    power = Some(Power::Off);
                }
                (RESET, RESET_VALUE) | (KEYBOARD_COMMAND, KEYBOARD_RESET) => power = Some(Power::Reset),
                _ => {}
            }
        }
        (Exit::PortWrite, power)
    }

    /// Reads memory that is not RAM.
    pub fn memory_read(&self, address: u64, data: &mut [u8]) -> Exit {
        self.root.read(address, data)
    }

    /// Writes memory that is not RAM.
    pub fn memory_write(&self, address: u64, data: &[u8]) -> Exit {
        self.root.write(address, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    fn devices() -> Devices {
        let console = Arc::new(Console::new(Arc::default()).unwrap());
        let root = Root::new(Vec::new(), &Layout::new(64 << 20, 40).unwrap()).unwrap();
        Devices { console, root, ports: Ports::default(), power_button: Event::new().unwrap() }
    }

    #[test]
    fn only_s5_with_sleep_enable_switches_off() {
        let devices = devices();
        assert_eq!(devices.port_write(SLEEP_CONTROL, &[0x34]).1, Some(Power::Off));
        assert_eq!(devices.port_write(SLEEP_CONTROL, &[0x14]).1, None);
        assert_eq!(devices.port_write(SLEEP_CONTROL, &[0x20]).1, None);
    }

    #[test]
    fn both_ways_to_reset_work() {
        assert_eq!(devices().port_write(RESET, &[1]).1, Some(Power::Reset));
        assert_eq!(devices().port_write(0x64, &[0xfe]).1, Some(Power::Reset));
        assert_eq!(devices().port_write(0x64, &[0xd1]).1, None);
    }

    #[test]
    fn ports_without_a_device_read_as_all_ones_and_the_clock_as_zero() {
        let mut data = [0; 4];
        devices().port_read(0x60, &mut data);
        assert_eq!(data, [0xff; 4]);
        devices().port_read(0x71, &mut data[..1]);
        assert_eq!(data[0], 0);
    }
}
