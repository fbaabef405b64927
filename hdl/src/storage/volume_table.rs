//! A copy of the volume table.

use nitride_lang::prelude::*;

use crate::bus::{Volume, VolumeUpdate};

/// The volumes of all controllers, in RAM, as PF0's registers have them. Latency 1.
#[derive(LogicBlock, Default)]
pub struct VolumeTable {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Changes of the table.
    pub update: Signal<In, VolumeUpdate>,
    /// The volume to read, `{controller (4), nsid - 1 (2)}`.
    pub index: Signal<In, Bits<6>>,
    /// It, one cycle later.
    pub volume: Signal<Out, Volume>,
    volumes: Ram<Volume, 6>,
}

impl Logic for VolumeTable {
    #[hdl]
    fn update(&mut self) {
        let update = self.update.val();
        self.volumes.write_enable.next = update.valid;
        self.volumes.write_address.next = update.index;
        self.volumes.write_data.next = update.volume;
        self.volumes.read_address.next = self.index.val();
        self.volume.next = self.volumes.read_data.val();
    }
}
