//! The registers of all network devices, and what follows from them (virtio 1.2 §2.1 to §2.6, §4.1.4).

mod command;
pub mod device;
mod queue;

use nitride_abi::card;
use nitride_abi::virtio::pci::isr;
use nitride_abi::virtio::{feature, status};
use nitride_lang::prelude::*;

use self::device::{Device, NO_VECTOR_HERE};
use self::queue::Queue;
use super::records::{
    Assignment, ControlAnswer, ControlCommand, FilterUpdate, Notification, QueueIndex, VirtqueueUpdate,
};
use crate::bus::{InterruptRequest, RegisterRequest, RegisterResponse};
use crate::function::function_of_device;

/// Words (8 bytes) of the common configuration that are of the device; the others are of the selected queue.
const DEVICE_WORDS: u64 = 3;
/// The last virtqueue of a device.
const LAST_QUEUE: u64 = card::VIRTQUEUES as u64 - 1;

/// An access of all `N` bytes of the field at `offset`. Drivers access a field as a whole (§4.1.3.1); what does not is ignored.
#[hdl_fn]
fn covers<const N: usize>(enable: Bits<8>, offset: u16) -> Bit {
    enable.get_bits::<N>((offset % 8) as usize).all()
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Pick,
    Device,
    Queue,
    Latch,
    Act,
    Interrupt,
    Respond,
    Answer,
    Drain,
    FunctionReset,
}

/// Who wants to see a device and a queue.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum Client {
    /// The driver.
    #[default]
    Bus,
    /// A function level reset.
    Reset,
    /// An engine that met a broken ring.
    Broken,
    /// The control queue.
    Command,
    /// The card's owner.
    Assignment,
    /// A walk over a device's queues begins,
    Begin,
    /// looks at one of them,
    Visit,
    /// goes on when a queue is drained,
    Drained,
    /// and is over.
    End,
}

/// The structures of BAR0.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum Structure {
    #[default]
    Nothing,
    Common,
    Isr,
    Configuration,
}

/// The device of a function that has one.
#[hdl_fn]
fn device_of(function: Bits<5>) -> Bits<4> {
    if function == card::PF_MANAGEMENT as u64 {
        bits::<4>(card::DEVICE_EXCEPTION as u64)
    } else if function == card::PF_NETWORK as u64 {
        bits::<4>(0)
    } else {
        (function - (card::VF_NETWORK_FIRST as u64 - 1)).get_bits::<4>(0)
    }
}

/// The structure at an offset below the notifications.
#[hdl_fn]
fn structure_at(offset: Bits<14>) -> Structure {
    let place = offset.get_bits::<5>(6);
    if place == (card::BAR0_VIRTIO_COMMON >> 6) {
        Structure::Common
    } else if place == (card::BAR0_VIRTIO_ISR >> 6) {
        Structure::Isr
    } else if place == (card::BAR0_VIRTIO_DEVICE >> 6) {
        Structure::Configuration
    } else {
        Structure::Nothing
    }
}

/// The device gives up: DEVICE_NEEDS_RESET, if its driver is at work (§2.1.2).
#[hdl_fn]
fn broken(device: Device) -> Device {
    let working = (device.status & (status::DRIVER_OK as u64)).any() && !device.resetting;
    Device {
        status: if working { device.status | (status::NEEDS_RESET as u64) } else { device.status },
        ..device
    }
}

/// The device after its owner changed it.
#[hdl_fn]
fn assigned(device: Device, assignment: Assignment) -> Device {
    let asks =
        assignment.announce && device::agreed(device, nitride_abi::virtio::net::feature::GUEST_ANNOUNCE);
    Device {
        mac: assignment.mac,
        permanent: assignment.mac,
        mtu: assignment.mtu,
        link_up: assignment.link_up,
        announce: device.announce || asks,
        ..device
    }
}

/// What of the status the engines have to know.
#[hdl_fn]
fn status_of(device: Device) -> Bits<9> {
    cat2::<1, 8, 9>(device.resetting.into(), device.status)
}

/// What the driver sees of the device configuration differs, or the device needs a reset.
#[hdl_fn]
fn tells(before: Device, after: Device) -> Bit {
    before.mac != after.mac
        || before.mtu != after.mtu
        || before.link_up != after.link_up
        || (after.announce && !before.announce)
        || (before.status ^ after.status).get_bit(status::NEEDS_RESET.trailing_zeros() as usize)
}

