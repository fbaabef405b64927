//! virtio's way to BAR0 through configuration space (virtio 1.2 §4.1.4.9).

use nitride_abi::{card, pci};
use nitride_lang::prelude::*;

use super::config::physical_of;
use super::request::{ConfigRequest, ConfigResponse, Outcome};
use crate::bus::{RegisterRequest, RegisterResponse};

const NETWORK: u64 = card::PF_NETWORK as u64;
/// The capability's DW, and those behind it that have fields of its own.
const WINDOW: u64 = pci::VIRTIO_WINDOW as u64 / 4;
const BAR: u64 = 1;
const OFFSET: u64 = 2;
const LENGTH: u64 = 3;
const DATA: u64 = 4;
/// Address bits of the virtio structures in BAR0: all that is below the MSI-X structures.
const INSIDE: usize = card::BAR0_MSIX_TABLE.ilog2() as usize;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Pass,
    Answer,
    Ask,
    Judge,
    Access,
    Await,
    Respond,
}

/// Bytes that an access of `length` bytes has, from its first one on; none if it is not of 1, 2 or 4 bytes, or not aligned.
#[hdl_fn]
fn bytes_of(offset: Bits<32>, length: Bits<32>) -> Bits<4> {
    if length == 1 {
        0b0001.into()
    } else if length == 2 && !offset.get_bit(0) {
        0b0011.into()
    } else if length == 4 && !offset.get_bits::<2>(0).any() {
        0b1111.into()
    } else {
        0.into()
    }
}

/// Stands between the target and what it serves: makes an access to `pci_cfg_data` of a network function an access to the function's BAR0
/// of what its `bar`, `offset` and `length` name; all else passes with latency 0.
///
/// They are read from the configuration space each time: about 20 cycles more. An access that is not of 1, 2 or 4 bytes, aligned and below the MSI-X
/// structures of BAR 0 does nothing and reads as 0. Of a write only bytes reach the register that the host wrote.
#[derive(LogicBlock, Default)]
pub struct Window {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Configuration requests, the next one after the answer to the one before.
    pub request: Sink<ConfigRequest>,
    /// One answer for each.
    pub response: Source<ConfigResponse>,
    /// To the configuration space.
    pub config: Source<ConfigRequest>,
    /// From the configuration space.
    pub config_response: Sink<ConfigResponse>,
    /// Accesses by memory requests, none while a configuration request is under way.
    pub register: Sink<RegisterRequest>,
    /// Their answers.
    pub register_response: Source<RegisterResponse>,
    /// All accesses to virtio structures.
    pub network: Source<RegisterRequest>,
    /// Their answers.
    pub network_response: Sink<RegisterResponse>,
    state: Reg<State>,
    current: Reg<ConfigRequest>,
    /// Which DW of the capability is read, or has been: 0 stands for the one that was asked for.
    step: Reg<Bits<2>>,
    other_bar: Reg<Bit>,
    offset: Reg<Bits<32>>,
    length: Reg<Bits<32>>,
    answer: Reg<ConfigResponse>,
}

impl Logic for Window {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let current = self.current.q.val();
        let step = self.step.q.val();
        let pass = state == State::Pass;
        let access = state == State::Access;

        // Configuration requests
        let fresh = self.request.data.val();
        let of_network = physical_of(fresh.target.get_bits::<5>(0)) == NETWORK;
        let windowed = of_network && fresh.register == WINDOW + DATA;
        self.request.ready.next = pass && self.config.ready.val();
        self.config.valid.next = (pass && self.request.valid.val()) || state == State::Ask;
        self.config.data.next = if pass {
            fresh
        } else {
            ConfigRequest {
                write: false,
                target: current.target,
                register: bit_cast::<10, 2>(step) + WINDOW,
                data: bits::<32>(0),
                enable: bits::<4>(0xf),
            }
        };
        let got = self.config_response.data.val();
        self.config_response.ready.next = (pass && self.response.ready.val()) || state == State::Answer;
        self.response.valid.next = (pass && self.config_response.valid.val()) || state == State::Respond;
        self.response.data.next = if pass { got } else { self.answer.q.val() };

        // Register accesses
        let offset = self.offset.q.val();
        let lane = offset.get_bits::<3>(0);
        let shift = cat2::<3, 3, 6>(lane, bits::<3>(0));
        let all = bytes_of(offset, self.length.q.val());
        let bytes = if current.write { all & current.enable } else { all };
        let inside = !self.other_bar.q.val() && !offset.get_bits::<{ 32 - INSIDE }>(INSIDE).any();
        self.register.ready.next = pass && self.network.ready.val();
        self.network.valid.next = (pass && self.register.valid.val()) || access;
        self.network.data.next = if pass {
            self.register.data.val()
        } else {
            RegisterRequest {
                write: current.write,
                function: current.target.get_bits::<5>(0),
                offset: cat2::<11, 3, 14>(offset.get_bits::<11>(3), bits::<3>(0)),
                data: bit_cast::<64, 32>(current.data) << shift,
                enable: bit_cast::<8, 4>(bytes) << lane,
            }
        };
        let word = self.network_response.data.val();
        self.network_response.ready.next =
            (pass && self.register_response.ready.val()) || state == State::Await;
        self.register_response.valid.next = pass && self.network_response.valid.val();
        self.register_response.data.next = word;

        match state {
            State::Pass => {
                self.current.d.next = fresh;
                self.step.d.next = 0.into();
                if self.request.valid.val() && self.config.ready.val() && windowed {
                    self.state.d.next = State::Answer;
                }
            }
            State::Answer => {
                if self.config_response.valid.val() {
                    self.answer.d.next = ConfigResponse { outcome: got.outcome, data: bits::<32>(0) };
                    self.step.d.next = step + 1;
                    if step == BAR {
                        self.other_bar.d.next = got.data.get_bits::<8>(0).any();
                    }
                    if step == OFFSET {
                        self.offset.d.next = got.data;
                    }
                    if step == LENGTH {
                        self.length.d.next = got.data;
                    }
                    self.state.d.next = if got.outcome != Outcome::Success {
                        State::Respond
                    } else if step == LENGTH {
                        State::Judge
                    } else {
                        State::Ask
                    };
                }
            }
            State::Ask => {
                if self.config.ready.val() {
                    self.state.d.next = State::Answer;
                }
            }
            State::Judge => {
                let does = inside && bytes.any() && current.enable.any();
                self.state.d.next = if does { State::Access } else { State::Respond };
            }
            State::Access => {
                if self.network.ready.val() {
                    self.state.d.next = if current.write { State::Respond } else { State::Await };
                }
            }
            State::Await => {
                if self.network_response.valid.val() {
                    self.answer.d.next.data = (word.data >> shift).get_bits::<32>(0);
                    self.state.d.next = State::Respond;
                }
            }
            State::Respond => {
                if self.response.ready.val() {
                    self.state.d.next = State::Pass;
                }
            }
        }
    }
}
