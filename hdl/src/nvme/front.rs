//! The front end's blocks, connected.

use nitride_lang::prelude::*;

use super::admin::Admin;
use super::coalesce::Coalesce;
use super::fetch::Fetch;
use super::lifecycle::Lifecycle;
use super::post::Post;
use super::queues::Queues;
use super::records::{Client, Failure, Finished, News, Over, QueueRequest, Signalled};
use super::registers::{Registers, StepReport};
use super::retire::Retire;
use crate::bus::{
    Command, CommandResult, DmaDone, DmaReadRequest, DmaWriteRequest, InterruptRequest, LandingWrite,
    LaunchRead, RegisterRequest, RegisterResponse, VolumeUpdate,
};
use crate::nvme::records::FetchJob;
use crate::profile::DATA_BITS;

/// Pulses for the card's counters.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FrontEvents {
    /// A command was fetched.
    pub command: Bit,
    /// A command ended.
    pub completion: Bit,
    /// An interrupt was asked for.
    pub interrupt: Bit,
}

/// All NVMe controllers of the card, but for the data of their I/O commands.
///
/// ```text
/// register ─ Registers ─ doorbells ─ Queues ─ jobs ─ Fetch ─ admin ─ Admin ─┐
///                └─ Lifecycle ───────┘  │               └─ io … io_result ─ Post ─ Retire ─ Coalesce ─ interrupt
/// ```
///
/// **Order.** A completion's entry is written after the command's result came (its data is on the link by then), its
/// interrupt is asked for after the entry is on the link, its slot is free after that.
///
/// **Reset.** `flr`, CC.EN and CC.SHN are obeyed by [`Lifecycle`]: the controller's commands run to their end, nothing more of
/// it is posted, and its queues are gone; the others notice nothing.
#[derive(LogicBlock, Default)]
pub struct Front {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Accesses to offsets 0 to 1FFFh of an NVMe function's BAR0.
    pub register: Sink<RegisterRequest>,
    /// Answers to reads.
    pub response: Source<RegisterResponse>,
    /// Functions to reset; those that are no NVMe controller come back at once.
    pub flr: Sink<Bits<5>>,
    /// Functions that are reset.
    pub flr_done: Source<Bits<5>>,
    /// Controllers whose namespaces changed.
    pub attribute_changed: Sink<Bits<4>>,
    /// Changes of the volumes.
    pub volume: Signal<In, VolumeUpdate>,
    /// Reads of submission queue entries.
    pub read: Source<DmaReadRequest>,
    /// Their ends.
    pub read_done: Sink<DmaDone>,
    /// The entries.
    pub landing: Signal<In, LandingWrite>,
    /// Writes of admin pages.
    pub page: Source<DmaWriteRequest>,
    /// Their ends.
    pub page_done: Sink<DmaDone>,
    /// Writes of completion queue entries.
    pub entry: Source<DmaWriteRequest>,
    /// Their ends.
    pub entry_done: Sink<DmaDone>,
    /// The DMA engine's reads.
    pub launch: Signal<In, LaunchRead>,
    /// The regions PAGES and COMPLETIONS, one cycle after `launch`; zero for another region.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// I/O commands. `flags` is 0; it is 1 in a flush of all namespaces (NSID FFFFFFFFh) for a shutdown.
    pub io: Source<Command>,
    /// Their results.
    pub io_result: Sink<CommandResult>,
    /// Interrupts.
    pub interrupt: Source<InterruptRequest>,
    /// For the counters.
    pub events: Signal<Out, FrontEvents>,
    /// Something is in flight here, or is going to be.
    pub busy: Signal<Out, Bit>,
    registers: Registers,
    lifecycle: Lifecycle,
    queues: Queues,
    fetch: Fetch,
    admin: Admin,
    post: Post,
    retire: Retire,
    coalesce: Coalesce,
}

#[cfg(test)]
impl Front {
    /// Command slots that no command has.
    pub fn free_slots(&self) -> u64 {
        self.fetch.free_slots()
    }
}

