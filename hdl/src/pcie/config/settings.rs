//! The settings of the PFs that the card obeys at once, kept beside the configuration space.

use nitride_abi::pci;
use nitride_abi::pci::space::{self, Kind, Layout};
use nitride_lang::prelude::*;

use super::physical::{Physical, Vfs};
use super::store::Place;
use crate::bus::LinkConfig;
use crate::pcie::request::Apertures;

const DEVICE: u64 = pci::DEVICE_CONTROL as u64 / 4;
const DEVICE_2: u64 = pci::DEVICE_CONTROL_2 as u64 / 4;
const EXTENDED_TAG: usize = pci::CONTROL_EXTENDED_TAG.ilog2() as usize;
const TIMEOUT_DISABLE: usize = pci::CONTROL_2_TIMEOUT_DISABLE.ilog2() as usize;
const MPS: usize = pci::CONTROL_MPS;
const MRRS: usize = pci::CONTROL_MRRS;
/// Device Control after reset, the same in every PF.
const DEVICE_RESET: u32 =
    space::register(Kind::Storage, Layout { vfs: 0, network: false }, pci::DEVICE_CONTROL).reset;

/// Keeps what the host wrote to the PFs' BARs, Memory Space Enables, power states, SR-IOV structures, and the sizes it allows.
///
/// Takes each new value of a PF's DW in the cycle in which it is stored; the outputs follow one cycle later.
#[derive(LogicBlock)]
pub struct Settings {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A DW changes to `value`.
    pub write: Signal<In, Bit>,
    /// Which one.
    pub place: Signal<In, Place>,
    /// Its new value.
    pub value: Signal<In, Bits<32>>,
    /// TotalVFs.
    pub total_vfs: Signal<In, Bits<4>>,
    /// A type 0 configuration write was served that named this bus.
    pub bus: Signal<In, Bits<8>>,
    /// `bus` is valid.
    pub capture: Signal<In, Bit>,
    /// For the decoder.
    pub apertures: Signal<Out, Apertures>,
    /// For the DMA engines.
    pub link: Signal<Out, LinkConfig>,
    /// PF1's VFs.
    pub network_vfs: Signal<Out, Vfs>,
    /// PF2's VFs.
    pub storage_vfs: Signal<Out, Vfs>,
    management: Physical,
    network: Physical,
    storage: Physical,
    current: Reg<LinkConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            write: Signal::default(),
            place: Signal::default(),
            value: Signal::default(),
            total_vfs: Signal::default(),
            bus: Signal::default(),
            capture: Signal::default(),
            apertures: Signal::default(),
            link: Signal::default(),
            network_vfs: Signal::default(),
            storage_vfs: Signal::default(),
            management: Physical::default(),
            network: Physical::default(),
            storage: Physical::default(),
            current: Reg::new(LinkConfig {
                mrrs: u64::from(DEVICE_RESET >> MRRS & 0b111).into(),
                extended_tags: DEVICE_RESET & pci::CONTROL_EXTENDED_TAG != 0,
                ..LinkConfig::default()
            }),
        }
    }
}

impl Logic for Settings {
    #[hdl]
    fn update(&mut self) {
        let value = self.value.val();
        let place = self.place.val();
        let management = self.write.val() && place.kind == (Kind::Management as u64);
        let network = self.write.val() && place.kind == (Kind::Network as u64);
        let storage = self.write.val() && place.kind == (Kind::Storage as u64);
        self.management.write.next = management;
        self.management.dw.next = place.dw;
        self.management.value.next = value;
        self.management.total_vfs.next = self.total_vfs.val();
        self.network.write.next = network;
        self.network.dw.next = place.dw;
        self.network.value.next = value;
        self.network.total_vfs.next = self.total_vfs.val();
        self.storage.write.next = storage;
        self.storage.dw.next = place.dw;
        self.storage.value.next = value;
        self.storage.total_vfs.next = self.total_vfs.val();

        if management && place.dw == DEVICE {
            self.current.d.next.mps = value.get_bits::<3>(MPS);
        }
        if storage && place.dw == DEVICE {
            self.current.d.next.mrrs = value.get_bits::<3>(MRRS);
            self.current.d.next.extended_tags = value.get_bit(EXTENDED_TAG);
        }
        if storage && place.dw == DEVICE_2 {
            self.current.d.next.timeout_disable = value.get_bit(TIMEOUT_DISABLE);
        }
        if self.capture.val() {
            self.current.d.next.bus = self.bus.val();
        }

        self.network_vfs.next = self.network.vfs.val();
        self.storage_vfs.next = self.storage.vfs.val();
        self.link.next = self.current.q.val();
        self.apertures.next = Apertures {
            management: self.management.aperture.val(),
            network: self.network.aperture.val(),
            storage: self.storage.aperture.val(),
            network_vfs: self.network.vf_aperture.val(),
            storage_vfs: self.storage.vf_aperture.val(),
        };
    }
}
