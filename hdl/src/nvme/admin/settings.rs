//! Get and Set Features (NVMe 1.4 §5.13, §5.21).

use nitride_abi::card;
use nitride_abi::nvme::command::{admin, features};
use nitride_abi::nvme::{Status, feature};
use nitride_lang::prelude::*;

use crate::bus::Command;
use crate::nvme::records::{
    Client, Ending, Finished, QueueAnswer, QueueOperation, QueueOutcome, QueueRequest, Setting,
};

/// Word of a controller that holds the under temperature threshold; a feature's word is its identifier.
const UNDER_TEMPERATURE: u64 = 14;

/// What a word is after a reset.
#[hdl_fn]
fn default_of(word: Bits<4>) -> Bits<32> {
    let mut value: Bits<32> = 0.into();
    for i in 0..feature::STORED.len() {
        if word == feature::STORED[i].id as u64 {
            value = bits::<32>(feature::STORED[i].default as u64);
        }
    }
    if word == feature::TEMPERATURE_THRESHOLD as u64 {
        value = bits::<32>(feature::TEMPERATURE_OVER_DEFAULT as u64);
    }
    if word == UNDER_TEMPERATURE {
        value = bits::<32>(feature::TEMPERATURE_UNDER_DEFAULT as u64);
    }
    value
}

/// The bits of a feature that are stored; none for a feature that is not one word under a mask.
#[hdl_fn]
fn mask_of(id: Bits<8>) -> Bits<32> {
    let mut mask: Bits<32> = 0.into();
    for i in 0..feature::STORED.len() {
        if id == feature::STORED[i].id as u64 {
            mask = bits::<32>(feature::STORED[i].mask as u64);
        }
    }
    mask
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Take,
    Read,
    Act,
    Ask,
    Answer,
    Finish,
    Clear,
}

/// What a controller is set to: a RAM of 16 words each. Whoever acts on a feature follows the words as they are written.
///
/// A command takes 5 cycles, Set Features of Number of Queues some more; `clear` 17.
#[derive(LogicBlock, Default)]
pub struct Settings {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands.
    pub command: Sink<Command>,
    /// Commands that are over.
    pub finished: Source<Finished>,
    /// Controllers whose words go back to their defaults.
    pub clear: Sink<Bits<4>>,
    /// Words that are written.
    pub setting: Signal<Out, Setting>,
    /// To the queues, as [`Client::FEATURES`].
    pub request: Source<QueueRequest>,
    /// From the queues.
    pub answer: Signal<In, QueueAnswer>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    command_now: Reg<Command>,
    controller: Reg<Bits<4>>,
    word: Reg<Bits<4>>,
    words: Ram<Bits<32>, 8>,
    finished_now: Reg<Finished>,
}

impl Logic for Settings {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let command = self.command_now.q.val();
        let value = self.words.read_data.val();
        let word = self.word.q.val();
        let answer = self.answer.val();
        let answered = answer.valid && answer.client == Client::FEATURES as u64;
        let clearing = self.clear.valid.val();

        let set = command.opcode == admin::SET_FEATURES as u64;
        let get = !set;
        let id = command.cdw10.get_bits::<8>(features::FID.lsb as usize);
        let given = command.cdw11;
        let mask = mask_of(id);
        let temperature = id == feature::TEMPERATURE_THRESHOLD as u64;
        let queues = id == feature::NUMBER_OF_QUEUES as u64;
        let vectors = id == feature::INTERRUPT_VECTOR_CONFIGURATION as u64;
        let known = mask != 0 || temperature || queues || vectors;

        // The checks of a feature's own.
        let sensor = given.get_bits::<4>(feature::TMPSEL.lsb as usize);
        let sensor_known = sensor == 0 || (set && sensor == feature::TMPSEL_ALL);
        let threshold_known = !given.get_bit(feature::THSEL.lsb as usize + 1);
        let vector_known = given.get_bits::<16>(feature::IV.lsb as usize) < card::MSIX_VECTORS as u64;
        let vector = bits::<8>(1) << given.get_bits::<3>(0);
        let bad = (temperature && !(sensor_known && threshold_known))
            || (vectors && !vector_known)
            || (set && queues && (given.get_bits::<16>(0).all() || given.get_bits::<16>(16).all()))
            || (set
                && id == feature::POWER_MANAGEMENT as u64
                && given.get_bits::<5>(feature::POWER_STATE.lsb as usize) != 0);
        let status = if !known {
            bits::<15>(Status::INVALID_FIELD.bits() as u64)
        } else if set && command.cdw10.get_bit(features::SV.lsb as usize) {
            bits::<15>(Status::FEATURE_NOT_SAVEABLE.bits() as u64)
        } else if bad {
            bits::<15>(Status::INVALID_FIELD.bits() as u64)
        } else {
            bits::<15>(Status::SUCCESS.bits() as u64)
        };
        let success = status == 0;

