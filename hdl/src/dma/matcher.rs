//! Completions and the tags they answer.

use nitride_abi::tlp;
use nitride_lang::prelude::*;

use super::header::{requester_id, wire_tag};
use super::placer::Placement;
use super::requests::Settled;
use super::{GENERATION_BITS, Slot, TAG_BITS};
use crate::bus::{BufferAddress, DmaStatus, ErrorKind, ErrorPulse, ErrorReport, LinkConfig, TlpBeat};

/// Full rounds of the tags that a request may stay without its completions.
const ROUNDS: u64 = 8;

/// A tag's read request, as it was issued.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Outstanding {
    /// The tag's upper bits.
    pub generation: Bits<GENERATION_BITS>,
    /// The requester.
    pub function: Bits<5>,
    /// The slot of the request that this is a piece of.
    pub slot: Slot,
    /// Address bits 6:2.
    pub lower: Bits<5>,
    /// DWs, 1 to 1024.
    pub length: Bits<11>,
    /// Where the first DW goes.
    pub destination: BufferAddress,
    /// The round in which it was issued.
    pub round: Bits<4>,
    /// It went out with a 5-bit tag: the generation is not in it.
    pub short: Bit,
}

/// A read request that is being issued.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Issued {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The tag's lower bits.
    pub index: Bits<TAG_BITS>,
    /// The rest.
    pub request: Outstanding,
}

/// What came of a tag's request. It counts while its generation is the request's; until then nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Progress {
    generation: Bits<GENERATION_BITS>,
    // DWs.
    received: Bits<11>,
    // More is expected.
    open: Bit,
    // Some of what came was poisoned.
    poisoned: Bit,
    // It is over, but for completions that might still come: its tag is kept back.
    kept: Bit,
}

/// A beat on its way through the pipeline, or a look at a tag for its age.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Step {
    beat: Bit,
    // The first beat of its TLP.
    first: Bit,
    look: Bit,
    index: Bits<TAG_BITS>,
}

/// Where a TLP's data goes, beat by beat, and what its last beat settles.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Course {
    write: Bit,
    place: BufferAddress,
    // DWs that this beat and the ones after it carry.
    left: Bits<11>,
    // The tag goes on, or ends well, if all beats come.
    sound: Bit,
    settle: Bit,
    slot: Slot,
    tag: Bits<8>,
    short: Bit,
    // The tag goes back when this is settled.
    free: Bit,
    status: DmaStatus,
}

#[hdl_fn]
fn part<const W: usize>(header: Bits<128>, bit: usize) -> Bits<W> {
    header.get_bits::<W>(bit)
}

/// Matches completions with the tags of outstanding reads (PCIe 4.0 §2.2.9, §2.3.2) and finds requests that got too old.
///
/// Takes a beat each cycle, but for one cycle between two TLPs whenever a tag's age is looked at; its placement is there 3
/// cycles later, together with what it settles.
/// Completions of one tag must come in order of address, those of different tags in any order.
///
/// - A completion that no open tag expects (index, generation, requester ID) is dropped and counted.
/// - One with another status than Successful ends its tag as `Failed`, as does one that does not continue exactly where the
///   one before ended (Byte Count, Lower Address), carries no data, too much, or less than its Length says.
/// - Poisoned data (EP) is dropped, and the tag ends as `Failed` when the rest came.
/// - A tag's age is looked at between two TLPs, each tag once a round. It ends as `Timeout` when
///   8 full rounds have passed.
///
/// A tag that ends goes back under the next generation, so that what comes late is not expected. A 5-bit tag has no generation: where more
/// of its completions could come, it goes back when 15 rounds have passed since it was issued.
///
/// State is in two RAMs, one that issuing writes and one that completions write. The generation in both tells whether the
/// second one is up to date, so nothing has to be cleared.
#[derive(LogicBlock)]
pub struct Matcher {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Completions, beat by beat; no more beats than Length says.
    pub completions: Sink<TlpBeat>,
    /// The bus number.
    pub link: Signal<In, LinkConfig>,
    /// Requests that are issued.
    pub issued: Signal<In, Issued>,
    /// Some tag is outstanding.
    pub waiting: Signal<In, Bit>,
    /// The round of looks at tags' ages.
    pub round: Signal<Out, Bits<4>>,
    /// Data.
    pub placement: Signal<Out, Placement>,
    /// A piece that is over.
    pub settled: Signal<Out, Settled>,
    /// A tag goes back.
    pub free: Signal<Out, Bit>,
    /// Which, with the generation that it is to be used with next.
    pub freed: Signal<Out, Bits<8>>,
    /// An error: a completion that was not expected, one that is poisoned, UR or CA, or a request that got too old.
    pub error: Signal<Out, ErrorPulse>,
    /// Something is in the pipeline.
    pub busy: Signal<Out, Bit>,

