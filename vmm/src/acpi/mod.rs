//! The ACPI tables a guest finds its hardware by (ACPI 6.5 §5.2): a hardware-reduced platform.

mod dsdt;

use acpi_tables::Aml;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;

use crate::devices::RESET_VALUE;
use crate::layout::{ACPI, ECAM, IO_APIC, LOCAL_APIC, Layout, RESET, SLEEP_CONTROL};

const OEM: [u8; 6] = *b"NITRID";
const OEM_TABLE: [u8; 8] = *b"NITRIDE ";
const OEM_REVISION: u32 = 1;

/// IA-PC boot architecture flags: VGA not present, CMOS RTC not present (ACPI 6.5 table 5.11).
const NO_VGA: u16 = 1 << 2;
const NO_CLOCK: u16 = 1 << 5;
/// Tables lie at multiples of this; the RSDP takes the first one.
const ALIGN: usize = 64;

/// The tables as one image for guest physical address [`ACPI`]: the RSDP first.
pub fn tables(layout: &Layout, cpus: u8) -> Vec<u8> {
    let mut image = vec![0; ALIGN];
    let dsdt = append(&mut image, &dsdt::dsdt(layout));
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    for table in [bytes(&fadt(dsdt)), bytes(&madt(cpus)), bytes(&mcfg())] {
        xsdt.add_entry(append(&mut image, &table));
    }
    let xsdt = append(&mut image, &bytes(&xsdt));
    let rsdp = bytes(&Rsdp::new(OEM, xsdt));
    image.splice(..rsdp.len(), rsdp);
    image
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Adds `table` to `image` and tells its guest physical address.
fn append(image: &mut Vec<u8>, table: &[u8]) -> u64 {
    image.resize(image.len().next_multiple_of(ALIGN), 0);
    let address = ACPI + image.len() as u64;
    image.extend_from_slice(table);
    address
}

fn fadt(dsdt: u64) -> impl Aml {
    let port = |port: u16| GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port.into());
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::Headless);
    fadt.iapc_boot_arch = (NO_VGA | NO_CLOCK).into();
    fadt.reset_reg = port(RESET);
    fadt.reset_value = RESET_VALUE;
    fadt.sleep_control_reg = port(SLEEP_CONTROL);
    fadt.sleep_status_reg = port(SLEEP_CONTROL + 1);
    fadt.finalize()
}

fn madt(cpus: u8) -> impl Aml {
    let mut madt = MADT::new(OEM, OEM_TABLE, OEM_REVISION, LocalInterruptController::Address(LOCAL_APIC));
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, IO_APIC, 0));
    madt
}

fn mcfg() -> impl Aml {
    let mut mcfg = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    mcfg.add_ecam(ECAM, 0, 0, 0);
    mcfg
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn layout() -> Layout {
        Layout::new(4 << 30, 40).unwrap()
    }

    /// The tables that the RSDP leads to, as a guest finds them.
    fn walk(image: &[u8]) -> Vec<&[u8]> {
        let at = |address: u64| &image[(address - ACPI) as usize..];
        let u32_at =
            |bytes: &[u8], offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
        let u64_at =
            |bytes: &[u8], offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        let table = |address| &at(address)[..u32_at(at(address), 4) as usize];
        assert_eq!(&image[..8], b"RSD PTR ");
        let xsdt = table(u64_at(image, 24));
        let mut tables = vec![xsdt];
        tables.extend(xsdt[36..].chunks(8).map(|entry| table(u64_at(entry, 0))));
        let fadt = *tables.iter().find(|table| &table[..4] == b"FACP").unwrap();
        tables.push(table(u64_at(fadt, 140)));
        tables
    }

    #[test]
    fn the_rsdp_leads_to_every_table_and_all_checksums_hold() {
        let image = tables(&layout(), 8);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((sum(&image[..20]), sum(&image[..36])), (0, 0));
        let tables = walk(&image);
        let names: Vec<_> =
            tables.iter().map(|table| String::from_utf8_lossy(&table[..4]).into_owned()).collect();
        assert_eq!(names, ["XSDT", "FACP", "APIC", "MCFG", "DSDT"]);
        for (name, table) in names.iter().zip(&tables) {
            assert_eq!(sum(table), 0, "{name}");
        }
    }

    #[test]
    fn the_tables_leave_the_bios_entry_alone() {
        assert!(ACPI + (tables(&layout(), 8).len() as u64) < crate::layout::BIOS_ENTRY);
    }

    #[test]
    fn every_cpu_is_in_the_madt() {
        let image = tables(&layout(), 5);
        let madt = walk(&image)[2];
        let cpus: Vec<u8> =
            madt[44..].chunks(8).filter(|entry| entry[..2] == [0, 8]).map(|entry| entry[3]).collect();
        assert_eq!(cpus, [0, 1, 2, 3, 4]);
    }

    /// ACPICA's disassembler is an independent reader of AML.
    #[test]
    fn the_reference_disassembler_understands_the_dsdt() {
        let Ok(version) = Command::new("iasl").arg("-v").output() else {
            eprintln!("skipped: iasl is not installed (Debian: acpica-tools)");
            return;
        };
        assert!(version.status.success());
        let directory = tempfile::tempdir().unwrap();
        let image = tables(&layout(), 2);
        for table in walk(&image) {
            let name = String::from_utf8_lossy(&table[..4]).into_owned();
            std::fs::write(directory.path().join(format!("{name}.aml")), table).unwrap();
            let mut iasl = Command::new("iasl");
            let output = iasl.arg("-d").arg(format!("{name}.aml")).current_dir(&directory).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let source = std::fs::read_to_string(directory.path().join("DSDT.dsl")).unwrap();
        for expected in
            ["PNP0A08", "PNP0501", "PNP0C02", "_S5", "QWordMemory", "0x03F8", "PNP0C0C", "ACPI0013", "_EVT"]
        {
            assert!(source.contains(expected), "{expected} is missing in\n{source}");
        }
        let output =
            Command::new("iasl").args(["-p", "again", "DSDT.dsl"]).current_dir(&directory).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(" 0 Errors"), "{text}\n{source}");
    }
}
