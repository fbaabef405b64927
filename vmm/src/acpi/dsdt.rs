//! The DSDT: what a guest cannot find by probing.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Method, Name,
    Notify, Package, Path, ResourceTemplate,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, aml};

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::devices::SLEEP_TYPE_OFF;
use crate::layout::{COM1, COM1_IRQ, ECAM, ECAM_SIZE, Layout, POWER_BUTTON_IRQ};

/// Notification of a power button: it was pressed (ACPI 6.5 §4.8.3.1.2).
const PRESSED: u8 = 0x80;

/// The DSDT of a machine.
pub(super) fn dsdt(layout: &Layout) -> Vec<u8> {
    let mut body = Vec::new();
    off(&mut body);
    host_bridge(layout, &mut body);
    reserved(&mut body);
    console(&mut body);
    power_button(&mut body);
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    dsdt.append_slice(&body);
    dsdt.as_slice().to_vec()
}

/// `\_S5`: the sleep type that switches the machine off (ACPI 6.5 §7.4.2.6).
fn off(body: &mut Vec<u8>) {
    let zero = aml::ZERO;
    let package = Package::new(vec![&SLEEP_TYPE_OFF, &SLEEP_TYPE_OFF, &zero, &zero]);
    Name::new("_S5_".into(), &package).to_aml_bytes(body);
}

/// The PCI host bridge with the windows for BARs (PCI Firmware 3.2 §4.1).
fn host_bridge(layout: &Layout, body: &mut Vec<u8>) {
    let low = (layout.mmio32.start as u32, (layout.mmio32.end - 1) as u32);
    let high = (layout.mmio64.start, layout.mmio64.end - 1);
    let cacheable = AddressSpaceCacheable::NotCacheable;
    device(
        "_SB_.PCI0",
        &EISAName::new("PNP0A08"),
        body,
        &[
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_SEG".into(), &aml::ZERO),
            &Name::new("_BBN".into(), &aml::ZERO),
            &Name::new("_UID".into(), &aml::ZERO),
            &resources(vec![
                &AddressSpace::new_bus_number(0u16, 0u16),
                &AddressSpace::new_memory(cacheable, true, low.0, low.1, None),
                &AddressSpace::new_memory(cacheable, true, high.0, high.1, None),
            ]),
        ],
    );
}

/// ECAM belongs to no device: motherboard resources (PCI Firmware 3.2 §4.1.2).
fn reserved(body: &mut Vec<u8>) {
    let ecam = Memory32Fixed::new(true, ECAM as u32, ECAM_SIZE as u32);
    device("_SB_.MBRD", &EISAName::new("PNP0C02"), body, &[&resources(vec![&ecam])]);
}

fn console(body: &mut Vec<u8>) {
    let ports = IO::new(COM1, COM1, 0, 8);
    let interrupt = Interrupt::new(true, true, false, false, COM1_IRQ);
    let resources = resources(vec![&ports, &interrupt]);
    let uid = Name::new("_UID".into(), &aml::ZERO);
    device("_SB_.COM1", &EISAName::new("PNP0501"), body, &[&uid, &resources]);
}

/// A control-method power button (ACPI 6.5 §4.8.3.1.2), and the generic event device whose interrupt says that it
/// was pressed (§5.6.9): a hardware-reduced platform has no other way to tell.
fn power_button(body: &mut Vec<u8>) {
    let uid = Name::new("_UID".into(), &aml::ZERO);
    device("_SB_.PWRB", &EISAName::new("PNP0C0C"), body, &[&uid]);
    let interrupt = Interrupt::new(true, true, false, false, POWER_BUTTON_IRQ);
    let button = Path::new("\\_SB_.PWRB");
    let notify = Notify::new(&button, &PRESSED);
    let event = Method::new("_EVT".into(), 1, true, vec![&notify]);
    device("_SB_.GED_", &"ACPI0013", body, &[&uid, &resources(vec![&interrupt]), &event]);
}

fn resources(resources: Vec<&dyn Aml>) -> Name {
    Name::new("_CRS".into(), &ResourceTemplate::new(resources))
}

fn device(path: &str, id: &dyn Aml, body: &mut Vec<u8>, rest: &[&dyn Aml]) {
    let id = Name::new("_HID".into(), id);
    let mut children: Vec<&dyn Aml> = vec![&id];
    children.extend_from_slice(rest);
    Device::new(path.into(), children).to_aml_bytes(body);
}
