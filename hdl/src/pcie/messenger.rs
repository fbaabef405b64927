//! Error messages to the host.

use nitride_abi::tlp;
use nitride_lang::prelude::*;

use super::request::{ErrorMessage, Severity};
use crate::bus::{LinkConfig, TlpBeat};
use crate::profile::DATA_BITS;

const MESSAGE: u64 = (tlp::FMT_4DW as u64) << tlp::FMT.lsb
    | ((tlp::TYPE_MESSAGE | tlp::ROUTE_TO_ROOT) as u64) << tlp::TYPE.lsb;
const REQUESTER: u64 = tlp::REQUESTER.lsb as u64;
const CORRECTABLE: u64 = tlp::ERR_COR as u64;
const NON_FATAL: u64 = tlp::ERR_NONFATAL as u64;
const FATAL: u64 = tlp::ERR_FATAL as u64;

/// Makes error messages (PCIe 4.0 §2.2.8.3), one beat each, 2 cycles after they are given.
///
/// It takes one each cycle, so that what the host sends never waits for what is sent to it. One that finds 16 others waiting is
/// not sent: the host finds the error in the registers when it comes to look after the others.
#[derive(LogicBlock, Default)]
pub struct Messenger {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Messages to send. Taken at once.
    pub sink: Sink<ErrorMessage>,
    /// For the requester ID.
    pub link: Signal<In, LinkConfig>,
    /// The TLPs.
    pub tlp: Source<TlpBeat>,
    /// A message waits.
    pub busy: Signal<Out, Bit>,
    queue: Fifo<ErrorMessage, 4>,
}

impl Logic for Messenger {
    #[hdl]
    fn update(&mut self) {
        self.sink.ready.next = true;
        self.queue.sink.valid.next = self.sink.valid.val();
        self.queue.sink.data.next = self.sink.data.val();
        let message = self.queue.source.data.val();
        let code = match message.severity {
            Severity::Correctable => bits::<32>(CORRECTABLE),
            Severity::NonFatal => bits::<32>(NON_FATAL),
            _ => bits::<32>(FATAL),
        };
        let id = bit_cast::<32, 5>(message.function) | (bit_cast::<32, 8>(self.link.val().bus) << 8);
        self.tlp.valid.next = self.queue.source.valid.val();
        self.tlp.data.next = TlpBeat {
            hdr: bit_cast::<128, 64>(cat2::<32, 32, 64>(id << REQUESTER | code, bits::<32>(MESSAGE))),
            data: bits::<DATA_BITS>(0),
            last: true,
        };
        self.queue.source.ready.next = self.tlp.ready.val();
        self.busy.next = self.queue.level.val().any();
    }
}