    requests: Ram<Outstanding, TAG_BITS>,
    progress: Ram<Progress, TAG_BITS>,

    // Input: between two beats of a TLP.
    midway: Reg<Bit>,
    // Cycles until the next look is due, round and index of the tag to be looked at.
    pace: Reg<Bits<24>>,
    scan: Reg<Bits<{ TAG_BITS + 4 }>>,
    interval: Constant<Bits<24>>,

    // Stage 1: the RAMs are being read.
    reading: Reg<Step>,
    reading_beat: Reg<TlpBeat>,

    // Stage 2: the check.
    checking: Reg<Step>,
    checking_beat: Reg<TlpBeat>,
    request: Reg<Outstanding>,
    so_far: Reg<Progress>,
    // Of the TLP whose first beat has been checked.
    course: Reg<Course>,
    // What was written one cycle ago, which a read at that time missed.
    wrote_valid: Reg<Bit>,
    wrote_index: Reg<Bits<TAG_BITS>>,
    wrote: Reg<Progress>,

    // Stage 3: the results.
    placing: Reg<Placement>,
    settling: Reg<Settled>,
    freeing: Reg<Bit>,
    freeing_tag: Reg<Bits<8>>,
    failing: Reg<ErrorPulse>,
}

impl Matcher {
    /// Requests time out `timeout` cycles (at least 1,010) after they were issued, at the latest a third later.
    #[must_use]
    pub fn new(timeout: u32) -> Self {
        // Between an issue and the look that finds it too old, there are at least 63 looks in each round.
        let interval = u64::from(timeout).div_ceil(((1 << TAG_BITS) - 1) * ROUNDS).max(2);
        Self {
            clock: Signal::default(),
            completions: Sink::default(),
            link: Signal::default(),
            issued: Signal::default(),
            waiting: Signal::default(),
            round: Signal::default(),
            placement: Signal::default(),
            settled: Signal::default(),
            free: Signal::default(),
            freed: Signal::default(),
            error: Signal::default(),
            busy: Signal::default(),
            requests: Ram::default(),
            progress: Ram::default(),
            midway: Reg::default(),
            pace: Reg::default(),
            scan: Reg::default(),
            interval: Constant::new((interval - 1).into()),
            reading: Reg::default(),
            reading_beat: Reg::default(),
            checking: Reg::default(),
            checking_beat: Reg::default(),
            request: Reg::default(),
            so_far: Reg::default(),
            course: Reg::default(),
            wrote_valid: Reg::default(),
            wrote_index: Reg::default(),
            wrote: Reg::default(),
            placing: Reg::default(),
            settling: Reg::default(),
            freeing: Reg::default(),
            freeing_tag: Reg::default(),
            failing: Reg::default(),
        }
    }
}

