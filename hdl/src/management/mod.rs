//! PF0: management registers.

use nitride_abi::card;
use nitride_abi::management::{self as abi, COUNTER_COUNT};
use nitride_lang::prelude::*;

mod network;

use self::network::NetworkWindow;
use crate::bus::{RegisterRequest, RegisterResponse, Volume, VolumeUpdate};
use crate::net::records::{Assignment, ForwardAnswer, ForwardUpdate, GroupUpdate, PortUpdate};
use crate::profile::Profile;

/// Word numbers (byte offset / 8) of the registers.
const IDENTIFICATION: u64 = abi::IDENTIFICATION / 8;
const VERSION: u64 = abi::VERSION / 8;
const PROFILE: u64 = abi::PROFILE / 8;
const VOLUME_INDEX: u64 = abi::VOLUME_INDEX / 8;
const VOLUME_FLAGS: u64 = abi::VOLUME_FLAGS / 8;
const VOLUME_BASE: u64 = abi::VOLUME_BASE / 8;
const VOLUME_BLOCKS: u64 = abi::VOLUME_BLOCKS / 8;
const VOLUME_COMMIT: u64 = abi::VOLUME_COMMIT / 8;
const COUNTER_BITS: usize = COUNTER_COUNT.ilog2() as usize;
/// Where the word number of a counter begins; below are the bits of its number.
const COUNTERS: u64 = abi::COUNTERS / 8 / COUNTER_COUNT as u64;
const VOLUME_BITS: usize = abi::VOLUMES.ilog2() as usize;
const NAMESPACE_BITS: usize = card::NAMESPACES.ilog2() as usize;
const BASE_MASK: u64 = abi::VOLUME_BASE_MASK;
const BLOCKS_MASK: u64 = abi::VOLUME_BLOCKS_MASK;
const ATTACHED: usize = abi::VOLUME_ATTACHED.ilog2() as usize;
const READ_ONLY: usize = abi::VOLUME_READ_ONLY.ilog2() as usize;
const LARGE_BLOCKS: usize = abi::VOLUME_LARGE_BLOCKS.ilog2() as usize;

/// Counts the pulses of [`COUNTER_COUNT`] events in a RAM of 64-bit counters.
///
/// Each event has a 5-bit count of its own, which a walk over all events moves to the RAM within 16 cycles; it walks only while
/// there is anything to move. A counter can be read in every cycle: `value` is the one that was asked for one cycle ago, without its last
/// 16 cycles at most.
#[derive(LogicBlock, Default)]
pub struct Counters {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// One pulse a bit.
    pub events: Signal<In, Bits<COUNTER_COUNT>>,
    /// Which counter to read.
    pub index: Signal<In, Bits<COUNTER_BITS>>,
    /// The counter that was asked for.
    pub value: Signal<Out, Bits<64>>,
    /// Pulses have not arrived in their counters yet.
    pub busy: Signal<Out, Bit>,
    ram: Ram2<Bits<64>, COUNTER_BITS>,
    fresh: [Reg<Bits<5>>; COUNTER_COUNT],
    at: Reg<Bits<COUNTER_BITS>>,
    // What is added in this cycle, to the counter that was read at the last edge.
    adding: Reg<Bits<5>>,
    added: Reg<Bits<COUNTER_BITS>>,
}

impl Logic for Counters {
    #[hdl]
    fn update(&mut self) {
        let at = self.at.q.val();
        let mut waiting = bits::<COUNTER_COUNT>(0);
        let mut adding = bits::<5>(0);
        for i in 0..COUNTER_COUNT {
            let fresh = self.fresh[i].q.val();
            let one = if self.events.val().get_bit(i) { bits::<5>(1) } else { bits::<5>(0) };
            if fresh.any() {
                waiting = waiting | (1u64 << i);
            }
            if at == i as u64 {
                adding = fresh;
                self.fresh[i].d.next = one;
            } else {
                self.fresh[i].d.next = fresh + one;
            }
        }
        self.at.d.next = if waiting.any() { at + 1 } else { at };
        self.adding.d.next = adding;
        self.added.d.next = at;

        self.ram.read_address[0].next = at;
        self.ram.read_address[1].next = self.index.val();
        self.ram.write_address.next = self.added.q.val();
        self.ram.write_data.next = self.ram.read_data[0].val() + bit_cast::<64, 5>(self.adding.q.val());
        self.ram.write_enable.next = self.adding.q.val().any();
        self.value.next = self.ram.read_data[1].val();
        self.busy.next = waiting.any() || self.adding.q.val().any();
    }
}

