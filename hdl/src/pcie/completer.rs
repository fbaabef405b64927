//! Completions to the host.

use nitride_abi::tlp;
use nitride_lang::prelude::*;

use super::request::{Completion, Outcome};
use crate::bus::TlpBeat;
use crate::profile::DATA_BITS;

const TYPE: u64 = (tlp::TYPE_COMPLETION as u64) << tlp::TYPE.lsb;
const WITH_DATA: u64 = (tlp::FMT_3DW_DATA as u64) << tlp::FMT.lsb;
const TRAFFIC_CLASS: u64 = tlp::TRAFFIC_CLASS.lsb as u64;
const TAG_9: u64 = tlp::TAG_9.lsb as u64;
const TAG_8: u64 = tlp::TAG_8.lsb as u64;
const ATTR_IDO: u64 = tlp::ATTR_IDO.lsb as u64;
const ATTR: u64 = tlp::ATTR.lsb as u64;
const COMPLETER: u64 = tlp::COMPLETER.lsb as u64;
const STATUS: u64 = tlp::STATUS.lsb as u64;
const REQUESTER: u64 = tlp::COMPLETION_REQUESTER.lsb as u64;
const TAG: u64 = tlp::COMPLETION_TAG.lsb as u64;
const SUCCESS: u64 = tlp::Status::Success as u64;
const UNSUPPORTED: u64 = tlp::Status::UnsupportedRequest as u64;
const RETRY: u64 = tlp::Status::Retry as u64;
const ABORT: u64 = tlp::Status::CompleterAbort as u64;

/// The header of a completion (PCIe 4.0 §2.2.9, Figure 2-33).
#[hdl_fn]
fn header(c: Completion) -> Bits<128> {
    let t = c.ticket;
    let length = if c.double { bits::<32>(2) } else { bits::<32>(1) };
    let payload = if c.with_data { length | WITH_DATA } else { bits::<32>(0) };
    let dw0 = payload
        | TYPE
        | bit_cast::<32, 3>(t.traffic_class) << TRAFFIC_CLASS
        | bit_cast::<32, 1>(t.tag.get_bits::<1>(9)) << TAG_9
        | bit_cast::<32, 1>(t.tag.get_bits::<1>(8)) << TAG_8
        | bit_cast::<32, 1>(t.attributes.get_bits::<1>(2)) << ATTR_IDO
        | bit_cast::<32, 2>(t.attributes.get_bits::<2>(0)) << ATTR;
    let status = match c.outcome {
        Outcome::Success => bits::<32>(SUCCESS),
        Outcome::Unsupported => bits::<32>(UNSUPPORTED),
        Outcome::Retry => bits::<32>(RETRY),
        _ => bits::<32>(ABORT),
    };
    let dw1 =
        bit_cast::<32, 16>(c.completer) << COMPLETER | status << STATUS | bit_cast::<32, 12>(t.byte_count);
    let dw2 = bit_cast::<32, 16>(t.requester) << REQUESTER
        | bit_cast::<32, 8>(t.tag.get_bits::<8>(0)) << TAG
        | bit_cast::<32, 7>(t.lower_address);
    bit_cast::<128, 64>(cat2::<32, 32, 64>(dw1, dw0)) | bit_cast::<128, 32>(dw2) << 64
}

/// Makes completion TLPs of one beat, one each cycle, 2 cycles after they are given.
///
/// It holds 32 completions, so that a link that lets no completion out stops the card's requests only after as many
/// non-posted ones: an edge that grants the host no more non-posted credits never makes a posted write wait for a completion.
#[derive(LogicBlock, Default)]
pub struct Completer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Completions to send.
    pub sink: Sink<Completion>,
    /// The TLPs.
    pub tlp: Source<TlpBeat>,
    /// A completion waits.
    pub busy: Signal<Out, Bit>,
    queue: Fifo<Completion, 5>,
}

impl Logic for Completer {
    #[hdl]
    fn update(&mut self) {
        self.sink.link(&mut self.queue.sink);
        let c = self.queue.source.data.val();
        self.tlp.valid.next = self.queue.source.valid.val();
        self.tlp.data.next = TlpBeat { hdr: header(c), data: bit_cast::<DATA_BITS, 64>(c.data), last: true };
        self.queue.source.ready.next = self.tlp.ready.val();
        self.busy.next = self.queue.level.val().any();
    }
}
