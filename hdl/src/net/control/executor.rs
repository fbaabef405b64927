//! From a chain to its command, the answer, and the chain's return.

use nitride_abi::virtio::net::control;
use nitride_lang::prelude::*;

use super::records::{Chain, Fate};
use crate::bus::{DmaDone, DmaWriteRequest, Launch, LaunchRead};
use crate::function::function_of_device;
use crate::net::records::{ControlAnswer, ControlCommand, QueueIndex, Used, VirtqueueUpdate};
use crate::profile::DATA_BITS;

/// Bytes that a command's chain gets: the answer.
const ACK_BYTES: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Idle,
    Gather,
    Command,
    Answer,
    Write,
    Written,
    Return,
    Break,
}

/// Carries out one chain after another. That its queue is enabled is seen when its bytes are here: then the command is carried out, answered
/// and returned, or nothing of it.
///
/// 6 cycles a chain, beside the waits for its bytes, for what comes of the command, and for the answer's DMA.
#[derive(LogicBlock, Default)]
pub struct Executor {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Which queues are enabled.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains and tokens; ready when nothing is under way here.
    pub chain: Sink<Chain>,
    /// All of the chain's bytes are here.
    pub gathered: Signal<In, Bit>,
    /// The bytes; 0 beyond the chain's length.
    pub bytes: Signal<In, Bits<128>>,
    /// Not all of them could be read.
    pub failed: Signal<In, Bit>,
    /// The chain is over.
    pub over: Signal<Out, Bit>,
    /// Commands.
    pub command: Source<ControlCommand>,
    /// What comes of them.
    pub answer: Sink<ControlAnswer>,
    /// Answers to the driver.
    pub write: Source<DmaWriteRequest>,
    /// Their ends; always ready.
    pub write_done: Sink<DmaDone>,
    /// From the DMA writer.
    pub launch: Signal<In, LaunchRead>,
    /// The answer, one cycle later.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Chains that go back, and tokens.
    pub used: Source<Used>,
    /// Queues that are broken.
    pub broken: Source<QueueIndex>,
    /// A chain is under way here.
    pub busy: Signal<Out, Bit>,
    enabled: Ram<Bit, 7>,
    state: Reg<State>,
    now: Reg<Chain>,
    ok: Reg<Bit>,
    launched: Reg<Bit>,
}

impl Logic for Executor {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let now = self.now.q.val();
        let idle = state == State::Idle;
        let device = now.queue.get_bits::<4>(3);
        let fresh = self.chain.data.val();
        let update = self.update.val();
        self.enabled.write_address.next = update.index;
        self.enabled.write_data.next = update.queue.enabled;
        self.enabled.write_enable.next = update.valid;
        self.enabled.read_address.next = if idle { fresh.queue } else { now.queue };
        let dropped = now.fate == Fate::Disabled || !self.enabled.read_data.val();

        self.chain.ready.next = idle;
        if idle {
            self.now.d.next = fresh;
        }
        if self.answer.valid.val() && state == State::Answer {
            self.ok.d.next = self.answer.data.val().ok;
        }
        let next = match state {
            State::Idle => {
                if !self.chain.valid.val() {
                    State::Idle
                } else if fresh.drain {
                    State::Return
                } else {
                    State::Gather
                }
            }
            State::Gather => {
                if !self.gathered.val() {
                    State::Gather
                } else if dropped {
                    State::Idle
                } else if now.fate == Fate::Broken || self.failed.val() {
                    State::Break
                } else {
                    State::Command
                }
            }
            State::Command => {
                if self.command.ready.val() {
                    State::Answer
                } else {
                    State::Command
                }
            }
            State::Answer => {
                if self.answer.valid.val() {
                    State::Write
                } else {
                    State::Answer
                }
            }
            State::Write => {
                if self.write.ready.val() {
                    State::Written
                } else {
                    State::Write
                }
            }
            State::Written => {
                if self.write_done.valid.val() {
                    State::Return
                } else {
                    State::Written
                }
            }
            State::Return => {
                if self.used.ready.val() {
                    State::Idle
                } else {
                    State::Return
                }
            }
            State::Break => {
                if self.broken.ready.val() {
                    State::Idle
                } else {
                    State::Break
                }
            }
        };
        self.state.d.next = next;
        self.over.next = !idle && next == State::Idle;
        self.busy.next = !idle;

        self.command.valid.next = state == State::Command;
        self.command.data.next =
            ControlCommand { device: device, bytes: self.bytes.val(), length: now.length };
        self.answer.ready.next = state == State::Answer;

        // The answer is in each byte of the first lane's DW, and the one that counts is written.
        let byte: Bits<4> = bits::<4>(1) << now.ack.get_bits::<2>(0);
        self.write.valid.next = state == State::Write;
        self.write.data.next = DmaWriteRequest {
            function: function_of_device(device),
            address: now.ack - bit_cast::<64, 2>(now.ack.get_bits::<2>(0)),
            length: bits::<11>(1),
            first: byte,
            last: byte,
            source: bits::<18>(Launch::ANSWERS << 15),
            context: bits::<8>(0),
        };
        self.write_done.ready.next = true;
        self.launched.d.next = self.launch.val().row.get_bits::<3>(12) == Launch::ANSWERS;
        let ack =
            if self.ok.q.val() { bits::<8>(control::OK as u64) } else { bits::<8>(control::ERR as u64) };
        let dword = cat2::<16, 16, 32>(cat2::<8, 8, 16>(ack, ack), cat2::<8, 8, 16>(ack, ack));
        self.launch_data.next =
            if self.launched.q.val() { bit_cast::<DATA_BITS, 32>(dword) } else { 0.into() };

        self.used.valid.next = state == State::Return;
        self.used.data.next = Used {
            queue: now.queue,
            drain: now.drain,
            head: now.head,
            length: bits::<32>(ACK_BYTES),
            last: true,
        };
        self.broken.valid.next = state == State::Break;
        self.broken.data.next = now.queue;
    }
}