/// What the registers do.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum ManagementState {
    /// Waits for an access.
    #[default]
    Idle,
    /// The counters' RAM is read.
    Fetch,
    /// The access is carried out; a read's answer is offered.
    Apply,
    /// The volume table is read.
    LoadFetch,
    /// The selected volume is taken into the window.
    Load,
    /// A change of a volume is told to its controller.
    Notify,
}

/// PF0's registers, after `nitride_abi::management`: identification, the window onto the volume table, counters.
///
/// An access takes 3 cycles, a write of the volume index 5. A commit waits until `attribute_changed` took its controller; otherwise nothing holds
/// up an access. The volume table survives resets of PF0.
#[derive(LogicBlock)]
pub struct Management {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Register accesses.
    pub register: Sink<RegisterRequest>,
    /// Answers to reads.
    pub response: Source<RegisterResponse>,
    /// Broadcast of a volume that was committed.
    pub volume: Signal<Out, VolumeUpdate>,
    /// Controllers one of whose volumes was committed, after the broadcast.
    pub attribute_changed: Source<Bits<{ card::CONTROLLER_BITS }>>,
    /// Pulses to be counted, by `Counter`.
    pub events: Signal<In, Bits<COUNTER_COUNT>>,
    /// A port that was committed.
    pub port: Signal<Out, PortUpdate>,
    /// A network whose members were set.
    pub group: Signal<Out, GroupUpdate>,
    /// Changes of the forwarding table.
    pub forward: Source<ForwardUpdate>,
    /// What came of them.
    pub answer: Sink<ForwardAnswer>,
    /// Assignments of network devices.
    pub assignment: Source<Assignment>,
    /// The port counter to read, `{port (5), event (4), bytes (1)}`.
    pub count_index: Signal<Out, Bits<10>>,
    /// Its value, one cycle later.
    pub count: Signal<In, Bits<64>>,
    /// An access is being served, or pulses are being counted.
    pub busy: Signal<Out, Bit>,
    network: NetworkWindow,
    profile: Constant<Bits<64>>,
    counters: Counters,
    volumes: Ram<Volume, VOLUME_BITS>,
    state: Reg<ManagementState>,
    access: Reg<RegisterRequest>,
    index: Reg<Bits<VOLUME_BITS>>,
    window: Reg<Volume>,
}

impl Management {
    /// The registers of a card of this profile.
    pub fn new(profile: &Profile) -> Self {
        let profile = abi::Profile {
            vfs: profile.vfs,
            namespaces: card::NAMESPACES as u8,
            queues: card::QUEUES as u8,
            counters: COUNTER_COUNT as u8,
        };
        Self {
            clock: Signal::default(),
            register: Sink::default(),
            response: Source::default(),
            volume: Signal::default(),
            attribute_changed: Source::default(),
            events: Signal::default(),
            port: Signal::default(),
            group: Signal::default(),
            forward: Source::default(),
            answer: Sink::default(),
            assignment: Source::default(),
            count_index: Signal::default(),
            count: Signal::default(),
            busy: Signal::default(),
            network: NetworkWindow::default(),
            profile: Constant::new(profile.encode().into()),
            counters: Counters::default(),
            volumes: Ram::default(),
            state: Reg::new(ManagementState::Idle),
            access: Reg::default(),
            index: Reg::default(),
            window: Reg::default(),
        }
    }
}

#[hdl_fn]
fn byte_mask(enable: Bits<8>) -> Bits<64> {
    let mut mask = bits::<64>(0);
    for i in 0..8 {
        if enable.get_bit(i) {
            mask = mask | (0xffu64 << (8 * i));
        }
    }
    mask
}

#[hdl_fn]
fn flags(volume: Volume) -> Bits<64> {
    let mut flags = bits::<64>(0);
    if volume.attached {
        flags = flags | (1u64 << ATTACHED);
    }
    if volume.read_only {
        flags = flags | (1u64 << READ_ONLY);
    }
    if volume.large_blocks {
        flags = flags | (1u64 << LARGE_BLOCKS);
    }
    flags
}

impl Logic for Management {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let access = self.access.q.val();
        let window = self.window.q.val();
        let index = self.index.q.val();
        let word = access.offset.get_bits::<11>(3);
        let low = word.get_bits::<COUNTER_BITS>(0);
        let page = word.get_bits::<{ 11 - COUNTER_BITS }>(COUNTER_BITS);

