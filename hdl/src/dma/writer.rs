//! The DMA write engine.

use nitride_lang::prelude::*;

use super::CLIENTS;
use super::header::{memory_header, requester_id};
use super::intake::Intake;
use super::lanes::{lanes_from, rotate_down};
use super::splitter::{Splitter, Transfer};
use crate::bus::{DmaDone, DmaStatus, DmaWriteRequest, FunctionUpdate, LaunchRead, LinkConfig, TlpBeat};
use crate::profile::DATA_BITS;

/// A beat on its way: everything but its data.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Beat {
    header: Bits<128>,
    // Where its first DW is.
    row: Bits<15>,
    lane: Bits<3>,
    // The last beat of its TLP.
    last: Bit,
    // The last beat of its request.
    ends: Bit,
    // Not to be sent: the function was not bus master.
    void: Bit,
    context: Bits<8>,
    client: Bits<3>,
    status: DmaStatus,
}

/// Writes from launch RAMs to host memory, for five clients (0: data chunks, 1: admin pages, 2: completion entries,
/// 3: used rings, 4: frames),
/// round robin request by request.
///
/// - A request is cut at multiples of Max_Payload_Size. Latency 5 cycles from a request to its first beat; then a
///   beat each cycle, without a gap between TLPs, nor between requests if they are at least 2 beats long.
/// - **Launch timing**: in the cycle after the one in which `launch` names rows, `launch_data` holds them: what
///   `LaunchRam::data`, ORed over the regions, gives, with nothing in between. While the link makes it wait, the engine
///   names the same rows again.
/// - Each accepted request gets exactly one `done`: `Ok` in the cycle after the one in which its last beat was accepted on
///   `tlp`, or `NotEnabled` when the function was not bus master as the turn of one of its TLPs came (those are not
///   sent).
#[derive(LogicBlock, Default)]
pub struct Writer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The clients' requests.
    pub request: [Sink<DmaWriteRequest>; CLIENTS],
    /// Ends of requests, one cycle each: the client is always ready.
    pub done: [Source<DmaDone>; CLIENTS],
    /// To all launch RAMs.
    pub launch: Signal<Out, LaunchRead>,
    /// The launch RAMs' answers, ORed.
    pub launch_data: Signal<In, Bits<DATA_BITS>>,
    /// MWr TLPs.
    pub tlp: Source<TlpBeat>,
    /// The functions' states.
    pub update: Signal<In, FunctionUpdate>,
    /// The bus number and Max_Payload_Size.
    pub link: Signal<In, LinkConfig>,
    /// Pulse: a write request (one TLP) was handed to the link.
    pub issued: Signal<Out, Bit>,
    /// A request is under way.
    pub busy: Signal<Out, Bit>,
    intake: Intake,
    splitter: Splitter,

    // The TLP that is being read, from its next beat on.
    reading: Reg<Bit>,
    next: Reg<Beat>,
    // DWs that the next beat and the ones after it carry.
    left: Reg<Bits<11>>,
    // A piece of the request was refused.
    refused: Reg<Bit>,
    // The beat whose rows were read in the last cycle.
    arriving: Reg<Bit>,
    fetched: Reg<Beat>,
    // The beat on offer.
    offering: Reg<Bit>,
    offered: Reg<Beat>,
    data: Reg<Bits<DATA_BITS>>,
    finished: Reg<Bits<CLIENTS>>,
    outcome: Reg<DmaDone>,
}

impl Logic for Writer {
    #[hdl]
    fn update(&mut self) {
        let mut asked = false;
        for i in 0..CLIENTS {
            let request = self.request[i].data.val();
            self.intake.request[i].data.next = Transfer {
                function: request.function,
                address: request.address,
                length: request.length,
                first: request.first,
                last: request.last,
                buffer: request.source,
                context: request.context,
                client: bits::<3>(0),
            };
            self.intake.request[i].valid.next = self.request[i].valid.val();
            self.request[i].ready.next = self.intake.request[i].ready.val();
            asked = asked || self.request[i].valid.val();
        }
        self.intake.source.join(&mut self.splitter.sink);
        self.splitter.limit.next = self.link.val().mps;
        self.splitter.update.next = self.update.val();

        // The beat on offer goes, and all move on.
        let offered = self.offered.q.val();
        let sent = self.offering.q.val() && !offered.void && self.tlp.ready.val();
        let gone = sent || (self.offering.q.val() && offered.void);
        let advance = gone || !self.offering.q.val();
        self.tlp.valid.next = self.offering.q.val() && !offered.void;
        self.tlp.data.next = TlpBeat { hdr: offered.header, data: self.data.q.val(), last: offered.last };
        self.issued.next = sent && offered.last;
        self.finished.d.next = 0.into();
        if gone && offered.ends {
            self.finished.d.next = bits::<CLIENTS>(1) << offered.client;
            self.outcome.d.next = DmaDone { context: offered.context, status: offered.status };
        }
        for i in 0..CLIENTS {
            self.done[i].valid.next = self.finished.q.val().get_bit(i);
            self.done[i].data.next = self.outcome.q.val();
        }

        // Launch rows arrive.
        let fetched = self.fetched.q.val();
        if advance {
            self.offering.d.next = self.arriving.q.val();
            if self.arriving.q.val() {
                self.offered.d.next = fetched;
                self.data.d.next = rotate_down(self.launch_data.val(), fetched.lane);
            }
        }

        // Launch rows are read.
        let next = self.next.q.val();
        let left = self.left.q.val();
        let last = left <= 8;
        if advance {
            self.arriving.d.next = self.reading.q.val();
            if self.reading.q.val() {
                self.fetched.d.next = next;
                self.fetched.d.next.last = last;
                self.fetched.d.next.ends = last && next.ends;
            }
        }
        let lane = if advance { next.lane } else { fetched.lane };
        self.launch.next = LaunchRead {
            wrap: lanes_from(bits::<3>(0), bit_cast::<4, 3>(lane)),
            row: if advance { next.row } else { fetched.row },
        };

        let piece = self.splitter.source.data.val();
        let free = !self.reading.q.val() || (advance && last);
        self.splitter.source.ready.next = free;
        if free {
            self.reading.d.next = self.splitter.source.valid.val();
        }
        if free && self.splitter.source.valid.val() {
            let refused = self.refused.q.val() || !piece.enabled;
            let requester = requester_id(self.link.val().bus, piece.transfer.function);
            self.refused.d.next = refused && !piece.last;
            self.left.d.next = if piece.enabled { piece.transfer.length } else { bits::<11>(1) };
            self.next.d.next = Beat {
                header: memory_header(true, requester, bits::<8>(0), piece.transfer),
                row: piece.transfer.buffer.get_bits::<15>(3),
                lane: piece.transfer.buffer.get_bits::<3>(0),
                last: false,
                ends: piece.last,
                void: !piece.enabled,
                context: piece.transfer.context,
                client: piece.transfer.client,
                status: if refused { DmaStatus::NotEnabled } else { DmaStatus::Ok },
            };
        } else if advance {
            self.next.d.next.row = next.row + 1;
            self.left.d.next = left - 8;
        }
        self.busy.next = asked
            || self.intake.source.valid.val()
            || self.splitter.source.valid.val()
            || self.reading.q.val()
            || self.arriving.q.val()
            || self.offering.q.val()
            || self.finished.q.val().any();
    }
}
