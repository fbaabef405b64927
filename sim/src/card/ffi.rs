//! The Verilated model behind C functions, and its ports behind pointers.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use bitvec::prelude::{BitSlice, Lsb0};

/// Where a field of the edge is: a port's index, the lowest bit in the port, and the width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) port: usize,
    pub(super) bit: usize,
    pub(super) width: usize,
}

/// The build script's table: `NAMES`, and a [`Field`] for each field of the edge.
pub(super) mod ports {
    use super::Field;
    include!(concat!(env!("OUT_DIR"), "/ports.rs"));
}

unsafe extern "C" {
    fn nitride_card_new() -> *mut c_void;
    fn nitride_card_delete(model: *mut c_void);
    fn nitride_card_eval(model: *mut c_void);
    fn nitride_card_ports(model: *mut c_void, ports: *mut *mut c_void);
    #[cfg(feature = "trace")]
    fn nitride_card_trace(model: *mut c_void, path: *const std::ffi::c_char) -> i32;
    #[cfg(feature = "trace")]
    fn nitride_card_dump(model: *mut c_void, time: u64);
    #[cfg(feature = "trace")]
    fn nitride_card_flush(model: *mut c_void);
}

/// Bytes that Verilator keeps a port of `width` bits in: CData, SData, IData, QData, or DWs.
const fn storage(width: usize) -> usize {
    match width {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        33..=64 => 8,
        _ => 4 * width.div_ceil(32),
    }
}

/// A model of the card.
pub(super) struct Model {
    model: NonNull<c_void>,
    ports: [*mut u8; ports::NAMES.len()],
}

// SAFETY: the model and its context belong to this value alone, and Verilator ties neither to a thread.
unsafe impl Send for Model {}

impl Model {
    pub(super) fn new() -> Self {
        let mut pointers = [std::ptr::null_mut(); ports::NAMES.len()];
        // SAFETY: the shim makes a model, and writes one pointer for each port of the header that the table
        // was made from, so as many as the array has.
        let model = unsafe {
            let model = nitride_card_new();
            nitride_card_ports(model, pointers.as_mut_ptr());
            model
        };
        let model = NonNull::new(model).expect("`new` in C++ does not give null");
        Self { model, ports: pointers.map(<*mut c_void>::cast) }
    }

    /// Lets the model settle with its inputs as they are.
    pub(super) fn eval(&mut self) {
        // SAFETY: the model is alive, and nobody else has it.
        unsafe { nitride_card_eval(self.model.as_ptr()) }
    }

    /// A port's bytes, least significant first.
    #[inline]
    pub(super) fn port(&self, index: usize) -> &[u8] {
        let (_, width) = ports::NAMES[index];
        // SAFETY: Verilator keeps a port of this width in as many bytes, in the machine's (little-endian)
        // order; they live as long as the model, and change only under `&mut self`.
        unsafe { std::slice::from_raw_parts(self.ports[index], storage(width)) }
    }

    /// As [`Model::port`], to write an input's.
    #[inline]
    pub(super) fn port_mut(&mut self, index: usize) -> &mut [u8] {
        let (_, width) = ports::NAMES[index];
        // SAFETY: as in `port`; `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.ports[index], storage(width)) }
    }

    /// A port's bits.
    pub(super) fn bits(&self, index: usize) -> &BitSlice<u8, Lsb0> {
        &BitSlice::from_slice(self.port(index))[..ports::NAMES[index].1]
    }

    /// Begins a waveform.
    #[cfg(feature = "trace")]
    pub(super) fn trace(&mut self, path: &std::ffi::CStr) -> bool {
        // SAFETY: the model is alive; the path is a C string that the callee copies.
        unsafe { nitride_card_trace(self.model.as_ptr(), path.as_ptr()) != 0 }
    }

    /// Adds all signals as they are now to the waveform.
    #[cfg(feature = "trace")]
    pub(super) fn dump(&mut self, time: u64) {
        // SAFETY: the model is alive, and its waveform has been opened by `trace`.
        unsafe { nitride_card_dump(self.model.as_ptr(), time) }
    }

    /// Ends the waveform.
    #[cfg(feature = "trace")]
    pub(super) fn end_trace(&mut self) {
        // SAFETY: the model is alive; closing a waveform that is not open does nothing.
        unsafe { nitride_card_flush(self.model.as_ptr()) }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by `nitride_card_new`, and never used again.
        unsafe { nitride_card_delete(self.model.as_ptr()) }
    }
}
