//! PF0's windows onto the network: ports, forwarding, groups, assignments, counters.

use nitride_abi::management as abi;
use nitride_lang::prelude::*;

use crate::net::records::{
    Assignment, ForwardAnswer, ForwardUpdate, GroupUpdate, NetworkNumber, Port, PortNumber, PortUpdate,
};

/// Word numbers (byte offset / 8) of the registers.
const PORT_INDEX: u64 = abi::PORT_INDEX / 8;
const PORT_FLAGS: u64 = abi::PORT_FLAGS / 8;
const PORT_MAC: u64 = abi::PORT_MAC / 8;
const PORT_IPV4: u64 = abi::PORT_IPV4 / 8;
const PORT_COMMIT: u64 = abi::PORT_COMMIT / 8;
const FORWARD_KEY: u64 = abi::FORWARD_KEY / 8;
const FORWARD_PORT: u64 = abi::FORWARD_PORT / 8;
const FORWARD_COMMAND: u64 = abi::FORWARD_COMMAND / 8;
const GROUP_NETWORK: u64 = abi::GROUP_NETWORK / 8;
const GROUP_MEMBERS: u64 = abi::GROUP_MEMBERS / 8;
const ASSIGNMENT_DEVICE: u64 = abi::ASSIGNMENT_DEVICE / 8;
const ASSIGNMENT_MAC: u64 = abi::ASSIGNMENT_MAC / 8;
const ASSIGNMENT_COMMIT: u64 = abi::ASSIGNMENT_COMMIT / 8;
/// Where the word number of a port's counter begins; the 5 bits below are `{event (4), bytes (1)}`.
const PORT_COUNTERS: u64 = abi::PORT_COUNTERS / 8 / (2 * abi::PORT_EVENTS as u64);

const ENABLED: usize = abi::PORT_ENABLED.ilog2() as usize;
const CHECK_MAC: usize = abi::PORT_CHECK_MAC.ilog2() as usize;
const CHECK_IPV4: usize = abi::PORT_CHECK_IPV4.ilog2() as usize;
const NETWORK: usize = abi::PORT_NETWORK_SHIFT as usize;
const FORWARD_NETWORK: usize = abi::FORWARD_NETWORK_SHIFT as usize;
const LINK_UP: usize = abi::ASSIGNMENT_LINK_UP.ilog2() as usize;
const ANNOUNCE: usize = abi::ASSIGNMENT_ANNOUNCE.ilog2() as usize;

#[hdl_fn]
fn flags(port: Port) -> Bits<64> {
    let bits_of =
        cat2::<1, 2, 3>(port.check_ipv4.into(), cat2::<1, 1, 2>(port.check_mac.into(), port.enabled.into()));
    bit_cast::<64, 3>(bits_of) | (bit_cast::<64, 8>(port.network) << (NETWORK as u64))
}

/// The registers from [`abi::PORT_INDEX`] to the last of [`abi::PORT_COUNTERS`].
///
/// A write takes effect at once. No access may come while `waits`: a change of the forwarding table is being made, a device is being told of its assignment,
/// or the selected port is being read.
#[derive(LogicBlock, Default)]
pub struct NetworkWindow {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The word (byte offset / 8) that is accessed, from a cycle before `value` is looked at.
    pub word: Signal<In, Bits<11>>,
    /// It is written in this cycle,
    pub write: Signal<In, Bit>,
    /// with this value.
    pub data: Signal<In, Bits<64>>,
    /// What it reads as; 0 for a word of nobody.
    pub value: Signal<Out, Bits<64>>,
    /// An access has to wait.
    pub waits: Signal<Out, Bit>,
    /// A port that was committed.
    pub port: Signal<Out, PortUpdate>,
    /// A network whose members were set.
    pub group: Signal<Out, GroupUpdate>,
    /// Changes of the forwarding table.
    pub forward: Source<ForwardUpdate>,
    /// What came of them.
    pub answer: Sink<ForwardAnswer>,
    /// Assignments.
    pub assignment: Source<Assignment>,
    /// The counter to read, `{port (5), event (4), bytes (1)}`.
    pub count_index: Signal<Out, Bits<10>>,
    /// Its value, one cycle later.
    pub count: Signal<In, Bits<64>>,
    ports: Ram<Port, 5>,
    index: Reg<PortNumber>,
    window: Reg<Port>,
    /// The selected port is being read, and arrives.
    loads: Reg<Bits<2>>,
    entry: Reg<ForwardUpdate>,
    /// A change is to be told, and to be answered.
    changes: Reg<Bit>,
    awaits: Reg<Bit>,
    ok: Reg<Bit>,
    network: Reg<NetworkNumber>,
    assigned: Reg<Assignment>,
    assigns: Reg<Bit>,
}

