//! Interrupts into the guest: the I/O APIC's pins, and messages (MSI-X), both from event file descriptors.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip, kvm_irq_routing_msi,
    kvm_irq_routing_msi__bindgen_ty_1,
};
use parking_lot::Mutex;

use crate::event::Event;
use crate::kvm::{Error, Guest};

/// Pins of the I/O APIC, which are the first GSIs.
const PINS: u32 = 24;
/// GSIs that KVM has (KVM_MAX_IRQ_ROUTES).
const GSIS: u32 = 4096;

/// What a function writes to raise an interrupt (PCIe 4.0 §6.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// Where message interrupts go. KVM in a machine, a recorder in tests.
pub trait Messages: Send + Sync {
    /// From now on, a signal on `event` raises `message`; one that is pending already does so at once.
    /// `gsi` belongs to the caller ([`Router::reserve`]). Changes the message if it is connected.
    fn connect(&self, gsi: u32, event: &Event, message: Message) -> Result<(), Error>;

    /// Ends what [`Messages::connect`] began: signals on `event` stay pending.
    fn disconnect(&self, gsi: u32, event: &Event) -> Result<(), Error>;
}

/// KVM's interrupt routing.
pub struct Router {
    guest: Arc<Guest>,
    state: Mutex<State>,
}

struct State {
    next: u32,
    messages: BTreeMap<u32, Message>,
}

impl Router {
    /// Gives `guest` its interrupt controllers.
    pub fn new(guest: Arc<Guest>) -> Result<Self, Error> {
        guest.fd().create_irq_chip().map_err(|error| Error::call("create interrupt controllers", error))?;
        let router = Self { guest, state: Mutex::new(State { next: PINS, messages: BTreeMap::new() }) };
        router.commit(&BTreeMap::new())?;
        Ok(router)
    }

    /// Connects `event` to a pin of the I/O APIC.
    pub fn pin(&self, pin: u32, event: &Event) -> Result<(), Error> {
        self.guest
            .fd()
            .register_irqfd(event.kvm(), pin)
            .map_err(|error| Error::call("connect an interrupt", error))
    }

    /// Reserves `count` GSIs for messages; the first of them, or none if KVM has no more.
    pub fn reserve(&self, count: u16) -> Option<u32> {
        let mut state = self.state.lock();
        let first = state.next;
        state.next = first.checked_add(count.into()).filter(|next| *next <= GSIS)?;
        Some(first)
    }

    /// Hands KVM the whole table: there is no call to change one entry.
    fn commit(&self, messages: &BTreeMap<u32, Message>) -> Result<(), Error> {
        let entries: Vec<_> = (0..PINS).map(pin).chain(messages.iter().map(message)).collect();
        let routing = KvmIrqRouting::from_entries(&entries)
            .map_err(|_| Error::Memory(std::io::ErrorKind::OutOfMemory.into()))?;
        self.guest.fd().set_gsi_routing(&routing).map_err(|error| Error::call("route interrupts", error))
    }
}

impl Messages for Router {
    fn connect(&self, gsi: u32, event: &Event, message: Message) -> Result<(), Error> {
        let mut state = self.state.lock();
        let before = state.messages.insert(gsi, message);
        if before == Some(message) {
            return Ok(());
        }
        self.commit(&state.messages)?;
        if before.is_none() {
            let fd = self.guest.fd();
            fd.register_irqfd(event.kvm(), gsi)
                .map_err(|error| Error::call("connect an interrupt", error))?;
        }
        Ok(())
    }

    fn disconnect(&self, gsi: u32, event: &Event) -> Result<(), Error> {
        // The route stays in KVM's table until the next commit: without an irqfd nothing uses it.
        if self.state.lock().messages.remove(&gsi).is_none() {
            return Ok(());
        }
        let fd = self.guest.fd();
        fd.unregister_irqfd(event.kvm(), gsi).map_err(|error| Error::call("disconnect an interrupt", error))
    }
}

fn pin(pin: u32) -> kvm_irq_routing_entry {
    let irqchip = kvm_irq_routing_irqchip { irqchip: KVM_IRQCHIP_IOAPIC, pin };
    kvm_irq_routing_entry {
        gsi: pin,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip },
        ..Default::default()
    }
}

fn message((gsi, message): (&u32, &Message)) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        __bindgen_anon_1: kvm_irq_routing_msi__bindgen_ty_1 { pad: 0 },
    };
    kvm_irq_routing_entry {
        gsi: *gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..Default::default()
    }
}
