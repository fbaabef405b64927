//! The Verilated card.

mod ffi;

use bitvec::prelude::{BitSlice, Lsb0};
use ffi::{Field, Model, ports};

use crate::edge::{
    AxiAddress, AxiWrite, Beat, Edge, Inputs, MediaOperation, MediaOutputs, MediaRequest, Outputs, PacketBeat,
};

/// AXI RRESP and BRESP: an error is any but OKAY.
const OKAY: u8 = 0;
/// A cycle in a waveform: 4 ns in its unit of 1 ps.
const PERIOD: u64 = 4000;

/// The card's RTL, Verilated: its ports, and the clock.
///
/// [`Edge::cycle`] is what a [`crate::System`] uses; a test of its own may look at any port of the top module with
/// [`Card::port`].
pub struct Card {
    model: Model,
    /// The first cycle of the waveform, if there is one.
    #[cfg(feature = "trace")]
    traced_from: Option<u64>,
}

impl Default for Card {
    fn default() -> Self {
        Self::new()
    }
}

impl Card {
    /// A card that has just been switched on.
    pub fn new() -> Self {
        let mut card = Self {
            model: Model::new(),
            #[cfg(feature = "trace")]
            traced_from: None,
        };
        card.set(ports::CLOCK, 0);
        card.model.eval();
        card
    }

    /// Names of the top module's ports (as in the Verilog) and their widths in bits.
    pub fn ports() -> &'static [(&'static str, usize)] {
        &ports::NAMES
    }

    /// The value of a port, least significant bit first; `None` if there is no such port.
    pub fn port(&self, name: &str) -> Option<&BitSlice<u8, Lsb0>> {
        ports::NAMES.iter().position(|(port, _)| *port == name).map(|index| self.model.bits(index))
    }

    /// A field of up to 57 bits.
    #[inline]
    fn get(&self, field: Field) -> u64 {
        let bytes = self.model.port(field.port);
        if bytes.len() == 1 {
            return u64::from(bytes[0]) >> field.bit & ((1 << field.width) - 1);
        }
        let bytes = &bytes[field.bit / 8..];
        let mut word = [0; 8];
        let len = bytes.len().min(8);
        word[..len].copy_from_slice(&bytes[..len]);
        u64::from_le_bytes(word) >> (field.bit % 8) & ((1 << field.width) - 1)
    }

    #[inline]
    fn flag(&self, field: Field) -> bool {
        self.get(field) != 0
    }

    /// Sets a field of up to 57 bits.
    #[inline]
    fn set(&mut self, field: Field, value: u64) {
        let bytes = self.model.port_mut(field.port);
        if bytes.len() == 1 && field.width == ports::NAMES[field.port].1 {
            bytes[0] = value as u8;
            return;
        }
        let bytes = &mut bytes[field.bit / 8..];
        let mut word = [0; 8];
        let len = bytes.len().min(8);
        word[..len].copy_from_slice(&bytes[..len]);
        let mask = ((1u64 << field.width) - 1) << (field.bit % 8);
        let word = u64::from_le_bytes(word) & !mask | value << (field.bit % 8) & mask;
        bytes[..len].copy_from_slice(&word.to_le_bytes()[..len]);
    }

    /// A field of whole bytes.
    fn get_bytes(&self, field: Field, data: &mut [u8]) {
        let (start, shift) = (field.bit / 8, field.bit % 8);
        let bytes = self.model.port(field.port);
        if shift == 0 {
            return data.copy_from_slice(&bytes[start..start + data.len()]);
        }
        for (at, byte) in data.iter_mut().enumerate() {
            *byte = bytes[start + at] >> shift | bytes[start + at + 1] << (8 - shift);
        }
    }

    /// Sets a field of whole bytes.
    fn set_bytes(&mut self, field: Field, data: &[u8]) {
        let (start, shift) = (field.bit / 8, field.bit % 8);
        let bytes = &mut self.model.port_mut(field.port)[start..];
        if shift == 0 {
            return bytes[..data.len()].copy_from_slice(data);
        }
        let low = (1u8 << shift) - 1;
        for (at, byte) in data.iter().enumerate() {
            bytes[at] = bytes[at] & low | byte << shift;
            bytes[at + 1] = bytes[at + 1] & !low | byte >> (8 - shift);
        }
    }

    fn drive(&mut self, inputs: &Inputs) {
        self.set(ports::RX_VALID, u64::from(inputs.rx.is_some()));
        if let Some(Beat { header, data, last }) = &inputs.rx {
            let mut bytes = [0; 16];
            for (bytes, word) in bytes.chunks_mut(4).zip(header) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            self.set_bytes(ports::RX_HDR, &bytes);
            self.set_bytes(ports::RX_DATA, data);
            self.set(ports::RX_LAST, u64::from(*last));
        }
        self.set(ports::TX_READY, u64::from(inputs.tx_ready));
        self.set(ports::TX_CREDIT, u64::from(inputs.tx_credit));
        let media = &inputs.media;
        self.set(ports::AXI_AW_READY, u64::from(media.aw_ready));
        self.set(ports::AXI_W_READY, u64::from(media.w_ready));
        self.set(ports::AXI_AR_READY, u64::from(media.ar_ready));
        self.set(ports::MEDIA_READY, u64::from(media.request_ready));
        self.set(ports::AXI_B_VALID, u64::from(media.b.is_some()));
        if let Some(done) = media.b {
            self.set(ports::AXI_B_ID, u64::from(done.id));
            self.set(ports::AXI_B_ERROR, u64::from(done.response != OKAY));
        }
        self.set(ports::AXI_R_VALID, u64::from(media.r.is_some()));
        if let Some(read) = &media.r {
            self.set(ports::AXI_R_ID, u64::from(read.id));
            self.set_bytes(ports::AXI_R_DATA, &read.data);
            self.set(ports::AXI_R_ERROR, u64::from(read.response != OKAY));
            self.set(ports::AXI_R_LAST, u64::from(read.last));
        }
        self.set(ports::MEDIA_RESPONSE_VALID, u64::from(media.response.is_some()));
        if let Some(response) = media.response {
            self.set(ports::MEDIA_RESPONSE_ID, u64::from(response.id));
            self.set(ports::MEDIA_RESPONSE_ERROR, u64::from(response.error));
        }
        for (port, inputs) in inputs.ethernet.iter().enumerate() {
            self.set(ports::ETH_TX_READY[port], u64::from(inputs.tx_ready));
            self.set(ports::ETH_RX_VALID[port], u64::from(inputs.rx.is_some()));
            if let Some(beat) = &inputs.rx {
                self.set_bytes(ports::ETH_RX_DATA[port], &beat.data);
                self.set(ports::ETH_RX_BYTES[port], u64::from(beat.bytes));
                self.set(ports::ETH_RX_LAST[port], u64::from(beat.last));
            }
        }
    }

    fn sample(&self, outputs: &mut Outputs) {
        outputs.rx_ready = self.flag(ports::RX_READY);
        outputs.busy = self.flag(ports::BUSY);
        outputs.tx = self.flag(ports::TX_VALID).then(|| {
            let (mut bytes, mut data) = ([0; 16], [0; 32]);
            self.get_bytes(ports::TX_HDR, &mut bytes);
            self.get_bytes(ports::TX_DATA, &mut data);
            let mut header = [0; 4];
            for (word, bytes) in header.iter_mut().zip(bytes.chunks(4)) {
                *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
            }
            Beat { header, data, last: self.flag(ports::TX_LAST) }
        });
        outputs.media = MediaOutputs {
            aw: self.flag(ports::AXI_AW_VALID).then(|| AxiAddress {
                id: self.get(ports::AXI_AW_ID) as u8,
                address: self.get(ports::AXI_AW_ADDRESS),
                len: self.get(ports::AXI_AW_LENGTH) as u8,
            }),
            w: self.flag(ports::AXI_W_VALID).then(|| {
                let mut data = [0; 32];
                self.get_bytes(ports::AXI_W_DATA, &mut data);
                AxiWrite { data, last: self.flag(ports::AXI_W_LAST) }
            }),
            b_ready: self.flag(ports::AXI_B_READY),
            ar: self.flag(ports::AXI_AR_VALID).then(|| AxiAddress {
                id: self.get(ports::AXI_AR_ID) as u8,
                address: self.get(ports::AXI_AR_ADDRESS),
                len: self.get(ports::AXI_AR_LENGTH) as u8,
            }),
            r_ready: self.flag(ports::AXI_R_READY),
            request: self.flag(ports::MEDIA_VALID).then(|| MediaRequest {
                operation: match self.get(ports::MEDIA_OPERATION) {
                    0 => MediaOperation::Flush,
                    1 => MediaOperation::Discard,
                    _ => MediaOperation::WriteZeroes,
                },
                address: self.get(ports::MEDIA_ADDRESS),
                length: self.get(ports::MEDIA_LENGTH),
                id: self.get(ports::MEDIA_ID) as u8,
            }),
            response_ready: self.flag(ports::MEDIA_RESPONSE_READY),
        };
        for (port, outputs) in outputs.ethernet.iter_mut().enumerate() {
            outputs.rx_ready = self.flag(ports::ETH_RX_READY[port]);
            outputs.tx = self.flag(ports::ETH_TX_VALID[port]).then(|| {
                let mut data = [0; 32];
                self.get_bytes(ports::ETH_TX_DATA[port], &mut data);
                let bytes = self.get(ports::ETH_TX_BYTES[port]) as u8;
                PacketBeat { data, bytes, last: self.flag(ports::ETH_TX_LAST[port]) }
            });
        }
    }
}