impl Logic for NetworkWindow {
    #[hdl]
    fn update(&mut self) {
        let word = self.word.val();
        let data = self.data.val();
        let write = self.write.val();
        let window = self.window.q.val();
        let entry = self.entry.q.val();
        let assigned = self.assigned.q.val();
        let index = self.index.q.val();
        self.count_index.next = cat2::<5, 5, 10>(index, word.get_bits::<5>(0));
        self.value.next = if word == PORT_INDEX {
            bit_cast::<64, 5>(index)
        } else if word == PORT_FLAGS {
            flags(window)
        } else if word == PORT_MAC {
            bit_cast::<64, 48>(window.mac)
        } else if word == PORT_IPV4 {
            bit_cast::<64, 32>(window.ipv4)
        } else if word == FORWARD_KEY {
            bit_cast::<64, 56>(cat2::<8, 48, 56>(entry.network, entry.mac))
        } else if word == FORWARD_PORT {
            bit_cast::<64, 5>(entry.port)
        } else if word == FORWARD_COMMAND {
            bit_cast::<64, 1>(self.ok.q.val().into())
        } else if word == GROUP_NETWORK {
            bit_cast::<64, 8>(self.network.q.val())
        } else if word == ASSIGNMENT_DEVICE {
            bit_cast::<64, 4>(assigned.device)
        } else if word == ASSIGNMENT_MAC {
            bit_cast::<64, 48>(assigned.mac)
        } else if word.get_bits::<6>(5) == PORT_COUNTERS {
            self.count.val()
        } else {
            bits::<64>(0)
        };

        self.ports.read_address.next = index;
        self.ports.write_address.next = index;
        self.ports.write_data.next = window;
        self.ports.write_enable.next = write && word == PORT_COMMIT;
        self.port.next = PortUpdate { valid: write && word == PORT_COMMIT, number: index, port: window };
        self.group.next = GroupUpdate {
            valid: write && word == GROUP_MEMBERS,
            network: self.network.q.val(),
            members: data.get_bits::<32>(0),
        };
        let loads = self.loads.q.val();
        self.loads.d.next = loads >> 1;
        if loads.get_bit(0) {
            self.window.d.next = self.ports.read_data.val();
        }
        self.forward.valid.next = self.changes.q.val();
        self.forward.data.next = entry;
        self.answer.ready.next = true;
        self.assignment.valid.next = self.assigns.q.val();
        self.assignment.data.next = assigned;
        if self.changes.q.val() && self.forward.ready.val() {
            self.changes.d.next = false;
        }
        if self.answer.valid.val() {
            self.ok.d.next = self.answer.data.val().ok;
            self.awaits.d.next = false;
        }
        if self.assigns.q.val() && self.assignment.ready.val() {
            self.assigns.d.next = false;
        }
        if write {
            if word == PORT_INDEX {
                self.index.d.next = data.get_bits::<5>(0);
                self.loads.d.next = bits::<2>(2);
            } else if word == PORT_FLAGS {
                self.window.d.next.enabled = data.get_bit(ENABLED);
                self.window.d.next.check_mac = data.get_bit(CHECK_MAC);
                self.window.d.next.check_ipv4 = data.get_bit(CHECK_IPV4);
                self.window.d.next.network = data.get_bits::<8>(NETWORK);
            } else if word == PORT_MAC {
                self.window.d.next.mac = data.get_bits::<48>(0);
            } else if word == PORT_IPV4 {
                self.window.d.next.ipv4 = data.get_bits::<32>(0);
            } else if word == FORWARD_KEY {
                self.entry.d.next.mac = data.get_bits::<48>(0);
                self.entry.d.next.network = data.get_bits::<8>(FORWARD_NETWORK);
            } else if word == FORWARD_PORT {
                self.entry.d.next.port = data.get_bits::<5>(0);
            } else if word == FORWARD_COMMAND {
                self.entry.d.next.present = data.get_bit(0);
                self.changes.d.next = true;
                self.awaits.d.next = true;
            } else if word == GROUP_NETWORK {
                self.network.d.next = data.get_bits::<8>(0);
            } else if word == ASSIGNMENT_DEVICE {
                self.assigned.d.next.device = data.get_bits::<4>(0);
            } else if word == ASSIGNMENT_MAC {
                self.assigned.d.next.mac = data.get_bits::<48>(0);
            } else if word == ASSIGNMENT_COMMIT {
                self.assigned.d.next.mtu = data.get_bits::<16>(0);
                self.assigned.d.next.link_up = data.get_bit(LINK_UP);
                self.assigned.d.next.announce = data.get_bit(ANNOUNCE);
                self.assigns.d.next = true;
            }
        }
        self.waits.next = loads.any() || self.awaits.q.val() || self.assigns.q.val();
    }
}

