//! A network device as smoltcp wants it.

use smoltcp::phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use super::{Error, Net};

/// Ethernet header in front of an IP packet of MTU bytes.
const ETHERNET_HEADER: usize = 14;
/// The MTU of a device that names none.
const DEFAULT_MTU: u16 = 1500;

/// Queue pair 0 of a [`Net`] as a device of smoltcp's.
///
/// smoltcp has no way to report that a device failed: it looks then as if nothing could be sent or received; [`Interface::error`] tells.
pub struct Interface {
    net: Net,
    frame: Vec<u8>,
    mtu: usize,
    error: Option<Error>,
}

impl Interface {
    /// Takes a device over.
    pub fn new(net: Net) -> Result<Self, Error> {
        let mtu = usize::from(net.mtu()?.unwrap_or(DEFAULT_MTU));
        Ok(Self { net, frame: Vec::new(), mtu, error: None })
    }

    /// The device.
    pub fn net(&mut self) -> &mut Net {
        &mut self.net
    }

    /// What went wrong, if something did.
    pub fn error(&mut self) -> Option<Error> {
        self.error.take()
    }

    fn note<T>(&mut self, outcome: Result<T, Error>) -> Option<T> {
        outcome.map_err(|error| self.error = Some(error)).ok()
    }
}

impl phy::Device for Interface {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        let outcome = self.net.receive(0, &mut self.frame);
        self.note(outcome)??;
        let Self { net, frame, error, .. } = self;
        Some((Received(frame), Transmit { net, error }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Transmit<'_>> {
        let outcome = self.net.has_room(0);
        if !self.note(outcome)? {
            return None;
        }
        Some(Transmit { net: &mut self.net, error: &mut self.error })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + ETHERNET_HEADER;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

/// A frame that was received.
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

/// Room for a frame to be sent.
pub struct Transmit<'a> {
    net: &'a mut Net,
    error: &'a mut Option<Error>,
}

impl phy::TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        // A queue that is full drops the frame, as a wire may.
        if let Err(error) = self.net.send(0, &frame, None).and_then(|_| self.net.kick()) {
            *self.error = Some(error);
        }
        result
    }
}