/// The registers, in RAM by device and by queue.
///
/// One access at a time: a read is answered after 6 cycles, a write takes 5, a notification 1. Nothing that a driver reads waits for a DMA.
///
/// What the engines do follows from the registers by a walk: a device of which something changed that they have to know is put on a list,
/// and for each of its queues the engines are told how things stand. A queue that they may not use any more is drained, and cleared if it is reset,
/// before the walk goes on. At the end of a walk that found a reset asked for, the device is as new, and its status reads 0.
#[derive(LogicBlock)]
pub struct Registers {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Accesses.
    pub register: Sink<RegisterRequest>,
    /// Their answers.
    pub response: Source<RegisterResponse>,
    /// Available buffer notifications (§4.1.5.2).
    pub notify: Signal<Out, Notification>,
    /// Virtqueues, for the engines.
    pub update: Signal<Out, VirtqueueUpdate>,
    /// Queues to drain: they were disabled.
    pub drain: Source<QueueIndex>,
    /// Queues that are drained, in order.
    pub drained: Sink<QueueIndex>,
    /// Queues that their driver broke.
    pub broken: Sink<QueueIndex>,
    /// Control commands.
    pub command: Sink<ControlCommand>,
    /// What comes of them.
    pub answer: Source<ControlAnswer>,
    /// What the owner changes.
    pub assignment: Sink<Assignment>,
    /// What drivers want to receive.
    pub filter: Signal<Out, FilterUpdate>,
    /// Functions to reset.
    pub flr: Sink<Bits<5>>,
    /// Functions that are reset.
    pub flr_done: Source<Bits<5>>,
    /// Configuration changes.
    pub interrupt: Source<InterruptRequest>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    client: Reg<Client>,
    request: Reg<RegisterRequest>,
    command_now: Reg<ControlCommand>,
    assignment_now: Reg<Assignment>,
    index: Reg<Bits<4>>,
    number: Reg<Bits<3>>,
    exists: Reg<Bit>,
    devices: Ram<Device, 4>,
    queues: Ram<Queue, 7>,
    device: Reg<Device>,
    queue: Reg<Queue>,
    ok: Reg<Bit>,
    worklist: Fifo<Bits<4>, 4>,
    walking: Reg<Bit>,
    walk_device: Reg<Bits<4>>,
    walk_number: Reg<Bits<3>>,
    /// The walk waits for the engines.
    draining: Reg<Bit>,
    /// The walk began when a reset was asked for.
    walk_resets: Reg<Bit>,
}

impl Default for Registers {
    fn default() -> Self {
        let unused = || Queue {
            last: (card::VIRTQUEUE_ENTRIES as u64 - 1).into(),
            vector: NO_VECTOR_HERE.into(),
            ..Queue::default()
        };
        Self {
            devices: Ram::from_fn(|index| device::initial(index as u8)),
            queues: Ram::from_fn(|_| unused()),
            clock: Signal::default(),
            register: Sink::default(),
            response: Source::default(),
            notify: Signal::default(),
            update: Signal::default(),
            drain: Source::default(),
            drained: Sink::default(),
            broken: Sink::default(),
            command: Sink::default(),
            answer: Source::default(),
            assignment: Sink::default(),
            filter: Signal::default(),
            flr: Sink::default(),
            flr_done: Source::default(),
            interrupt: Source::default(),
            busy: Signal::default(),
            state: Reg::default(),
            client: Reg::default(),
            request: Reg::default(),
            command_now: Reg::default(),
            assignment_now: Reg::default(),
            index: Reg::default(),
            number: Reg::default(),
            exists: Reg::default(),
            device: Reg::default(),
            queue: Reg::default(),
            ok: Reg::default(),
            worklist: Fifo::default(),
            walking: Reg::default(),
            walk_device: Reg::default(),
            walk_number: Reg::default(),
            draining: Reg::default(),
            walk_resets: Reg::default(),
        }
    }
}

impl Logic for Registers {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let client = self.client.q.val();
        let picking = state == State::Pick;
        let walking = self.walking.q.val();
        let draining = self.draining.q.val();

