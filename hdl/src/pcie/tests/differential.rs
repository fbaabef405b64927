//! Each block against its Verilog, with random stimuli.

use nitride_abi::pci::VIRTIO_WINDOW;
use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

use crate::bus::{ErrorKind, ErrorPulse, ErrorReport, FunctionUpdate, RegisterRequest, TlpBeat};
use crate::pcie::config::{Access, ErrorLog, Operation, Place, Settings, Store};
use crate::pcie::decoder::Decoder;
use crate::pcie::faults::Faults;
use crate::pcie::messenger::Messenger;
use crate::pcie::request::{
    Aperture, Apertures, ConfigRequest, ConfigResponse, ErrorMessage, Outcome, Request, RequestKind,
    Severity, VfAperture,
};
use crate::pcie::{Completer, Config, Front, Msix, Receiver, Target, Window};
use crate::profile::Profile;

const CYCLES: usize = 10_000;

/// A header whose type and length are often ones that matter, in a TLP of mostly the right number of beats.
fn random_beat(rng: &mut Rng) -> TlpBeat {
    let fmt = rng.pick(&[0, 0, 1, 2, 2, 3, 4]);
    let kind = rng.pick(&[0u64, 0, 0, 4, 4, 0xa, 0xa, 5, 2, 1, 0xc, 0x14, 0x1f]);
    let length = rng.pick(&[1, 1, 1, 1, 2, 2, 8, 9, 17, 0]);
    let dw0 = fmt << 29 | kind << 24 | length | (rng.word() & rng.pick(&[0, 0, 0xff_fc00]));
    let dw1 = rng.word() & if rng.bit() { 0xffff_ff0f } else { 0xffff_ffff };
    let mut hdr: Bits<128> = rng.bits();
    hdr = (hdr & !Bits::<128>::from(u64::MAX)) | (dw1 << 32 | dw0);
    TlpBeat { hdr, data: rng.bits(), last: rng.chance(3, 4) }
}

#[test]
fn receiver() {
    differential(
        "pcie-receiver",
        Receiver::default,
        |uut, rng| {
            uut.rx.valid.next = rng.chance(3, 4);
            uut.rx.data.next = random_beat(rng);
            uut.completions.ready.next = rng.chance(7, 8);
            uut.requests.ready.next = rng.chance(7, 8);
        },
        CYCLES,
    );
}

#[test]
fn completer() {
    differential(
        "pcie-completer",
        Completer::default,
        |uut, rng| {
            uut.sink.valid.next = rng.bit();
            uut.sink.data.next = rng.value();
            uut.tlp.ready.next = rng.bit();
        },
        CYCLES,
    );
}

fn aperture(rng: &mut Rng) -> Aperture {
    Aperture { enable: rng.chance(3, 4), base: (rng.below(4) << 4).into() }
}

fn vf_aperture(rng: &mut Rng) -> VfAperture {
    VfAperture { first: aperture(rng), count: rng.bits(), stride: rng.below(5).into() }
}

fn apertures(rng: &mut Rng) -> Apertures {
    Apertures {
        management: aperture(rng),
        network: aperture(rng),
        storage: aperture(rng),
        network_vfs: vf_aperture(rng),
        storage_vfs: vf_aperture(rng),
    }
}

#[test]
fn decoder() {
    differential(
        "pcie-decoder",
        Decoder::default,
        |uut, rng| {
            if rng.chance(1, 50) {
                uut.apertures.next = apertures(rng);
            }
            let page = if rng.chance(7, 8) { rng.below(128) } else { rng.word() >> 14 };
            uut.address.next = (page << 14 | rng.below(0x4000)).into();
        },
        CYCLES,
    );
}

