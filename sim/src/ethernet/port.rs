//! The line of an Ethernet port: frames in and out, a beat a cycle.

use std::collections::VecDeque;

use nitride_abi::tlp::BEAT_BYTES;
use nitride_abi::virtio::net::FRAME_BYTES;

use super::ReplayFrame;
use crate::edge::{EthernetInputs, EthernetOutputs, PacketBeat};
use crate::pcapng::{Direction, Writer};

/// Ethernet ports of a card.
pub(crate) const PORTS: usize = nitride_abi::card::ETHERNET_PORTS;
/// The shortest frame without its FCS: shorter ones are padded with zeroes, as a MAC does (IEEE 802.3 §3.2.7).
const SHORTEST: usize = 60;
/// Frames that wait for the card; more are lost.
const WAITING: usize = 1024;
/// Frames that left the card and that nobody has fetched; more are lost.
const KEPT: usize = 4096;

/// What went over a port's line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct EthernetCounters {
    /// Frames to the card, and their bytes.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames from the card.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that the card never saw: too long, empty, or too many at once.
    pub receive_drops: u64,
    /// Frames of the card that the other end did not take.
    pub send_drops: u64,
}

/// Takes a frame of the card to the other end of the cable; `false` if it was lost.
pub(crate) type Transmit = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// One Ethernet port of a card, seen from its cable. Frames have no FCS.
#[derive(Default)]
pub struct EthernetPort {
    /// Frames for the card, with the cycle before which they are not there.
    arriving: VecDeque<(u64, Vec<u8>)>,
    /// Bytes of the first of them that the card has taken.
    taken: usize,
    leaving: Vec<u8>,
    departed: VecDeque<Vec<u8>>,
    transmit: Option<Transmit>,
    link: bool,
    capture: Option<Writer>,
    counters: EthernetCounters,
}

impl EthernetPort {
    /// A frame for the card.
    pub fn send(&mut self, frame: &[u8]) {
        if self.arriving.len() < WAITING {
            self.queue(0, frame.to_vec());
        } else {
            self.counters.receive_drops += 1;
        }
    }

