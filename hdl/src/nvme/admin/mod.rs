//! The admin command set (NVMe 1.4 §5). What the card answers where the specification leaves a choice is the list
//! of `nvme_model` in the crate `nitride-tests`.

pub(super) mod content;
pub(super) mod pages;
pub(super) mod queue_commands;
pub(super) mod settings;
mod templates;

use nitride_abi::nvme::command::admin;
use nitride_lang::prelude::*;

use super::events::Events;
use super::records::{Counted, Failure, Finished, LogRead, News, QueueAnswer, QueueRequest, Setting};
use crate::bus::{Command, DmaDone, DmaWriteRequest, LaunchRead, VolumeUpdate};
use crate::profile::DATA_BITS;
use pages::Pages;
use queue_commands::QueueCommands;
use settings::Settings;

/// Executes admin commands, of all controllers, in four engines that work at the same time.
///
/// `command` never waits: the queue in front has a place for each command slot of the card.
#[derive(LogicBlock, Default)]
pub struct Admin {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands, whose opcodes the card knows.
    pub command: Sink<Command>,
    /// Commands that are over.
    pub finished: Source<Finished>,
    /// Controllers that are being enabled.
    pub clear: Sink<Bits<4>>,
    /// What controllers are set to.
    pub setting: Signal<Out, Setting>,
    /// Requests to the queues: of the create and delete commands, of the features, of events.
    pub request: [Source<QueueRequest>; 3],
    /// From the queues.
    pub answer: Signal<In, QueueAnswer>,
    /// What events have to know of the queues.
    pub news: Sink<News>,
    /// Controllers whose namespaces changed.
    pub changed: Sink<Bits<4>>,
    /// Changes of the volumes.
    pub volume: Signal<In, VolumeUpdate>,
    /// Commands that the SMART log counts.
    pub counted: Signal<In, Counted>,
    /// Commands that failed, for the Error Information log.
    pub failure: Sink<Failure>,
    /// Writes of pages.
    pub page: Source<DmaWriteRequest>,
    /// Their ends; always ready.
    pub page_done: Sink<DmaDone>,
    /// The DMA engine's reads of the page.
    pub launch: Signal<In, LaunchRead>,
    /// As [`LaunchRam`](crate::dma::LaunchRam) has it.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    entrance: StreamArbiter<Command, 2>,
    commands: Fifo<Command, 6>,
    queue_commands: QueueCommands,
    settings: Settings,
    events: Events,
    pages: Pages,
    exit: StreamArbiter<Finished, 4>,
    failures: StreamArbiter<Failure, 2>,
}

impl Logic for Admin {
    #[hdl]
    fn update(&mut self) {
        Sink::<Command>::link(&mut self.command, &mut self.entrance.sink[0]);
        Source::<Command>::join(&mut self.queue_commands.retry, &mut self.entrance.sink[1]);
        Source::<Command>::join(&mut self.entrance.source, &mut self.commands.sink);
        self.entrance.last.next = bits::<2>(3);

        let command = self.commands.source.data.val();
        let valid = self.commands.source.valid.val();
        let opcode = command.opcode;
        let paging = opcode == admin::IDENTIFY as u64 || opcode == admin::GET_LOG_PAGE as u64;
        let queueing = opcode == admin::CREATE_CQ as u64
            || opcode == admin::CREATE_SQ as u64
            || opcode == admin::DELETE_CQ as u64
            || opcode == admin::DELETE_SQ as u64;
        self.pages.command.data.next = command;
        self.pages.command.valid.next = valid && paging;
        self.queue_commands.command.data.next = command;
        self.queue_commands.command.valid.next = valid && queueing;
        let setting = opcode == admin::GET_FEATURES as u64 || opcode == admin::SET_FEATURES as u64;
        self.settings.command.data.next = command;
        self.settings.command.valid.next = valid && setting;
        self.events.command.data.next = command;
        self.events.command.valid.next = valid && !paging && !queueing && !setting;
        self.commands.source.ready.next = if paging {
            self.pages.command.ready.val()
        } else if queueing {
            self.queue_commands.command.ready.val()
        } else if setting {
            self.settings.command.ready.val()
        } else {
            self.events.command.ready.val()
        };

        Source::<Finished>::join(&mut self.queue_commands.finished, &mut self.exit.sink[0]);
        Source::<Finished>::join(&mut self.settings.finished, &mut self.exit.sink[1]);
        Source::<Finished>::join(&mut self.pages.finished, &mut self.exit.sink[2]);
        Source::<Finished>::join(&mut self.events.finished, &mut self.exit.sink[3]);
        self.exit.last.next = bits::<4>(0xf);
        Source::<Finished>::link(&mut self.finished, &mut self.exit.source);

        Source::<QueueRequest>::link(&mut self.request[0], &mut self.queue_commands.request);
        Source::<QueueRequest>::link(&mut self.request[1], &mut self.settings.request);
        Source::<QueueRequest>::link(&mut self.request[2], &mut self.events.request);
        self.queue_commands.answer.next = self.answer.val();
        self.settings.answer.next = self.answer.val();
        self.events.answer.next = self.answer.val();

        // Whoever is cleared takes its turn at once: settings, events, errors.
        let settings_ready = self.settings.clear.ready.val();
        let events_ready = self.events.clear.ready.val();
        let errors_ready = self.pages.clear.ready.val();
        let clearing = self.clear.valid.val() && settings_ready && events_ready && errors_ready;
        self.settings.clear.data.next = self.clear.data.val();
        self.settings.clear.valid.next = clearing;
        self.events.clear.data.next = self.clear.data.val();
        self.events.clear.valid.next = clearing;
        self.pages.clear.data.next = self.clear.data.val();
        self.pages.clear.valid.next = clearing;
        self.clear.ready.next = settings_ready && events_ready && errors_ready;
        self.setting.next = self.settings.setting.val();
        self.events.setting.next = self.settings.setting.val();

        Sink::<News>::link(&mut self.news, &mut self.events.news);
        Sink::<Bits<4>>::link(&mut self.changed, &mut self.events.changed);
        Source::<LogRead>::join(&mut self.pages.log_read, &mut self.events.read);
        Sink::<Failure>::link(&mut self.failure, &mut self.failures.sink[0]);
        Source::<Failure>::join(&mut self.events.failure, &mut self.failures.sink[1]);
        self.failures.last.next = bits::<2>(3);
        Source::<Failure>::join(&mut self.failures.source, &mut self.pages.failure);
        self.pages.volume.next = self.volume.val();
        self.pages.counted.next = self.counted.val();
        Source::<DmaWriteRequest>::link(&mut self.page, &mut self.pages.page);
        Sink::<DmaDone>::link(&mut self.page_done, &mut self.pages.page_done);
        self.pages.launch.next = self.launch.val();
        self.launch_data.next = self.pages.launch_data.val();
        self.busy.next = self.commands.level.val().any()
            || self.pages.busy.val()
            || self.queue_commands.busy.val()
            || self.events.busy.val()
            || self.settings.busy.val();
    }
}