#[test]
fn target() {
    let kinds = [
        RequestKind::MemoryRead,
        RequestKind::MemoryWrite,
        RequestKind::ConfigRead,
        RequestKind::ConfigWrite,
        RequestKind::Refused,
        RequestKind::Malformed,
        RequestKind::Poisoned,
    ];
    differential(
        "pcie-target",
        Target::default,
        |uut, rng| {
            if rng.chance(1, 50) {
                uut.apertures.next = apertures(rng);
                uut.link.next = rng.value();
            }
            uut.requests.valid.next = rng.chance(7, 8);
            uut.requests.data.next = Request {
                kind: rng.pick(&kinds),
                address: (rng.below(96) << 14 | rng.below(0x4000)).into(),
                fits: rng.chance(7, 8),
                ..rng.value()
            };
            uut.config.ready.next = rng.bit();
            uut.config_response.valid.next = rng.bit();
            uut.config_response.data.next = rng.value();
            uut.management.ready.next = rng.bit();
            uut.management_response.valid.next = rng.bit();
            uut.management_response.data.next = rng.value();
            uut.nvme.ready.next = rng.bit();
            uut.nvme_response.valid.next = rng.bit();
            uut.nvme_response.data.next = rng.value();
            uut.network_response.valid.next = rng.bit();
            uut.network_response.data.next = rng.value();
            uut.msix.ready.next = rng.bit();
            uut.msix_response.valid.next = rng.bit();
            uut.msix_response.data.next = rng.value();
            uut.completion.ready.next = rng.bit();
            uut.errors.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn window() {
    differential(
        "pcie-window",
        Window::default,
        |uut, rng| {
            uut.request.valid.next = rng.bit();
            uut.request.data.next = ConfigRequest {
                target: rng.pick(&[0, 1, 2, 8, 16]).into(),
                register: (u64::from(VIRTIO_WINDOW / 4) + 4 - rng.below(2)).into(),
                ..rng.value()
            };
            uut.response.ready.next = rng.bit();
            uut.config.ready.next = rng.bit();
            uut.config_response.valid.next = rng.bit();
            // What the driver wrote: often an access of some bytes at the bottom of BAR 0.
            let data = rng.pick(&[0, 1, 2, 4, 0x14, 0x0100, 0x1ffe, 0x2000])
                | (rng.word() & rng.pick(&[0, 0, 0, 0x100]));
            let outcome = if rng.chance(7, 8) { Outcome::Success } else { rng.value() };
            uut.config_response.data.next = ConfigResponse { outcome, data: data.into() };
            uut.register.valid.next = rng.bit();
            uut.register.data.next = rng.value();
            uut.register_response.ready.next = rng.bit();
            uut.network.ready.next = rng.bit();
            uut.network_response.valid.next = rng.bit();
            uut.network_response.data.next = rng.value();
        },
        CYCLES,
    );
}

#[test]
fn store() {
    let operations = [Operation::Read, Operation::Write, Operation::Set, Operation::Load, Operation::Reset];
    differential(
        "pcie-config-store",
        || Store::new(&Profile::LAB),
        |uut, rng| {
            if rng.bit() {
                uut.place.next = Place { dw: rng.below(128).into(), ..rng.value() };
            }
            uut.access.next = Access { operation: rng.pick(&operations), ..rng.value() };
        },
        CYCLES,
    );
}

#[test]
fn settings() {
    let dws = [1u64, 4, 5, 17, 22, 30, 90, 92, 96, 97, 98];
    differential(
        "pcie-config-settings",
        Settings::default,
        |uut, rng| {
            uut.write.next = rng.bit();
            uut.place.next =
                Place { function: rng.bits(), kind: rng.below(5).into(), dw: rng.pick(&dws).into() };
            uut.value.next = rng.bits();
            uut.total_vfs.next = 8u64.into();
            uut.bus.next = rng.bits();
            uut.capture.next = rng.chance(1, 8);
        },
        CYCLES,
    );
}

const ERRORS: [ErrorKind; 10] = [
    ErrorKind::UnsupportedPosted,
    ErrorKind::UnsupportedNonPosted,
    ErrorKind::Aborted,
    ErrorKind::Poisoned,
    ErrorKind::Malformed,
    ErrorKind::Unexpected,
    ErrorKind::Timeout,
    ErrorKind::PoisonedCompletion,
    ErrorKind::MasterAborted,
    ErrorKind::TargetAborted,
];

fn error(rng: &mut Rng) -> ErrorReport {
    let function = rng.pick(&[0u64, 2, 17]).into();
    ErrorReport { kind: rng.pick(&ERRORS), specific: rng.bit(), function, header: rng.bits() }
}

#[test]
fn error_log() {
    differential(
        "pcie-config-errors",
        ErrorLog::default,
        |uut, rng| {
            uut.errors.valid.next = rng.bit();
            uut.errors.data.next = error(rng);
            uut.grant.next = rng.bit();
            uut.there.next = rng.chance(7, 8);
            uut.value.next = rng.bits::<32>() & rng.bits::<32>();
            uut.message.ready.next = true;
        },
        2 * CYCLES,
    );
}

#[test]
fn faults() {
    differential(
        "pcie-faults",
        Faults::default,
        |uut, rng| {
            uut.requests.valid.next = rng.chance(1, 4);
            uut.requests.data.next = error(rng);
            for found in &mut uut.found {
                found.next = ErrorPulse { valid: rng.chance(1, 8), report: error(rng) };
            }
            uut.source.ready.next = rng.chance(1, 4);
        },
        CYCLES,
    );
}

#[test]
fn messenger() {
    differential(
        "pcie-messenger",
        Messenger::default,
        |uut, rng| {
            let severity = rng.pick(&[Severity::Correctable, Severity::NonFatal, Severity::Fatal]);
            uut.sink.valid.next = rng.chance(1, 4);
            uut.sink.data.next = ErrorMessage { function: rng.bits(), severity };
            uut.link.next = rng.value();
            uut.tlp.ready.next = rng.chance(1, 4);
        },
        CYCLES,
    );
}

#[test]
fn config() {
    let registers = [0u64, 1, 4, 15, 17, 22, 36, 65, 90, 92, 96, 97, 98, 127, 128, 1023];
    differential(
        "pcie-config",
        || Config::new(&Profile::LAB),
        |uut, rng| {
            uut.request.valid.next = rng.bit();
            uut.request.data.next = ConfigRequest {
                target: rng.pick(&[0u64, 2, 2, 2, 16, 17, 23, 24, 1, 255]).into(),
                register: rng.pick(&registers).into(),
                // Resets take long, so that they are rare.
                data: if rng.chance(1, 16) {
                    rng.bits()
                } else {
                    (rng.word() as u32 as u64 & !0x8000 | 1).into()
                },
                ..rng.value()
            };
            uut.response.ready.next = rng.bit();
            uut.errors.valid.next = rng.chance(1, 8);
            uut.errors.data.next = error(rng);
            uut.message.ready.next = true;
            uut.flr.ready.next = rng.bit();
            uut.flr_done.valid.next = rng.chance(1, 8);
            uut.flr_done.data.next = rng.bits();
        },
        2 * CYCLES,
    );
}

#[test]
fn msix() {
    differential(
        "pcie-msix",
        Msix::default,
        |uut, rng| {
            uut.register.valid.next = rng.chance(1, 8);
            uut.register.data.next = RegisterRequest {
                function: rng.below(3).into(),
                offset: (rng.pick(&[0x2000u64, 0x2000, 0x2000, 0x3000]) + 8 * rng.below(18)).into(),
                ..rng.value()
            };
            uut.response.ready.next = rng.bit();
            uut.request.valid.next = rng.bit();
            uut.request.data.next =
                crate::bus::InterruptRequest { function: rng.below(3).into(), vector: rng.bits() };
            uut.update.next =
                FunctionUpdate { valid: rng.chance(1, 64), function: rng.below(3).into(), ..rng.value() };
            uut.link.next = rng.value();
            uut.flr.valid.next = rng.chance(1, 256);
            uut.flr.data.next = rng.below(3).into();
            uut.cleared.ready.next = rng.bit();
            uut.tlp.ready.next = rng.bit();
        },
        2 * CYCLES,
    );
}

#[test]
fn front() {
    differential(
        "pcie-front",
        || Front::new(&Profile { network: true, ..Profile::LAB }),
        |uut, rng| {
            uut.rx.valid.next = rng.chance(3, 4);
            uut.rx.data.next = random_beat(rng);
            uut.completions.ready.next = rng.chance(7, 8);
            uut.completer.ready.next = rng.chance(7, 8);
            uut.interrupts.ready.next = rng.bit();
            uut.read_error.next = ErrorPulse { valid: rng.chance(1, 64), report: error(rng) };
            uut.nvme.ready.next = rng.bit();
            uut.nvme_response.valid.next = rng.bit();
            uut.nvme_response.data.next = rng.value();
            uut.network_response.valid.next = rng.bit();
            uut.network_response.data.next = rng.value();
            uut.management.ready.next = rng.bit();
            uut.management_response.valid.next = rng.bit();
            uut.management_response.data.next = rng.value();
            uut.interrupt.valid.next = rng.bit();
            uut.interrupt.data.next = rng.value();
            uut.flr.ready.next = rng.bit();
            uut.flr_done.valid.next = rng.chance(1, 8);
            uut.flr_done.data.next = rng.bits();
            uut.network.ready.next = rng.bit();
            uut.network_flr.ready.next = rng.bit();
            uut.network_flr_done.valid.next = rng.chance(1, 8);
            uut.network_flr_done.data.next = rng.bits();
        },
        CYCLES / 5,
    );
}
