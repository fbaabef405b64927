//! What is constant in the pages that the admin engine makes.

use nitride_abi::card;
use nitride_abi::nvme::{
    AVAILABLE_SPARE, AVAILABLE_SPARE_THRESHOLD, FIRMWARE, POWER_CYCLES, TEMPERATURE, identify_controller,
    identify_namespace, log, namespace_descriptors,
};
use nitride_lang::prelude::*;

/// log2 of a template's DWs: nothing after the first KiB of a page is not 0.
pub const TEMPLATE_BITS: usize = 8;

/// The templates, by their place in the ROM.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Template {
    /// Identify Controller of PF2.
    #[default]
    Controller,
    /// Identify Namespace of an empty namespace.
    Namespace,
    /// Namespace Identification Descriptors.
    Descriptors,
    /// SMART / Health Information without its counters.
    Smart,
    /// Firmware Slot Information.
    Firmware,
    /// Zeroes.
    Zeroes,
    /// Zeroes, before the list of namespaces is put in.
    List,
    /// Zeroes, before the entries of the Error Information log are put in.
    Errors,
}

/// Its place in the ROM.
#[hdl_fn]
pub fn place(template: Template) -> Bits<3> {
    match template {
        Template::Controller => bits::<3>(0),
        Template::Namespace => bits::<3>(1),
        Template::Descriptors => bits::<3>(2),
        Template::Smart => bits::<3>(3),
        Template::Firmware => bits::<3>(4),
        Template::Zeroes | Template::List | Template::Errors => bits::<3>(5),
    }
}

fn smart() -> [u8; 4096] {
    let mut page = [0; 4096];
    page[log::smart::TEMPERATURE..=log::smart::TEMPERATURE + 1].copy_from_slice(&TEMPERATURE.to_le_bytes());
    page[log::smart::AVAILABLE_SPARE] = AVAILABLE_SPARE;
    page[log::smart::AVAILABLE_SPARE_THRESHOLD] = AVAILABLE_SPARE_THRESHOLD;
    page[log::smart::POWER_CYCLES] = POWER_CYCLES;
    page
}

fn firmware() -> [u8; 4096] {
    let mut page = [0; 4096];
    // Slot 1 is active.
    page[log::firmware::AFI] = 1;
    page[log::firmware::FRS1..log::firmware::FRS1 + FIRMWARE.len()].copy_from_slice(FIRMWARE);
    page
}

/// The ROM's contents, `{template (3), DW (8)}`.
pub fn contents() -> Vec<Bits<32>> {
    let dws = |page: [u8; 4096]| {
        let (template, rest) = page.split_at(4 << TEMPLATE_BITS);
        assert!(rest.iter().all(|byte| *byte == 0), "a template is longer than its place in the ROM");
        let dw = |dw: &[u8]| u64::from(u32::from_le_bytes([dw[0], dw[1], dw[2], dw[3]])).into();
        template.chunks_exact(4).map(dw).collect::<Vec<_>>()
    };
    [
        dws(identify_controller(card::PF_STORAGE)),
        dws(identify_namespace(0, 0, 0, 0, false)),
        dws(namespace_descriptors(0, 0)),
        dws(smart()),
        dws(firmware()),
    ]
    .concat()
}