        // Picking: what is rare goes before the bus.
        let continuing = picking && walking && (!draining || self.drained.valid.val());
        let beginning = picking && !walking && self.worklist.source.valid.val();
        let free = picking && !continuing && !beginning;
        let resetting = free && self.flr.valid.val();
        let failing = free && !resetting && self.broken.valid.val();
        let assigning = free && !resetting && !failing && self.assignment.valid.val();
        let quiet = free && !resetting && !failing && !assigning;
        let commanding = quiet && self.command.valid.val();
        let accessing = quiet && !commanding && self.register.valid.val();
        self.drained.ready.next = continuing && draining;
        self.worklist.source.ready.next = beginning;
        self.flr.ready.next = resetting;
        self.broken.ready.next = failing;
        self.assignment.ready.next = assigning;
        self.command.ready.next = commanding;
        self.register.ready.next = accessing;
        let offered = self.register.data.val();
        let notifies = offered.offset >= card::BAR0_VIRTIO_NOTIFY;
        let device_now = device_of(offered.function);
        self.request.d.next = if accessing { offered } else { self.request.q.val() };
        self.command_now.d.next = if commanding { self.command.data.val() } else { self.command_now.q.val() };
        self.assignment_now.d.next =
            if assigning { self.assignment.data.val() } else { self.assignment_now.q.val() };
        // A notification is a write of 16 bits or more at 4 times the queue's number; a word holds two (§4.1.5.2).
        let second = !offered.enable.get_bits::<4>(0).any();
        let rung = cat2::<2, 1, 3>(offered.offset.get_bits::<2>(3), second.into());
        let ring = accessing && notifies && offered.write && offered.enable.any();
        let inside = !offered.offset.get_bits::<7>(5).any() && rung <= LAST_QUEUE;
        self.notify.next = Notification { valid: ring && inside, index: cat2::<4, 3, 7>(device_now, rung) };
        if continuing || beginning || resetting || failing || assigning || commanding || accessing {
            self.state.d.next = if accessing && notifies {
                if offered.write { State::Pick } else { State::Respond }
            } else {
                State::Device
            };
            self.client.d.next = if continuing && draining {
                Client::Drained
            } else if continuing && self.walk_number.q.val() > LAST_QUEUE {
                Client::End
            } else if continuing {
                Client::Visit
            } else if beginning {
                Client::Begin
            } else if resetting {
                Client::Reset
            } else if failing {
                Client::Broken
            } else if assigning {
                Client::Assignment
            } else if commanding {
                Client::Command
            } else {
                Client::Bus
            };
            self.index.d.next = if continuing {
                self.walk_device.q.val()
            } else if beginning {
                self.worklist.source.data.val()
            } else if resetting {
                device_of(self.flr.data.val())
            } else if failing {
                self.broken.data.val().get_bits::<4>(3)
            } else if assigning {
                self.assignment.data.val().device
            } else if commanding {
                self.command.data.val().device
            } else {
                device_now
            };
        }
        if beginning {
            self.walking.d.next = true;
            self.walk_device.d.next = self.worklist.source.data.val();
            self.walk_number.d.next = bits::<3>(0);
        }

        // The device and then the queue come out of RAM.
        let index = self.index.q.val();
        let selected = self.devices.read_data.val().queue_select;
        let bus = client == Client::Bus;
        let number = if bus { selected.get_bits::<3>(0) } else { self.walk_number.q.val() };
        self.devices.read_address.next = index;
        self.queues.read_address.next = cat2::<4, 3, 7>(index, number);
        if state == State::Device {
            self.state.d.next = State::Queue;
        }
        if state == State::Queue {
            self.device.d.next = self.devices.read_data.val();
            self.number.d.next = number;
            self.exists.d.next = selected <= LAST_QUEUE;
            self.state.d.next = State::Latch;
        }
        if state == State::Latch {
            self.queue.d.next = self.queues.read_data.val();
            self.state.d.next = State::Act;
        }