        let value = if word == IDENTIFICATION {
            bits::<64>(abi::MAGIC)
        } else if word == VERSION {
            bits::<64>(abi::VERSION_VALUE)
        } else if word == PROFILE {
            self.profile.val()
        } else if word == VOLUME_INDEX {
            bit_cast::<64, VOLUME_BITS>(index)
        } else if word == VOLUME_FLAGS {
            flags(window)
        } else if word == VOLUME_BASE {
            bit_cast::<64, 48>(window.base)
        } else if word == VOLUME_BLOCKS {
            bit_cast::<64, 40>(window.blocks)
        } else if page == COUNTERS {
            self.counters.value.val()
        } else {
            self.network.value.val()
        };
        let mask = byte_mask(access.enable);
        let written = (value & !mask) | (access.data & mask);

        self.counters.events.next = self.events.val();
        self.counters.index.next = low;
        self.volumes.read_address.next = index;
        self.volumes.write_address.next = index;
        self.volumes.write_data.next = window;
        self.volumes.write_enable.next = false;
        self.volume.next = VolumeUpdate { valid: false, index: index, volume: window };
        let ready = state == ManagementState::Idle && !self.network.waits.val();
        self.network.word.next = word;
        self.network.write.next = state == ManagementState::Apply && access.write && access.enable.any();
        self.network.data.next = written;
        self.port.next = self.network.port.val();
        self.group.next = self.network.group.val();
        Source::<ForwardUpdate>::link(&mut self.forward, &mut self.network.forward);
        Sink::<ForwardAnswer>::link(&mut self.answer, &mut self.network.answer);
        Source::<Assignment>::link(&mut self.assignment, &mut self.network.assignment);
        self.count_index.next = self.network.count_index.val();
        self.network.count.next = self.count.val();
        self.register.ready.next = ready;
        self.response.valid.next = state == ManagementState::Apply && !access.write;
        self.response.data.next = RegisterResponse { data: value };
        self.attribute_changed.valid.next = state == ManagementState::Notify;
        self.attribute_changed.data.next = index.get_bits::<{ card::CONTROLLER_BITS }>(NAMESPACE_BITS);

        match state {
            ManagementState::Idle => {
                if self.register.valid.val() && ready {
                    self.access.d.next = self.register.data.val();
                    self.state.d.next = ManagementState::Fetch;
                }
            }
            ManagementState::Fetch => {
                self.state.d.next = ManagementState::Apply;
            }
            ManagementState::Apply => {
                if access.write || self.response.ready.val() {
                    self.state.d.next = ManagementState::Idle;
                }
                if access.write && access.enable.any() {
                    if word == VOLUME_INDEX {
                        self.index.d.next = written.get_bits::<VOLUME_BITS>(0);
                        self.state.d.next = ManagementState::LoadFetch;
                    } else if word == VOLUME_FLAGS {
                        self.window.d.next.attached = written.get_bit(ATTACHED);
                        self.window.d.next.read_only = written.get_bit(READ_ONLY);
                        self.window.d.next.large_blocks = written.get_bit(LARGE_BLOCKS);
                    } else if word == VOLUME_BASE {
                        self.window.d.next.base = (written & BASE_MASK).get_bits::<48>(0);
                    } else if word == VOLUME_BLOCKS {
                        self.window.d.next.blocks = (written & BLOCKS_MASK).get_bits::<40>(0);
                    } else if word == VOLUME_COMMIT {
                        self.volumes.write_enable.next = true;
                        self.volume.next.valid = true;
                        self.state.d.next = ManagementState::Notify;
                    }
                }
            }
            ManagementState::LoadFetch => {
                self.state.d.next = ManagementState::Load;
            }
            ManagementState::Load => {
                self.window.d.next = self.volumes.read_data.val();
                self.state.d.next = ManagementState::Idle;
            }
            ManagementState::Notify => {
                if self.attribute_changed.ready.val() {
                    self.state.d.next = ManagementState::Idle;
                }
            }
            _ => {}
        }
        self.busy.next = !ready || self.register.valid.val() || self.counters.busy.val();
    }
}

#[cfg(test)]
mod tests {
    use nitride_abi::management::Counter;
    use nitride_lang::testing::{differential, low, step};

    use super::*;

    const WORDS: [u64; 10] = [
        abi::IDENTIFICATION,
        abi::VERSION,
        abi::PROFILE,
        abi::VOLUME_INDEX,
        abi::VOLUME_FLAGS,
        abi::VOLUME_BASE,
        abi::VOLUME_BLOCKS,
        abi::VOLUME_COMMIT,
        abi::COUNTERS,
        abi::COUNTERS + 8,
    ];