impl Logic for Matcher {
    #[hdl]
    fn update(&mut self) {
        // Input
        let due = !self.pace.q.val().any();
        let look = due && self.waiting.val() && !self.midway.q.val();
        let valid = self.completions.valid.val() && !look;
        let beat = self.completions.data.val();
        let scan = self.scan.q.val();
        self.completions.ready.next = !look;
        if valid {
            self.midway.d.next = !beat.last;
            self.reading_beat.d.next = beat;
        }
        if look {
            self.pace.d.next = self.interval.val();
            self.scan.d.next = scan + 1;
        } else if !due {
            self.pace.d.next = self.pace.q.val() - 1;
        }
        let index = if valid {
            part::<TAG_BITS>(beat.hdr, tlp::COMPLETION_TAG.bit())
        } else {
            scan.get_bits::<TAG_BITS>(0)
        };
        self.requests.read_address.next = index;
        self.progress.read_address.next = index;
        self.reading.d.next =
            Step { beat: valid, first: valid && !self.midway.q.val(), look: look, index: index };
        let round = scan.get_bits::<4>(TAG_BITS);
        self.round.next = round;
        self.requests.write_address.next = self.issued.val().index;
        self.requests.write_data.next = self.issued.val().request;
        self.requests.write_enable.next = self.issued.val().valid;

        // Stage 2
        let step = self.checking.q.val();
        let last = self.checking_beat.q.val().last;
        let request = self.request.q.val();
        let header = self.checking_beat.q.val().hdr;
        let so_far = self.so_far.q.val();
        let remaining = request.length - so_far.received;
        let field = part::<10>(header, tlp::LENGTH.bit());
        let length = if field.any() { bit_cast::<11, 10>(field) } else { bits::<11>(1024) };
        let id = part::<16>(header, tlp::COMPLETION_REQUESTER.bit());
        let expected = so_far.open
            && part::<8>(header, tlp::COMPLETION_TAG.bit())
                == wire_tag(
                    cat2::<GENERATION_BITS, TAG_BITS, 8>(request.generation, step.index),
                    request.short,
                )
            && id == requester_id(self.link.val().bus, request.function);
        let status = part::<3>(header, tlp::STATUS.bit());
        let lower = request.lower + so_far.received.get_bits::<5>(0);
        let continues = part::<3>(header, tlp::FMT.bit()) == tlp::FMT_3DW_DATA as u64
            && status == tlp::Status::Success as u64
            && part::<12>(header, tlp::BYTE_COUNT.bit())
                == cat2::<10, 2, 12>(remaining.get_bits::<10>(0), bits::<2>(0))
            && part::<7>(header, tlp::LOWER_ADDRESS.bit()) == cat2::<5, 2, 7>(lower, bits::<2>(0))
            && length <= remaining
            && !(last && length > 8);
        let poisoned = header.get_bit(tlp::POISONED.bit());
        let complete = length == remaining;
        let age = round - request.round;
        let old = step.look && so_far.open && age > ROUNDS && !self.link.val().timeout_disable;
        let release = step.look && so_far.kept && age.all();
        let answered = step.first && expected;

        // The TLP ends before its Length says so.
        let begun = self.course.q.val();
        let cut = step.beat && !step.first && last && begun.sound && begun.left > 8;

        let more_may_come =
            request.short && (old || (answered && !continues && status == tlp::Status::Success as u64));
        let after = Progress {
            generation: if cut {
                begun.tag.get_bits::<GENERATION_BITS>(TAG_BITS)
            } else {
                request.generation
            },
            received: so_far.received + length,
            open: answered && continues && !complete,
            poisoned: so_far.poisoned || poisoned,
            kept: if cut { begun.short } else { more_may_come },
        };
        let place = if cut { begun.tag.get_bits::<TAG_BITS>(0) } else { step.index };
        let change = answered || old || cut || release;
        self.progress.write_address.next = place;
        self.progress.write_data.next = after;
        self.progress.write_enable.next = change;
        self.wrote_valid.d.next = change;
        self.wrote_index.d.next = place;
        self.wrote.d.next = after;

        let course = if step.first || step.look {
            Course {
                write: answered && continues && !poisoned,
                place: request.destination + bit_cast::<18, 11>(so_far.received),
                left: length,
                sound: answered && continues,
                settle: (answered && (!continues || complete)) || old,
                slot: request.slot,
                tag: cat2::<GENERATION_BITS, TAG_BITS, 8>(request.generation, step.index),
                short: request.short,
                free: !more_may_come,
                status: if step.look {
                    DmaStatus::Timeout
                } else if continues && !after.poisoned {
                    DmaStatus::Ok
                } else {
                    DmaStatus::Failed
                },
            }
        } else {
            begun
        };
        let whole_beat = course.left >= 8;
        if step.beat {
            self.course.d.next = course;
            self.course.d.next.place = course.place + 8;
            self.course.d.next.left = if whole_beat { course.left - 8 } else { bits::<11>(0) };
        }
        let settle = step.look || (step.beat && last);
        let settle = (settle && course.settle) || cut;

        // Stage 1
        let at = self.reading.q.val().index;
        let stored = if change && place == at {
            after
        } else if self.wrote_valid.q.val() && self.wrote_index.q.val() == at {
            self.wrote.q.val()
        } else {
            self.progress.read_data.val()
        };
        let tag = self.requests.read_data.val();
        let fresh = stored.generation != tag.generation;
        self.checking.d.next = self.reading.q.val();
        if self.reading.q.val().beat {
            self.checking_beat.d.next = self.reading_beat.q.val();
        }
        if self.reading.q.val().first || self.reading.q.val().look {
            self.request.d.next = tag;
            self.so_far.d.next = Progress {
                generation: tag.generation,
                received: if fresh { bits::<11>(0) } else { stored.received },
                open: fresh || stored.open,
                poisoned: !fresh && stored.poisoned,
                kept: !fresh && stored.kept,
            };
        }

        // Stage 3
        self.placing.d.next.valid = step.beat && course.write;
        if step.beat && course.write {
            self.placing.d.next.place = course.place;
            self.placing.d.next.count = if whole_beat { bits::<4>(8) } else { course.left.get_bits::<4>(0) };
            self.placing.d.next.data = self.checking_beat.q.val().data;
        }
        self.settling.d.next.valid = settle;
        if settle {
            self.settling.d.next.slot = course.slot;
            self.settling.d.next.status = if cut { DmaStatus::Failed } else { course.status };
        }
        // The next generation.
        self.freeing.d.next = (settle && (if cut { !course.short } else { course.free })) || release;
        self.freeing_tag.d.next = course.tag + (1u64 << TAG_BITS);

        let unexpected = step.first && !expected;
        let refused = answered && status == tlp::Status::UnsupportedRequest as u64;
        let aborted = answered && status == tlp::Status::CompleterAbort as u64;
        let spoiled = answered && poisoned && part::<2>(header, tlp::FMT.bit()).get_bit(1);
        self.failing.d.next = ErrorPulse {
            valid: unexpected || old || refused || aborted || spoiled,
            report: ErrorReport {
                kind: if unexpected {
                    ErrorKind::Unexpected
                } else if old {
                    ErrorKind::Timeout
                } else if refused {
                    ErrorKind::MasterAborted
                } else if aborted {
                    ErrorKind::TargetAborted
                } else {
                    ErrorKind::PoisonedCompletion
                },
                specific: !unexpected
                    || id.get_bits::<11>(5)
                        == requester_id(self.link.val().bus, bits::<5>(0)).get_bits::<11>(5),
                function: if unexpected { id.get_bits::<5>(0) } else { request.function },
                header: if old { !bits::<128>(0) } else { header },
            },
        };

        self.placement.next = self.placing.q.val();
        self.settled.next = self.settling.q.val();
        self.free.next = self.freeing.q.val();
        self.freed.next = self.freeing_tag.q.val();
        self.error.next = self.failing.q.val();
        self.busy.next = self.completions.valid.val()
            || self.reading.q.val().beat
            || self.reading.q.val().look
            || step.beat
            || step.look
            || self.placing.q.val().valid
            || self.settling.q.val().valid
            || self.freeing.q.val()
            || self.failing.q.val().valid;
    }
}
