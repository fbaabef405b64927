//! A device that sends numbered frames to another one, to see how many pass.

use super::{Net, Result};

/// Where a frame's number is: after addresses and EtherType.
const NUMBER: usize = 14;
/// The EtherType of local experiments (IEEE 802.3 §3.2.6, IEEE 802 §9.2.4).
const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];

/// Queue pair 0 of a [`Net`], as one end of a measurement.
pub struct Station {
    net: Net,
    frame: Vec<u8>,
    arrived: Vec<u8>,
    /// Frames that were given to the device.
    pub sent: u64,
    /// Frames that came from the other station.
    pub received: u64,
    /// The number after that of the last one: what is more than [`Station::received`] was lost on the way.
    pub next: u64,
}

impl Station {
    /// The shortest frame that has a number, in bytes.
    pub const SHORTEST: usize = NUMBER + 8;

    /// Sends frames of so many bytes, [`Station::SHORTEST`] at least, to the device with that MAC address.
    pub fn new(net: Net, to: [u8; 6], bytes: usize) -> Self {
        let frame = Self::frame(to, net.mac(), bytes);
        Self { net, frame, arrived: Vec::new(), sent: 0, received: 0, next: 0 }
    }

    /// A frame of so many bytes, [`Station::SHORTEST`] at least, as stations send them; its number is 0.
    pub fn frame(to: [u8; 6], from: [u8; 6], bytes: usize) -> Vec<u8> {
        let mut frame = [&to[..], &from, &ETHER_TYPE].concat();
        frame.resize(bytes.max(Self::SHORTEST), 0);
        frame
    }

    /// Gives such a frame another number.
    pub fn number(frame: &mut [u8], number: u64) {
        frame[NUMBER..Self::SHORTEST].copy_from_slice(&number.to_le_bytes());
    }

    /// Sends frames until `limit` are sent in all, or the queue is full.
    pub fn send(&mut self, limit: u64) -> Result<()> {
        let before = self.sent;
        while self.sent < limit {
            Self::number(&mut self.frame, self.sent);
            if !self.net.send(0, &self.frame, None)? {
                break;
            }
            self.sent += 1;
        }
        if self.sent > before { self.net.kick() } else { Ok(()) }
    }

    /// Takes what has come. Frames of others do not count.
    pub fn receive(&mut self) -> Result<()> {
        while self.net.receive(0, &mut self.arrived)?.is_some() {
            if self.arrived.get(12..NUMBER) != Some(&ETHER_TYPE) {
                continue;
            }
            let Some(number) = self.arrived.get(NUMBER..Self::SHORTEST).and_then(|n| n.try_into().ok())
            else {
                continue;
            };
            let number = u64::from_le_bytes(number);
            self.next = self.next.max(number.saturating_add(1));
            self.received += 1;
        }
        Ok(())
    }
}