    #[test]
    fn the_verilog_is_the_same() {
        differential(
            "management",
            || Management::new(&Profile::LAB),
            |uut, rng| {
                uut.register.valid.next = rng.bit();
                uut.register.data.next = RegisterRequest { offset: rng.pick(&WORDS).into(), ..rng.value() };
                uut.response.ready.next = rng.bit();
                uut.attribute_changed.ready.next = rng.bit();
                uut.events.next = if rng.bit() { rng.bits() } else { 0.into() };
            },
            10_000,
        );
    }

    /// A register access: the word read, or 0; and the volume that was broadcast meanwhile.
    fn access(uut: &mut Management, offset: u64, write: Option<u64>) -> (u64, Option<VolumeUpdate>) {
        uut.response.ready.next = true;
        uut.register.valid.next = true;
        uut.register.data.next = RegisterRequest {
            write: write.is_some(),
            offset: offset.into(),
            data: write.unwrap_or(0).into(),
            enable: 0xff.into(),
            ..RegisterRequest::default()
        };
        let (mut value, mut broadcast) = (0, None);
        for _ in 0..20 {
            low(uut);
            if uut.response.valid.val() {
                value = uut.response.data.val().data.to_u64();
            }
            if uut.volume.val().valid {
                broadcast = Some(uut.volume.val());
            }
            let taken = uut.register.ready.val();
            step(uut);
            if taken {
                uut.register.valid.next = false;
            }
        }
        (value, broadcast)
    }

    #[test]
    fn a_volume_is_committed_at_once_and_reads_back() {
        let mut uut = Management::new(&Profile::LAB);
        assert_eq!(access(&mut uut, abi::IDENTIFICATION, None).0, abi::MAGIC);
        assert_eq!(abi::Profile::decode(access(&mut uut, abi::PROFILE, None).0).vfs, 8);
        let index = u64::from(abi::volume_index(3, 2).expect("there is one"));
        for (offset, value) in [
            (abi::VOLUME_INDEX, index),
            (abi::VOLUME_FLAGS, !0),
            (abi::VOLUME_BASE, 0x1234_5678_9fff),
            (abi::VOLUME_BLOCKS, 0x12_3456_789a),
        ] {
            assert_eq!(access(&mut uut, offset, Some(value)).1, None, "nothing changes before the commit");
        }
        let update = access(&mut uut, abi::VOLUME_COMMIT, Some(0)).1.expect("a broadcast");
        assert_eq!(update.index.to_u64(), index);
        assert!(update.volume.attached && update.volume.read_only && update.volume.large_blocks);
        assert_eq!(update.volume.base.to_u64(), 0x1234_5678_9000);
        assert_eq!(update.volume.blocks.to_u64(), 0x12_3456_789a);
        assert!(uut.attribute_changed.valid.val());
        assert_eq!(uut.attribute_changed.data.val().to_u64(), 3);
        uut.attribute_changed.ready.next = true;
        step(&mut uut);

        access(&mut uut, abi::VOLUME_INDEX, Some(0));
        assert_eq!(access(&mut uut, abi::VOLUME_FLAGS, None).0, 0);
        access(&mut uut, abi::VOLUME_INDEX, Some(index));
        assert_eq!(access(&mut uut, abi::VOLUME_FLAGS, None).0, 7);
        assert_eq!(access(&mut uut, abi::VOLUME_BASE, None).0, 0x1234_5678_9000);
        assert_eq!(access(&mut uut, abi::VOLUME_BLOCKS, None).0, 0x12_3456_789a);
    }

    #[test]
    fn no_pulse_is_lost() {
        let mut uut = Management::new(&Profile::LAB);
        let mut expected = [0; COUNTER_COUNT];
        for cycle in 0..500u64 {
            let events = if cycle < 100 { 0xffff } else { cycle.wrapping_mul(0x9e37_79b9) >> 8 & 0xffff };
            uut.events.next = events.into();
            (0..COUNTER_COUNT).for_each(|i| expected[i] += events >> i & 1);
            step(&mut uut);
        }
        uut.events.next = 0.into();
        (0..40).for_each(|_| step(&mut uut));
        assert!(!uut.busy.val());
        for counter in Counter::ALL {
            assert_eq!(
                access(&mut uut, counter.offset(), None).0,
                expected[counter.bit()],
                "{}",
                counter.name()
            );
        }
    }
}