        // What is answered, and what is stored.
        let disabled = if (value.get_bits::<8>(0) & vector) != 0 {
            bits::<32>(feature::CD.mask())
        } else {
            bits::<32>(0)
        };
        let dw0 = if !success {
            bits::<32>(0)
        } else if queues {
            bits::<32>(feature::NUMBER_OF_QUEUES_ANSWER as u64)
        } else if !get {
            bits::<32>(0)
        } else if vectors {
            disabled | bit_cast::<32, 3>(given.get_bits::<3>(0))
        } else if temperature {
            value | (given & feature::THSEL.mask())
        } else {
            value
        };
        let one = value.get_bits::<8>(0);
        let stored = if vectors {
            bit_cast::<32, 8>(if given.get_bit(feature::CD.lsb as usize) {
                one | vector
            } else {
                one & !vector
            })
        } else if temperature {
            bit_cast::<32, 16>(given.get_bits::<16>(feature::TMPTH.lsb as usize))
        } else {
            given & mask
        };
        let store = state == State::Act && success && set && !queues;

        match state {
            State::Take => {
                if clearing {
                    self.controller.d.next = self.clear.data.val();
                    self.word.d.next = bits::<4>(0);
                    self.state.d.next = State::Clear;
                } else if self.command.valid.val() {
                    let taken = self.command.data.val();
                    let taken_id = taken.cdw10.get_bits::<8>(features::FID.lsb as usize);
                    self.command_now.d.next = taken;
                    self.controller.d.next = taken.controller;
                    self.word.d.next = if taken_id == feature::TEMPERATURE_THRESHOLD as u64
                        && taken.cdw11.get_bit(feature::THSEL.lsb as usize)
                    {
                        bits::<4>(UNDER_TEMPERATURE)
                    } else {
                        taken_id.get_bits::<4>(0)
                    };
                    self.state.d.next = State::Read;
                }
            }
            State::Read => {
                self.state.d.next = State::Act;
            }
            State::Act => {
                self.finished_now.d.next =
                    Finished { ending: Ending::Post, slot: command.slot, status: status, dw0: dw0 };
                self.state.d.next = if success && set && queues { State::Ask } else { State::Finish };
            }
            State::Ask => {
                if self.request.ready.val() {
                    self.state.d.next = State::Answer;
                }
            }
            State::Answer => {
                if answered {
                    if answer.outcome == QueueOutcome::InUse {
                        self.finished_now.d.next.status =
                            bits::<15>(Status::COMMAND_SEQUENCE_ERROR.bits() as u64);
                        self.finished_now.d.next.dw0 = bits::<32>(0);
                    }
                    self.state.d.next = State::Finish;
                }
            }
            State::Finish => {
                if self.finished.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Clear => {
                self.word.d.next = word + 1;
                if word.all() {
                    self.state.d.next = State::Take;
                }
            }
        }

        let filling = state == State::Clear;
        self.words.read_address.next = cat2::<4, 4, 8>(self.controller.q.val(), word);
        self.words.write_address.next = cat2::<4, 4, 8>(self.controller.q.val(), word);
        let written = if filling { default_of(word) } else { stored };
        self.words.write_data.next = written;
        self.words.write_enable.next = filling || store;
        self.setting.next = Setting {
            valid: filling || store,
            controller: self.controller.q.val(),
            word: word,
            value: written,
            initial: filling,
        };
        self.clear.ready.next = state == State::Take;
        self.command.ready.next = state == State::Take && !clearing;
        self.finished.valid.next = state == State::Finish;
        self.finished.data.next = self.finished_now.q.val();
        self.request.valid.next = state == State::Ask;
        self.request.data.next = QueueRequest {
            operation: QueueOperation::Probe,
            controller: self.controller.q.val(),
            queue: bits::<3>(0),
            value: bits::<16>(0),
            base: bits::<52>(0),
            completion_queue: bits::<3>(0),
            vector: bits::<3>(0),
            interrupt: false,
            dry: false,
        };
        self.busy.next = state != State::Take || self.command.valid.val() || clearing;
    }
}
