//! Where MAC addresses are.

use nitride_lang::prelude::*;

use super::records::Entry;
use crate::net::records::{ForwardAnswer, ForwardUpdate, NetworkNumber, PortNumber};

/// Entries that may be at one place.
const WAYS: usize = 4;
/// Places, as a power of 2.
const PLACE_BITS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Waits for a change.
    Wait,
    /// The entries at its place are read.
    Look,
    /// One of them is changed.
    Change,
    /// The answer waits.
    Answer,
}

/// The place of an address in a network.
#[hdl_fn]
fn place_of(network: NetworkNumber, mac: Bits<48>) -> Bits<PLACE_BITS> {
    let low = mac.get_bits::<8>(0) ^ mac.get_bits::<8>(8) ^ mac.get_bits::<8>(16);
    let high = mac.get_bits::<8>(24) ^ mac.get_bits::<8>(32) ^ mac.get_bits::<8>(40);
    low ^ high ^ network
}

/// The forwarding table: 1,024 entries, by network and MAC address.
///
/// A lookup a cycle, answered in the next one, whether the table is being changed or not. A change takes 4 cycles.
#[derive(LogicBlock, Default)]
pub struct Forward {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The network,
    pub network: Signal<In, NetworkNumber>,
    /// and the address to look up.
    pub mac: Signal<In, Bits<48>>,
    /// What was looked up in the last cycle is known.
    pub hit: Signal<Out, Bit>,
    /// It is here.
    pub port: Signal<Out, PortNumber>,
    /// Changes.
    pub change: Sink<ForwardUpdate>,
    /// What came of them.
    pub answer: Source<ForwardAnswer>,
    /// A change is under way.
    pub busy: Signal<Out, Bit>,
    ways: [Ram2<Entry, PLACE_BITS>; WAYS],
    asked_network: Reg<NetworkNumber>,
    asked_mac: Reg<Bits<48>>,
    state: Reg<State>,
    now: Reg<ForwardUpdate>,
    ok: Reg<Bit>,
}

impl Logic for Forward {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let now = self.now.q.val();
        let network = self.asked_network.q.val();
        let mac = self.asked_mac.q.val();
        self.asked_network.d.next = self.network.val();
        self.asked_mac.d.next = self.mac.val();
        let mut hit = false;
        let mut port = bits::<5>(0);
        let mut same = bits::<WAYS>(0);
        let mut free = bits::<WAYS>(0);
        for i in 0..WAYS {
            self.ways[i].read_address[0].next = place_of(self.network.val(), self.mac.val());
            self.ways[i].read_address[1].next = place_of(now.network, now.mac);
            let found = self.ways[i].read_data[0].val();
            if found.valid && found.network == network && found.mac == mac {
                hit = true;
                port = found.port;
            }
            let held = self.ways[i].read_data[1].val();
            if held.valid && held.network == now.network && held.mac == now.mac {
                same = same | (1u64 << i);
            }
            if !held.valid {
                free = free | (1u64 << i);
            }
        }
        self.hit.next = hit;
        self.port.next = port;

        let changing = state == State::Change;
        let place = if same.any() {
            same
        } else if now.present {
            lowest_one::<WAYS>(free)
        } else {
            bits::<WAYS>(0)
        };
        for i in 0..WAYS {
            self.ways[i].write_address.next = place_of(now.network, now.mac);
            self.ways[i].write_data.next =
                Entry { valid: now.present, network: now.network, mac: now.mac, port: now.port };
            self.ways[i].write_enable.next = changing && place.get_bit(i);
        }
        self.change.ready.next = state == State::Wait;
        self.answer.valid.next = state == State::Answer;
        self.answer.data.next = ForwardAnswer { ok: self.ok.q.val() };
        match state {
            State::Wait => {
                self.now.d.next = self.change.data.val();
                if self.change.valid.val() {
                    self.state.d.next = State::Look;
                }
            }
            State::Look => self.state.d.next = State::Change,
            State::Change => {
                self.ok.d.next = place.any() || !now.present;
                self.state.d.next = State::Answer;
            }
            State::Answer => {
                if self.answer.ready.val() {
                    self.state.d.next = State::Wait;
                }
            }
        }
        self.busy.next = state != State::Wait || self.change.valid.val();
    }
}
