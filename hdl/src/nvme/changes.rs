//! The namespaces that changed (NVMe 1.4 §5.14.1.4).

use nitride_lang::prelude::*;

use crate::bus::VolumeUpdate;

/// A bit a namespace, in RAM: it was attached, changed or detached and its controller's host has not been told. Latency 1.
#[derive(LogicBlock, Default)]
pub struct Changes {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Changes of the volumes.
    pub update: Signal<In, VolumeUpdate>,
    /// The namespace to look at, `{controller (4), nsid - 1 (2)}`.
    pub index: Signal<In, Bits<6>>,
    /// It changed; one cycle later.
    pub changed: Signal<Out, Bit>,
    /// Namespaces whose host was told. Waits for an `update`.
    pub forget: Sink<Bits<6>>,
    bits: Ram<Bit, 6>,
}

impl Logic for Changes {
    #[hdl]
    fn update(&mut self) {
        let update = self.update.val();
        self.bits.read_address.next = self.index.val();
        self.changed.next = self.bits.read_data.val();
        self.bits.write_address.next = if update.valid { update.index } else { self.forget.data.val() };
        self.bits.write_data.next = update.valid;
        self.bits.write_enable.next = update.valid || self.forget.valid.val();
        self.forget.ready.next = !update.valid;
    }
}
