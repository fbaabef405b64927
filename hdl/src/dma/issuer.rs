//! Read requests on their way out.

use nitride_lang::prelude::*;

use super::free_list::FreeList;
use super::header::{memory_header, requester_id, wire_tag};
use super::intake::Intake;
use super::matcher::{Issued, Outstanding};
use super::requests::Opened;
use super::splitter::{Splitter, Transfer, defined_size};
use super::{CLIENTS, GENERATION_BITS, Slot, TAG_BITS};
use crate::bus::{DmaReadRequest, FunctionUpdate, LinkConfig, TlpBeat};

/// Bits of a tag while extended ones are not enabled.
const SHORT_BITS: usize = 5;

/// Pieces that a transfer of `length` DWs from DW `offset` of a 4 KiB page on is cut into.
#[hdl_fn]
fn pieces(offset: Bits<10>, length: Bits<11>, limit: Bits<3>) -> Bits<6> {
    let limit = defined_size(limit);
    let inside = bit_cast::<12, 10>(offset & ((bits::<10>(32) << limit) - 1));
    let last = (inside + bit_cast::<12, 11>(length)) - 1;
    (last >> (bit_cast::<4, 3>(limit) + 5)).get_bits::<6>(0) + 1
}

/// Gives requests a slot and their pieces a tag, and makes the TLPs.
///
/// Latency 4 cycles from a request to its first TLP, then a TLP each cycle. Requests wait while all slots, and pieces
/// while all tags are in use; while tags have 5 bits, half of them are passed over.
#[derive(LogicBlock)]
pub struct Issuer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The clients' requests.
    pub request: [Sink<DmaReadRequest>; CLIENTS],
    /// MRd TLPs.
    pub tlp: Source<TlpBeat>,
    /// The bus number, Max_Read_Request_Size, and how wide tags are.
    pub link: Signal<In, LinkConfig>,
    /// The functions' states.
    pub update: Signal<In, FunctionUpdate>,
    /// The round of looks at tags' ages.
    pub round: Signal<In, Bits<4>>,
    /// A request got a slot.
    pub opened: Signal<Out, Opened>,
    /// A piece got a tag.
    pub issued: Signal<Out, Issued>,
    /// Slots of pieces that may not be issued: the function is not bus master.
    pub refused: Source<Slot>,
    /// `freed_tag` comes back, with the generation to be used next.
    pub free_tag: Signal<In, Bit>,
    /// See `free_tag`.
    pub freed_tag: Signal<In, Bits<8>>,
    /// `freed_slot` comes back.
    pub free_slot: Signal<In, Bit>,
    /// See `free_slot`.
    pub freed_slot: Signal<In, Slot>,
    /// Some tag is outstanding.
    pub waiting: Signal<Out, Bit>,
    /// Some request is under way.
    pub busy: Signal<Out, Bit>,

    intake: Intake,
    splitter: Splitter,
    slots: FreeList<TAG_BITS, TAG_BITS>,
    // {generation, index}
    tags: FreeList<8, TAG_BITS>,
    header: Reg<Bits<128>>,
    full: Reg<Bit>,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            request: Default::default(),
            tlp: Source::default(),
            link: Signal::default(),
            update: Signal::default(),
            round: Signal::default(),
            opened: Signal::default(),
            issued: Signal::default(),
            refused: Source::default(),
            free_tag: Signal::default(),
            freed_tag: Signal::default(),
            free_slot: Signal::default(),
            freed_slot: Signal::default(),
            waiting: Signal::default(),
            busy: Signal::default(),
            intake: Intake::default(),
            splitter: Splitter::default(),
            slots: FreeList::new(|i| i),
            // Generation 0 is that of the matcher's RAMs before a tag's first use.
            tags: FreeList::new(|i| (1 << TAG_BITS) | i),
            header: Reg::default(),
            full: Reg::default(),
        }
    }
}

impl Logic for Issuer {
    #[hdl]
    fn update(&mut self) {
        let mut asked = false;
        for i in 0..CLIENTS {
            let request = self.request[i].data.val();
            self.intake.request[i].data.next = Transfer {
                function: request.function,
                address: request.address,
                length: request.length,
                first: bits::<4>(0xf),
                last: bits::<4>(0xf),
                buffer: request.destination,
                context: request.context,
                client: bits::<3>(0),
            };
            self.intake.request[i].valid.next = self.request[i].valid.val();
            self.request[i].ready.next = self.intake.request[i].ready.val();
            asked = asked || self.request[i].valid.val();
        }

        let transfer = self.intake.source.data.val();
        let slot = self.slots.source.data.val();
        let begin = self.intake.source.valid.val() && self.slots.source.valid.val();
        self.splitter.sink.valid.next = begin;
        self.splitter.sink.data.next = Transfer { context: bit_cast::<8, TAG_BITS>(slot), ..transfer };
        let begun = begin && self.splitter.sink.ready.val();
        self.intake.source.ready.next = begun;
        self.slots.source.ready.next = begun;
        let mrrs = self.link.val().mrrs;
        self.splitter.limit.next = mrrs;
        self.splitter.update.next = self.update.val();
        self.opened.next = Opened {
            valid: begun,
            slot: slot,
            pieces: pieces(transfer.address.get_bits::<10>(2), transfer.length, mrrs),
            context: transfer.context,
            client: transfer.client,
        };

        let piece = self.splitter.source.data.val();
        let offered = self.splitter.source.valid.val();
        let room = !self.full.q.val() || self.tlp.ready.val();
        let tag = self.tags.source.data.val();
        let short = !self.link.val().extended_tags;
        let fits = !short || !tag.get_bit(SHORT_BITS);
        let there = offered && piece.enabled && self.tags.source.valid.val();
        let issue = there && fits && room;
        // A tag that is too wide goes to the end of the list.
        let passes = there && !fits && !self.free_tag.val();
        let refuse = offered && !piece.enabled;
        let owner = piece.transfer.context.get_bits::<TAG_BITS>(0);
        self.refused.data.next = owner;
        self.refused.valid.next = refuse;
        self.splitter.source.ready.next = if refuse { self.refused.ready.val() } else { issue };
        self.tags.source.ready.next = issue || passes;
        self.issued.next = Issued {
            valid: issue,
            index: tag.get_bits::<TAG_BITS>(0),
            request: Outstanding {
                generation: tag.get_bits::<GENERATION_BITS>(TAG_BITS),
                function: piece.transfer.function,
                slot: owner,
                lower: piece.transfer.address.get_bits::<5>(2),
                length: piece.transfer.length,
                destination: piece.transfer.buffer,
                round: self.round.val(),
                short: short,
            },
        };
        if issue {
            let requester = requester_id(self.link.val().bus, piece.transfer.function);
            self.header.d.next = memory_header(false, requester, wire_tag(tag, short), piece.transfer);
        }
        self.full.d.next = issue || !room;
        self.tlp.valid.next = self.full.q.val();
        self.tlp.data.next = TlpBeat { hdr: self.header.q.val(), data: bits::<256>(0), last: true };

        self.tags.give.next = self.free_tag.val() || passes;
        self.tags.back.next = if passes { tag } else { self.freed_tag.val() };
        self.slots.give.next = self.free_slot.val();
        self.slots.back.next = self.freed_slot.val();
        self.waiting.next = !self.tags.full.val();
        self.busy.next = asked
            || self.intake.source.valid.val()
            || self.full.q.val()
            || !self.slots.full.val()
            || !self.tags.full.val();
    }
}