    /// The next frame that the card sent, where no peer is connected to take it.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.departed.pop_front()
    }

    /// Sets the link's state as the card sees it, without a peer.
    pub fn set_link(&mut self, up: bool) {
        self.link = up;
    }

    /// Whether the link is up.
    pub fn link(&self) -> bool {
        self.link
    }

    /// What went over the line so far.
    pub fn counters(&self) -> EthernetCounters {
        self.counters
    }

    fn queue(&mut self, due: u64, mut frame: Vec<u8>) {
        if frame.is_empty() || frame.len() > FRAME_BYTES {
            self.counters.receive_drops += 1;
            return;
        }
        frame.resize(frame.len().max(SHORTEST), 0);
        self.arriving.push_back((due, frame));
    }

    pub(crate) fn replay(&mut self, now: u64, frames: Vec<ReplayFrame>) {
        self.link = true;
        for ReplayFrame { cycle, data } in frames {
            self.queue(now + cycle, data);
        }
    }

    pub(super) fn connect(&mut self, transmit: Transmit) {
        self.transmit = Some(transmit);
        self.link = true;
    }

    pub(super) fn disconnect(&mut self) {
        self.transmit = None;
        self.link = false;
    }

    pub(super) fn capture(&mut self, capture: Writer) {
        self.capture = Some(capture);
    }

    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.arriving.front().map(|(due, _)| *due)
    }

    fn drive(&self, now: u64, inputs: &mut EthernetInputs) {
        inputs.link = self.link;
        inputs.tx_ready = true;
        inputs.rx = self.arriving.front().filter(|(due, _)| *due <= now).map(|(_, frame)| {
            let rest = &frame[self.taken..];
            let bytes = rest.len().min(BEAT_BYTES);
            let mut data = [0; BEAT_BYTES];
            data[..bytes].copy_from_slice(&rest[..bytes]);
            PacketBeat { data, bytes: bytes as u8, last: rest.len() <= BEAT_BYTES }
        });
    }

    fn sample(&mut self, now: u64, inputs: &EthernetInputs, outputs: &EthernetOutputs) -> Result<(), String> {
        if let Some(beat) = &inputs.rx
            && outputs.rx_ready
        {
            self.taken += usize::from(beat.bytes);
            if beat.last
                && let Some((_, frame)) = self.arriving.pop_front()
            {
                self.taken = 0;
                self.counters.received += 1;
                self.counters.received_bytes += frame.len() as u64;
                self.record(now, Direction::Inbound, &frame);
            }
        }
        match &outputs.tx {
            Some(beat) => self.leave(now, beat),
            None => Ok(()),
        }
    }

    /// A beat of a frame of the card.
    fn leave(&mut self, now: u64, beat: &PacketBeat) -> Result<(), String> {
        let bytes = usize::from(beat.bytes);
        let whole = bytes == BEAT_BYTES || (beat.last && (1..BEAT_BYTES).contains(&bytes));
        if !whole || self.leaving.len() + bytes > FRAME_BYTES {
            return Err(format!("{bytes} bytes in a beat after {} of a frame", self.leaving.len()));
        }
        self.leaving.extend_from_slice(&beat.data[..bytes]);
        if !beat.last {
            return Ok(());
        }
        let mut frame = std::mem::take(&mut self.leaving);
        frame.resize(frame.len().max(SHORTEST), 0);
        self.counters.sent += 1;
        self.counters.sent_bytes += frame.len() as u64;
        self.record(now, Direction::Outbound, &frame);
        let lost = match &mut self.transmit {
            Some(transmit) => !transmit(&frame),
            None if self.departed.len() == KEPT => true,
            None => {
                self.departed.push_back(frame);
                false
            }
        };
        self.counters.send_drops += u64::from(lost);
        Ok(())
    }

    fn record(&mut self, now: u64, direction: Direction, frame: &[u8]) {
        if let Some(capture) = &mut self.capture
            && let Err(error) = capture.packet(now, direction, frame)
        {
            tracing::warn!("capture: {error}");
            self.capture = None;
        }
    }
}

/// All ports of a card.
#[derive(Default)]
pub(crate) struct EthernetPorts([EthernetPort; PORTS]);

impl EthernetPorts {
    pub(crate) fn port(&mut self, index: usize) -> &mut EthernetPort {
        &mut self.0[index]
    }

    /// Whether a beat waits at the card's ports, or a frame is half way over the line.
    pub(crate) fn is_busy(&self, inputs: &[EthernetInputs; PORTS]) -> bool {
        self.0.iter().zip(inputs).any(|(port, inputs)| inputs.rx.is_some() || !port.leaving.is_empty())
    }

    /// The cycle in which the next frame is there for the card.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.0.iter().filter_map(EthernetPort::next_arrival).min()
    }

    pub(crate) fn drive(&self, now: u64, inputs: &mut [EthernetInputs; PORTS]) {
        self.0.iter().zip(inputs).for_each(|(port, inputs)| port.drive(now, inputs));
    }

    /// Takes what crossed the ports in this cycle; `wrong` hears what was against the rules.
    pub(crate) fn sample(
        &mut self,
        now: u64,
        inputs: &[EthernetInputs; PORTS],
        outputs: &[EthernetOutputs; PORTS],
        mut wrong: impl FnMut(String),
    ) {
        for (index, port) in self.0.iter_mut().enumerate() {
            if let Err(what) = port.sample(now, &inputs[index], &outputs[index]) {
                wrong(format!("Ethernet port {index}: {what}"));
            }
        }
    }

    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.0.iter_mut().filter_map(|port| port.capture.as_mut()).try_for_each(Writer::flush)
    }
}
