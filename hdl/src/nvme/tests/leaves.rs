//! Each block's Verilog against its simulation.

use nitride_abi::nvme::command::admin;
use nitride_lang::testing::{Rng, differential};

use crate::bus::Command;
use crate::nvme::admin::{content, pages, queue_commands, settings};
use crate::nvme::changes::Changes;
use crate::nvme::coalesce::Coalesce;
use crate::nvme::errors::Errors;
use crate::nvme::events::Events;
use crate::nvme::fetch::Fetch;
use crate::nvme::lifecycle::Lifecycle;
use crate::nvme::post::Post;
use crate::nvme::queues::Queues;
use crate::nvme::queues::schedule::Schedule;
use crate::nvme::records::{Client, FetchJob, QueueAnswer, QueueRequest, Setting};
use crate::nvme::registers::{Control, Registers, View};
use crate::nvme::retire::Retire;
use crate::nvme::slots::Slots;
use crate::nvme::smart::Smart;

const CYCLES: usize = 10_000;

/// An answer for a client, every other cycle.
fn answer(rng: &mut Rng, client: usize) -> QueueAnswer {
    QueueAnswer { valid: rng.bit(), client: (client as u64).into(), ..rng.value() }
}

/// A word that is written, every other cycle.
fn setting(rng: &mut Rng) -> Setting {
    Setting { word: rng.pick(&[1, 6, 8, 9, 11]).into(), ..rng.value() }
}

/// A command with fields that mean something more often than chance has them.
fn command(rng: &mut Rng, opcodes: &[u8]) -> Command {
    let small = |rng: &mut Rng| rng.pick(&[0, 1, 2, 3, 4, 6, 7, 9, 11, 0x0103, 0x0007_0001, 0x0004_0002]);
    Command {
        opcode: u64::from(rng.pick(opcodes)).into(),
        nsid: rng.below(6).into(),
        prp1: if rng.bit() { (rng.below(1 << 30) << 12).into() } else { rng.bits() },
        cdw10: small(rng).into(),
        cdw11: if rng.bit() { small(rng).into() } else { rng.bits() },
        ..rng.value()
    }
}

#[test]
fn registers_verilog_equals_simulation() {
    differential(
        "nvme_registers",
        Registers::default,
        |uut, rng| {
            let mut request: crate::bus::RegisterRequest = rng.value();
            request.offset = rng
                .pick(&[0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x1000, 0x1008, 0x1038, 0x1040])
                .into();
            uut.register.data.next = request;
            uut.register.valid.next = rng.bit();
            uut.response.ready.next = rng.bit();
            uut.flr.data.next = rng.bits();
            uut.flr.valid.next = rng.chance(1, 8);
            uut.flr_done.ready.next = rng.bit();
            uut.fatal.data.next = rng.bits();
            uut.fatal.valid.next = rng.chance(1, 8);
            uut.doorbell.ready.next = rng.bit();
            uut.hold.next = rng.chance(1, 8);
            uut.work.ready.next = rng.bit();
            uut.step.data.next = rng.value();
            uut.step.valid.next = rng.chance(1, 4);
        },
        CYCLES,
    );
}

