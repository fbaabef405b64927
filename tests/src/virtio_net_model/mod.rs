//! A plain model of a virtio network device, written from virtio 1.2: what the driver is tested on without a card, and what the
//! RTL is compared with.
//!
//! It does all work inside of the register write that started it. What it sends waits in [`NetFunction::take_sent`], what it is to
//! receive is given to [`NetFunction::deliver`]. A broken ring sets DEVICE_NEEDS_RESET.

mod device;
mod function;
mod queue;

pub use function::NetFunction;
