//! MSI-X: messages, masks, pending bits.

use nitride_abi::pci;
use nitride_abi::tlp::{Header, Kind};

use super::host::{BUS, Host, Tlp};

const TABLE: u64 = 0x2000;
const PBA: u64 = 0x3000;

fn message(requester: u16, address: u64, data: u32) -> Tlp {
    let kind = Kind::Memory { write: true, requester, tag: 0, first: 0xf, last: 0, address };
    Tlp { words: Header::new(1, kind).emit(), data: vec![data] }
}

/// A booted card, VF 1 (function 17) with vectors 0 to 7 set up and unmasked, MSI-X on, bus mastering on; and its BAR.
fn ready() -> (Host, u64) {
    let mut host = Host::new();
    let bar = host.boot()[2] + 0x4000;
    for vector in 0..8 {
        let entry = bar + TABLE + 16 * vector;
        host.write(entry, 0xfee0_0000 + 0x1000 * vector, 4);
        host.write(entry + 4, if vector == 7 { 3 } else { 0 }, 4);
        host.write(entry + 8, 0x40 + vector, 4);
        host.write(entry + 12, 0, 4);
    }
    host.config_write_16(17, pci::MSIX + 2, 0x8000);
    host.config_write_16(17, pci::COMMAND, 4);
    host.settle();
    (host, bar)
}

fn expect(host: &mut Host, messages: &[Tlp]) {
    host.settle();
    assert_eq!(host.interrupts.make_contiguous(), messages);
    host.interrupts.clear();
}

#[test]
fn a_vector_becomes_its_message() {
    let (mut host, _) = ready();
    for vector in [0, 5, 7, 5] {
        host.interrupt(17, vector);
    }
    let id = BUS << 8 | 17;
    expect(
        &mut host,
        &[
            message(id, 0xfee0_0000, 0x40),
            message(id, 0xfee0_5000, 0x45),
            message(id, 0x3_fee0_7000, 0x47),
            message(id, 0xfee0_5000, 0x45),
        ],
    );
}

#[test]
fn entries_start_masked_and_read_back() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    assert_eq!(host.read(bar + TABLE + 12, 4), 1);
    host.write(bar + TABLE + 0x20, 0x1234_5678_9abc_def3, 8);
    assert_eq!(host.read(bar + TABLE + 0x20, 8), 0x1234_5678_9abc_def0, "the address is a multiple of 4");
    host.write(bar + TABLE + 0x2c, 0xffff_fffe, 4);
    assert_eq!(host.read(bar + TABLE + 0x2c, 4), 0, "only the mask bit is there");
    host.write(bar + TABLE + 0x29, 0xab, 1);
    assert_eq!(host.read(bar + TABLE + 0x28, 8), 0xab00);
    assert_eq!(host.read(bar + TABLE + 0x80, 8), 0, "beyond the table");
    host.write(bar + PBA, 0xff, 8);
    assert_eq!(host.read(bar + PBA, 8), 0, "pending bits are read-only");
}

#[test]
fn a_masked_vector_is_pending_until_it_is_unmasked() {
    let (mut host, bar) = ready();
    host.write(bar + TABLE + 16 * 2 + 12, 1, 4);
    host.settle();
    host.interrupt(17, 2);
    host.interrupt(17, 2);
    host.interrupt(17, 3);
    expect(&mut host, &[message(BUS << 8 | 17, 0xfee0_3000, 0x43)]);
    assert_eq!(host.read(bar + PBA, 8), 0b100);
    host.write(bar + TABLE + 16 * 2 + 8, 0x99, 4);
    host.write(bar + TABLE + 16 * 2 + 12, 0, 4);
    expect(&mut host, &[message(BUS << 8 | 17, 0xfee0_2000, 0x99)]);
    assert_eq!(host.read(bar + PBA, 8), 0);
}

#[test]
fn the_function_mask_keeps_all_vectors_pending() {
    let (mut host, bar) = ready();
    host.config_write_16(17, pci::MSIX + 2, 0xc000);
    host.write(bar + TABLE + 16 + 12, 1, 4);
    host.settle();
    (0..4).for_each(|v| host.interrupt(17, v));
    expect(&mut host, &[]);
    assert_eq!(host.read(bar + PBA, 4), 0b1111);
    host.config_write_16(17, pci::MSIX + 2, 0x8000);
    let id = BUS << 8 | 17;
    expect(
        &mut host,
        &[message(id, 0xfee0_0000, 0x40), message(id, 0xfee0_2000, 0x42), message(id, 0xfee0_3000, 0x43)],
    );
    assert_eq!(host.read(bar + PBA, 4), 0b10, "vector 1 has a mask of its own");
}

#[test]
fn nothing_is_sent_without_bus_mastering_or_msix() {
    let (mut host, bar) = ready();
    host.config_write_16(17, pci::COMMAND, 0);
    host.interrupt(17, 1);
    expect(&mut host, &[]);
    host.config_write_16(17, pci::COMMAND, 4);
    expect(&mut host, &[message(BUS << 8 | 17, 0xfee0_1000, 0x41)]);
    host.config_write_16(17, pci::MSIX + 2, 0);
    host.interrupt(17, 1);
    expect(&mut host, &[]);
    assert_eq!(host.read(bar + PBA, 8), 0);
    host.config_write_16(17, pci::MSIX + 2, 0x8000);
    expect(&mut host, &[]);
}

#[test]
fn a_reset_clears_the_table_of_its_function_alone() {
    let (mut host, bar) = ready();
    host.write(bar + 0x4000 + TABLE, 0x1000, 4);
    host.write(bar + TABLE + 12, 1, 4);
    host.settle();
    host.interrupt(17, 0);
    host.settle();
    assert_eq!(host.read(bar + PBA, 8), 1);
    host.config_write_16(17, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    host.finish_resets();
    for vector in 0..8 {
        assert_eq!(host.read(bar + TABLE + 16 * vector, 8), 0);
        assert_eq!(host.read(bar + TABLE + 16 * vector + 8, 8), 1 << 32);
    }
    assert_eq!(host.read(bar + PBA, 8), 0);
    assert_eq!(host.read(bar + 0x4000 + TABLE, 4), 0x1000);
}

#[test]
fn posted_writes_are_taken_while_the_link_takes_no_message() {
    let (mut host, bar) = ready();
    host.link_open = false;
    for vector in 0..2 {
        host.uut.interrupt.valid.next = true;
        host.uut.interrupt.data.next =
            crate::bus::InterruptRequest { function: 17u64.into(), vector: u64::from(vector == 1).into() };
        host.run(20);
    }
    let before = host.nvme_writes.len();
    for i in 0..40 {
        host.write(bar + TABLE + 16 * 6, i, 4);
        host.write(bar + 0x1000, i, 4);
    }
    host.run(200);
    assert_eq!(host.nvme_writes.len(), before + 40);
    host.uut.interrupt.valid.next = false;
    host.link_open = true;
    host.settle();
    assert!(!host.interrupts.is_empty());
}