#[test]
fn queues_verilog_equals_simulation() {
    differential(
        "nvme_queues",
        Queues::default,
        |uut, rng| {
            for request in &mut uut.request {
                request.data.next = QueueRequest { value: rng.below(8).into(), ..rng.value() };
                request.valid.next = rng.chance(1, 4);
            }
            uut.fetch.ready.next = true;
            uut.room.next = rng.bit();
            uut.admin_room.next = rng.bit();
            uut.setting.next = setting(rng);
            uut.news.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn schedule_verilog_equals_simulation() {
    differential(
        "nvme_schedule",
        Schedule::default,
        |uut, rng| {
            for request in &mut uut.request {
                request.data.next = rng.value();
                request.valid.next = rng.chance(1, 8);
            }
            uut.pick.next = rng.bit();
            uut.update.next = rng.value();
            if rng.bit() {
                uut.update.next.wake = 0.into();
            }
            uut.admin_ready.next = rng.bit();
            uut.io_ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn events_verilog_equals_simulation() {
    differential(
        "nvme_events",
        Events::default,
        |uut, rng| {
            let mut command = command(rng, &[admin::ASYNC_EVENT_REQUEST, admin::ABORT]);
            // Few controllers and identifiers, so that requests meet their aborts.
            command.controller = rng.below(2).into();
            command.cid = rng.below(4).into();
            command.cdw10 = (rng.below(4) << 16 | u64::from(rng.chance(1, 8))).into();
            uut.command.data.next = command;
            uut.command.valid.next = rng.bit();
            uut.finished.ready.next = rng.bit();
            uut.clear.data.next = rng.below(2).into();
            uut.clear.valid.next = rng.chance(1, 64);
            uut.news.data.next = rng.value();
            uut.news.data.next.controller = rng.below(2).into();
            uut.news.valid.next = rng.chance(1, 8);
            uut.changed.data.next = rng.below(2).into();
            uut.changed.valid.next = rng.chance(1, 8);
            uut.read.data.next = rng.value();
            uut.read.data.next.controller = rng.below(2).into();
            uut.read.valid.next = rng.chance(1, 8);
            uut.setting.next = setting(rng);
            uut.failure.ready.next = rng.bit();
            uut.request.ready.next = rng.bit();
            uut.answer.next = answer(rng, Client::EVENTS);
        },
        CYCLES,
    );
}

#[test]
fn errors_verilog_equals_simulation() {
    differential(
        "nvme_errors",
        Errors::default,
        |uut, rng| {
            uut.failure.data.next = rng.value();
            uut.failure.valid.next = rng.bit();
            uut.clear.data.next = rng.bits();
            uut.clear.valid.next = rng.chance(1, 64);
            uut.hold.next = rng.chance(1, 4);
            uut.controller.next = rng.bits();
            uut.index.next = rng.bits();
        },
        CYCLES,
    );
}

#[test]
fn changes_verilog_equals_simulation() {
    differential(
        "nvme_changes",
        Changes::default,
        |uut, rng| {
            uut.update.next = rng.value();
            uut.index.next = rng.bits();
            uut.forget.data.next = rng.bits();
            uut.forget.valid.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn coalesce_verilog_equals_simulation() {
    differential(
        "nvme_coalesce",
        || Coalesce::new(50),
        |uut, rng| {
            uut.setting.next = Setting {
                valid: rng.chance(1, 64),
                word: rng.pick(&[8, 9]).into(),
                value: rng.pick(&[0, 0x0103, 0x0201, 0xff07, 0x0002]).into(),
                initial: rng.chance(1, 256),
                ..rng.value()
            };
            uut.sink.data.next = rng.value();
            uut.sink.valid.next = rng.chance(1, 4);
            uut.interrupt.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn lifecycle_verilog_equals_simulation() {
    differential(
        "nvme_lifecycle",
        Lifecycle::default,
        |uut, rng| {
            uut.work.data.next = rng.bits();
            uut.work.valid.next = rng.bit();
            uut.step.ready.next = rng.bit();
            let control = Control { cc: if rng.bit() { 1.into() } else { rng.bits() }, ..rng.value() };
            uut.view.next = View { valid: rng.bit(), control };
            uut.request.ready.next = rng.bit();
            uut.answer.next = answer(rng, Client::LIFECYCLE);
            uut.clear.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn slots_verilog_equals_simulation() {
    differential(
        "nvme_slots",
        Slots::default,
        |uut, rng| {
            uut.slot.ready.next = rng.bit();
            uut.freed.next = rng.value();
        },
        CYCLES,
    );
}

#[test]
fn fetch_verilog_equals_simulation() {
    differential(
        "nvme_fetch",
        Fetch::default,
        |uut, rng| {
            uut.job.data.next = rng.value::<FetchJob>();
            uut.job.valid.next = rng.bit();
            uut.freed.next = rng.value();
            uut.read.ready.next = rng.bit();
            uut.read_done.data.next = rng.value();
            uut.read_done.valid.next = rng.chance(1, 4);
            uut.landing.next = rng.value();
            uut.setting.next = setting(rng);
            uut.admin.ready.next = rng.bit();
            uut.io.ready.next = rng.bit();
            uut.refused.ready.next = rng.bit();
            uut.fatal.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn post_verilog_equals_simulation() {
    differential(
        "nvme_post",
        Post::default,
        |uut, rng| {
            uut.io.data.next = rng.value();
            uut.io.valid.next = rng.bit();
            for finished in &mut uut.finished {
                finished.data.next = rng.value();
                finished.valid.next = rng.bit();
            }
            uut.assigned.next = rng.value();
            uut.formed.next = rng.value();
            uut.request.ready.next = rng.bit();
            uut.answer.next = answer(rng, Client::POST);
            uut.entry.ready.next = rng.bit();
            uut.entry_done.data.next = rng.value();
            uut.entry_done.valid.next = rng.chance(1, 8);
            uut.launch.next = rng.value();
            uut.over.ready.next = rng.bit();
            uut.failure.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn retire_verilog_equals_simulation() {
    differential(
        "nvme_retire",
        Retire::default,
        |uut, rng| {
            uut.over.data.next = rng.value();
            uut.over.valid.next = rng.bit();
            uut.interrupt.ready.next = rng.bit();
            uut.request.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn smart_verilog_equals_simulation() {
    differential(
        "nvme_smart",
        Smart::default,
        |uut, rng| {
            uut.counted.next = rng.value();
            uut.volume.next = rng.value();
            uut.controller.next = rng.bits();
            uut.counter.next = rng.bits();
        },
        CYCLES,
    );
}

#[test]
fn queue_commands_verilog_equals_simulation() {
    differential(
        "nvme_queue_commands",
        queue_commands::QueueCommands::default,
        |uut, rng| {
            uut.command.data.next =
                command(rng, &[admin::CREATE_CQ, admin::CREATE_SQ, admin::DELETE_CQ, admin::DELETE_SQ]);
            uut.command.valid.next = rng.bit();
            uut.retry.ready.next = rng.bit();
            uut.finished.ready.next = rng.bit();
            uut.request.ready.next = rng.bit();
            uut.answer.next = answer(rng, Client::COMMANDS);
        },
        CYCLES,
    );
}

#[test]
fn settings_verilog_equals_simulation() {
    differential(
        "nvme_settings",
        settings::Settings::default,
        |uut, rng| {
            uut.command.data.next = command(rng, &[admin::SET_FEATURES, admin::GET_FEATURES]);
            uut.command.valid.next = rng.bit();
            uut.finished.ready.next = rng.bit();
            uut.clear.data.next = rng.bits();
            uut.clear.valid.next = rng.chance(1, 64);
            uut.request.ready.next = rng.bit();
            uut.answer.next = answer(rng, Client::FEATURES);
        },
        CYCLES,
    );
}

#[test]
fn content_verilog_equals_simulation() {
    differential(
        "nvme_content",
        content::Content::default,
        |uut, rng| {
            let start = rng.chance(1, 300);
            uut.start.next = start;
            if start {
                uut.subject.next = rng.value();
                uut.subject.next.offset = rng.below(100).into();
            }
            uut.next.next = rng.chance(9, 10);
            uut.count.next = rng.bits();
            uut.error.next = rng.bits();
            uut.errors.next = rng.bits();
        },
        CYCLES,
    );
}

#[test]
fn pages_verilog_equals_simulation() {
    differential(
        "nvme_pages",
        pages::Pages::default,
        |uut, rng| {
            let mut command = command(rng, &[admin::IDENTIFY, admin::GET_LOG_PAGE, admin::GET_LOG_PAGE]);
            command.cdw12 = rng.pick(&[0, 0, 4, 64, 252, 256, 260, 3]).into();
            command.cdw13 = u64::from(rng.chance(1, 16)).into();
            if rng.chance(7, 8) {
                command.cdw11 = 0.into();
            }
            uut.command.data.next = command;
            uut.command.valid.next = rng.bit();
            uut.finished.ready.next = rng.bit();
            uut.volume.next = rng.value();
            uut.counted.next = rng.value();
            uut.page.ready.next = rng.bit();
            uut.page_done.data.next = rng.value();
            uut.page_done.valid.next = rng.chance(1, 4);
            uut.launch.next = rng.value();
            uut.failure.data.next = rng.value();
            uut.failure.valid.next = rng.chance(1, 8);
            uut.clear.data.next = rng.bits();
            uut.clear.valid.next = rng.chance(1, 64);
            uut.log_read.ready.next = rng.bit();
        },
        CYCLES,
    );
}