        // Both are changed, and go back.
        let acting = state == State::Act;
        let device = self.device.q.val();
        let queue = self.queue.q.val();
        let request = self.request.q.val();
        let word = request.offset.get_bits::<3>(3);
        let structure = structure_at(request.offset);
        let of_device = word < DEVICE_WORDS;
        let writes = request.write && structure == Structure::Common && !device.resetting;
        let acknowledges = !request.write && structure == Structure::Isr && request.enable.get_bit(0);
        let effect = command::execute(device, self.command_now.q.val());
        let walk_resets = self.walk_resets.q.val();
        let device_after = match client {
            Client::Bus => {
                if writes && of_device {
                    device::write_common(device, index, word, request.data, request.enable)
                } else {
                    Device { isr: device.isr && !acknowledges, ..device }
                }
            }
            Client::Reset => Device { resetting: true, function_reset: true, ..device },
            Client::Broken => broken(device),
            Client::Command => effect.device,
            Client::Assignment => assigned(device, self.assignment_now.q.val()),
            Client::Begin => Device { queued: false, ..device },
            Client::Visit | Client::Drained => device,
            Client::End => {
                if walk_resets {
                    device::after_reset(device)
                } else {
                    device
                }
            }
        };
        let wanted = queue.enable && !queue.resetting && device::runs(device);
        let released =
            if walk_resets || queue.resetting { queue::unused() } else { Queue { live: false, ..queue } };
        let queue_after = match client {
            Client::Bus => {
                let may_reset = device::agreed(device, feature::RING_RESET);
                if writes && !of_device && self.exists.q.val() {
                    queue::write(queue, word, request.data, request.enable, may_reset)
                } else {
                    queue
                }
            }
            Client::Visit => {
                if wanted {
                    Queue { live: true, ..queue }
                } else if queue.live {
                    queue
                } else {
                    released
                }
            }
            Client::Drained => released,
            _ => queue,
        };
        let telling = tells(device, device_after)
            && (client == Client::Assignment || client == Client::Broken)
            && (device_after.status & (status::DRIVER_OK as u64)).any();
        let affects = queue.enable != queue_after.enable
            || queue.resetting != queue_after.resetting
            || (queue.live && queue.vector != queue_after.vector);
        let dirty = match client {
            Client::Bus => affects || status_of(device) != status_of(device_after),
            Client::Reset => true,
            Client::Broken => device.status != device_after.status,
            Client::Command => device.both_pairs != device_after.both_pairs,
            _ => false,
        };
        let listed = acting && dirty && !device.queued;
        self.devices.write_address.next = index;
        self.devices.write_data.next = Device {
            queued: device_after.queued || listed,
            generation: if tells(device, device_after) {
                device_after.generation + 1
            } else {
                device_after.generation
            },
            isr: device_after.isr || telling,
            ..device_after
        };
        self.devices.write_enable.next = acting;
        self.queues.write_address.next = cat2::<4, 3, 7>(index, self.number.q.val());
        self.queues.write_data.next = queue_after;
        self.queues.write_enable.next = acting;
        self.worklist.sink.data.next = index;
        self.worklist.sink.valid.next = listed;
        self.update.next = VirtqueueUpdate {
            valid: acting && client == Client::Visit,
            index: cat2::<4, 3, 7>(index, self.number.q.val()),
            queue: queue::told(queue, wanted),
            settings: device::settings(device),
        };
        self.filter.next = FilterUpdate {
            valid: acting
                && (client == Client::Command || client == Client::Assignment || client == Client::End),
            device: index,
            mac: device_after.mac,
            all_unicast: device_after.promiscuous || device_after.table_unicast,
            all_multicast: device_after.promiscuous
                || device_after.all_multicast
                || device_after.table_multicast,
        };
        let drains = client == Client::Visit && !wanted && queue.live;
        if acting {
            self.ok.d.next = effect.ok;
            self.state.d.next = if telling && device.vector != NO_VECTOR_HERE {
                State::Interrupt
            } else if client == Client::Bus && !request.write {
                State::Respond
            } else if client == Client::Command {
                State::Answer
            } else if drains {
                State::Drain
            } else if client == Client::End && walk_resets && device.function_reset {
                State::FunctionReset
            } else {
                State::Pick
            };
            if client == Client::Begin {
                self.walk_resets.d.next = device.resetting;
            }
            if (client == Client::Visit && !drains) || client == Client::Drained {
                self.walk_number.d.next = self.walk_number.q.val() + 1;
            }
            if client == Client::Drained {
                self.draining.d.next = false;
            }
            if client == Client::End {
                self.walking.d.next = false;
            }
        }

        // What came of it is told.
        let moved = match state {
            State::Interrupt => self.interrupt.ready.val(),
            State::Respond => self.response.ready.val(),
            State::Answer => self.answer.ready.val(),
            State::Drain => self.drain.ready.val(),
            State::FunctionReset => self.flr_done.ready.val(),
            _ => false,
        };
        if moved {
            self.state.d.next = State::Pick;
            if state == State::Drain {
                self.draining.d.next = true;
            }
        }
        self.interrupt.valid.next = state == State::Interrupt;
        self.interrupt.data.next =
            InterruptRequest { function: function_of_device(index), vector: device.vector.get_bits::<3>(0) };
        self.response.valid.next = state == State::Respond;
        self.response.data.next = RegisterResponse {
            data: if request.offset >= card::BAR0_VIRTIO_NOTIFY {
                bits::<64>(0)
            } else {
                match structure {
                    Structure::Nothing => bits::<64>(0),
                    Structure::Common => {
                        if of_device {
                            device::read_common(device, index, word)
                        } else if self.exists.q.val() {
                            queue::read(queue, self.number.q.val(), word)
                        } else {
                            bits::<64>(0)
                        }
                    }
                    Structure::Isr => {
                        if device.isr {
                            bits::<64>(isr::CONFIGURATION as u64)
                        } else {
                            bits::<64>(0)
                        }
                    }
                    Structure::Configuration => device::read_configuration(device, word),
                }
            },
        };
        self.answer.valid.next = state == State::Answer;
        self.answer.data.next = ControlAnswer { ok: self.ok.q.val() };
        self.drain.valid.next = state == State::Drain;
        self.drain.data.next = cat2::<4, 3, 7>(index, self.number.q.val());
        self.flr_done.valid.next = state == State::FunctionReset;
        self.flr_done.data.next = function_of_device(index);
        self.busy.next = !picking
            || (walking && !draining)
            || self.worklist.level.val().any()
            || self.drained.valid.val()
            || self.flr.valid.val()
            || self.broken.valid.val()
            || self.assignment.valid.val()
            || self.command.valid.val()
            || self.register.valid.val();
    }
}