impl Logic for Front {
    #[hdl]
    fn update(&mut self) {
        Sink::<RegisterRequest>::link(&mut self.register, &mut self.registers.register);
        Source::<RegisterResponse>::link(&mut self.response, &mut self.registers.response);
        Sink::<Bits<5>>::link(&mut self.flr, &mut self.registers.flr);
        Source::<Bits<5>>::link(&mut self.flr_done, &mut self.registers.flr_done);
        Sink::<Bits<4>>::link(&mut self.attribute_changed, &mut self.admin.changed);

        Source::<Bits<4>>::join(&mut self.registers.work, &mut self.lifecycle.work);
        Source::<StepReport>::join(&mut self.lifecycle.step, &mut self.registers.step);
        self.lifecycle.view.next = self.registers.view.val();
        Source::<Bits<4>>::join(&mut self.lifecycle.clear, &mut self.admin.clear);
        Source::<Bits<4>>::join(&mut self.fetch.fatal, &mut self.registers.fatal);

        Source::<QueueRequest>::join(
            &mut self.registers.doorbell,
            &mut self.queues.request[Client::DOORBELL],
        );
        Source::<QueueRequest>::join(&mut self.post.request, &mut self.queues.request[Client::POST]);
        Source::<QueueRequest>::join(&mut self.retire.request, &mut self.queues.request[Client::RELEASE]);
        Source::<QueueRequest>::join(&mut self.admin.request[0], &mut self.queues.request[Client::COMMANDS]);
        Source::<QueueRequest>::join(&mut self.admin.request[1], &mut self.queues.request[Client::FEATURES]);
        Source::<QueueRequest>::join(&mut self.admin.request[2], &mut self.queues.request[Client::EVENTS]);
        Source::<QueueRequest>::join(
            &mut self.lifecycle.request,
            &mut self.queues.request[Client::LIFECYCLE],
        );
        self.lifecycle.answer.next = self.queues.answer.val();
        self.admin.answer.next = self.queues.answer.val();
        self.post.answer.next = self.queues.answer.val();

        Source::<FetchJob>::join(&mut self.queues.fetch, &mut self.fetch.job);
        self.queues.room.next = self.fetch.room.val();
        self.queues.admin_room.next = self.fetch.admin_room.val();
        self.queues.setting.next = self.admin.setting.val();
        Source::<News>::join(&mut self.queues.news, &mut self.admin.news);
        self.registers.hold.next = self.queues.hold.val();
        self.fetch.freed.next = self.retire.freed.val();
        self.fetch.landing.next = self.landing.val();
        self.fetch.setting.next = self.admin.setting.val();
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.fetch.read);
        Sink::<DmaDone>::link(&mut self.read_done, &mut self.fetch.read_done);
        Source::<Command>::link(&mut self.io, &mut self.fetch.io);
        Source::<Command>::join(&mut self.fetch.admin, &mut self.admin.command);

        self.admin.volume.next = self.volume.val();
        self.admin.counted.next = self.post.counted.val();
        Source::<Failure>::join(&mut self.post.failure, &mut self.admin.failure);
        Source::<DmaWriteRequest>::link(&mut self.page, &mut self.admin.page);
        Sink::<DmaDone>::link(&mut self.page_done, &mut self.admin.page_done);

        Sink::<CommandResult>::link(&mut self.io_result, &mut self.post.io);
        Source::<Finished>::join(&mut self.fetch.refused, &mut self.post.finished[0]);
        Source::<Finished>::join(&mut self.admin.finished, &mut self.post.finished[1]);
        self.post.assigned.next = self.fetch.assigned.val();
        self.post.formed.next = self.fetch.formed.val();
        Source::<DmaWriteRequest>::link(&mut self.entry, &mut self.post.entry);
        Sink::<DmaDone>::link(&mut self.entry_done, &mut self.post.entry_done);
        Source::<Over>::join(&mut self.post.over, &mut self.retire.over);
        self.coalesce.setting.next = self.admin.setting.val();
        Source::<Signalled>::join(&mut self.retire.interrupt, &mut self.coalesce.sink);
        Source::<InterruptRequest>::link(&mut self.interrupt, &mut self.coalesce.interrupt);

        self.admin.launch.next = self.launch.val();
        self.post.launch.next = self.launch.val();
        self.launch_data.next = self.admin.launch_data.val() | self.post.launch_data.val();
        self.events.next = FrontEvents {
            command: self.fetch.formed.val().valid,
            completion: self.retire.freed.val().valid,
            interrupt: self.coalesce.interrupt.valid.val() && self.coalesce.interrupt.ready.val(),
        };
        self.busy.next = self.registers.busy.val()
            || self.lifecycle.busy.val()
            || self.queues.busy.val()
            || self.fetch.busy.val()
            || self.admin.busy.val()
            || self.post.busy.val()
            || self.coalesce.busy.val();
    }
}