#[cfg(test)]
mod tests {
    use nitride_lang::testing::{differential, step};

    use super::*;

    const WORDS: [u64; 15] = [
        PORT_INDEX,
        PORT_FLAGS,
        PORT_MAC,
        PORT_IPV4,
        PORT_COMMIT,
        FORWARD_KEY,
        FORWARD_PORT,
        FORWARD_COMMAND,
        GROUP_NETWORK,
        GROUP_MEMBERS,
        ASSIGNMENT_DEVICE,
        ASSIGNMENT_MAC,
        ASSIGNMENT_COMMIT,
        32 * PORT_COUNTERS,
        32 * PORT_COUNTERS + 31,
    ];

    #[test]
    fn the_verilog_is_the_same() {
        differential(
            "network_window",
            NetworkWindow::default,
            |uut, rng| {
                uut.word.next = rng.pick(&WORDS).into();
                uut.write.next = rng.bit();
                uut.data.next = rng.bits();
                uut.forward.ready.next = rng.bit();
                uut.answer.valid.next = rng.chance(1, 4);
                uut.answer.data.next = rng.value();
                uut.assignment.ready.next = rng.bit();
                uut.count.next = rng.bits();
            },
            10_000,
        );
    }

    #[test]
    fn a_port_reads_back_after_it_was_selected_again() {
        let mut uut = NetworkWindow::default();
        let write = |uut: &mut NetworkWindow, word: u64, data: u64| {
            uut.word.next = word.into();
            uut.data.next = data.into();
            uut.write.next = true;
            step(uut);
            uut.write.next = false;
            while uut.waits.val() {
                step(uut);
            }
        };
        write(&mut uut, PORT_INDEX, 17);
        write(&mut uut, PORT_FLAGS, 0x2a07);
        write(&mut uut, PORT_MAC, 0x0605_0403_0201);
        write(&mut uut, PORT_COMMIT, 0);
        write(&mut uut, PORT_INDEX, 3);
        uut.word.next = PORT_FLAGS.into();
        step(&mut uut);
        assert_eq!(uut.value.val().to_u64(), 0);
        write(&mut uut, PORT_INDEX, 17);
        for (word, value) in [(PORT_INDEX, 17), (PORT_FLAGS, 0x2a07), (PORT_MAC, 0x0605_0403_0201)] {
            uut.word.next = word.into();
            step(&mut uut);
            assert_eq!(uut.value.val().to_u64(), value);
        }
    }
}