impl Edge for Card {
    fn cycle(&mut self, now: u64, inputs: &Inputs, outputs: &mut Outputs) {
        self.drive(inputs);
        self.set(ports::CLOCK, 0);
        self.model.eval();
        self.sample(outputs);
        self.dump(now, 0);
        self.set(ports::CLOCK, 1);
        self.model.eval();
        self.dump(now, PERIOD / 2);
    }

    #[cfg(feature = "trace")]
    fn trace(&mut self, trace: &crate::Trace) -> std::io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        // Verilator does not say why it cannot open a file.
        std::fs::File::create(&trace.path)?;
        let path = std::ffi::CString::new(trace.path.as_os_str().as_bytes())?;
        if !self.model.trace(&path) {
            return Err(std::io::Error::other("Verilator cannot write it"));
        }
        self.traced_from = Some(trace.from_cycle);
        Ok(())
    }
}

#[cfg(feature = "trace")]
impl Card {
    /// Adds the signals as they are `offset` ps into cycle `now` to the waveform.
    fn dump(&mut self, now: u64, offset: u64) {
        if self.traced_from.is_some_and(|first| now >= first) {
            self.model.dump(PERIOD * now + offset);
        }
    }
}

#[cfg(not(feature = "trace"))]
impl Card {
    #[allow(clippy::unused_self)]
    fn dump(&mut self, _now: u64, _offset: u64) {}
}

#[cfg(feature = "trace")]
impl Drop for Card {
    fn drop(&mut self) {
        if self.traced_from.is_some() {
            self.model.end_trace();
        }
    }
}
