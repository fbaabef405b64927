//! The card's Ethernet ports, and what they can be connected to.

mod cable;
mod os;
mod packet_socket;
mod port;
mod pump;
mod replay;
mod tap;

pub(crate) use port::EthernetPorts;
pub use port::{EthernetCounters, EthernetPort};
pub(crate) use replay::Frame as ReplayFrame;

use pump::Pump;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use nitride_abi::virtio::net::FRAME_BYTES;
use pcap_file::DataLink;

use crate::Simulator;
use crate::pcapng::Writer;
use cable::Cable;

/// What an Ethernet port's cable leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A TAP device of this host, which is made if it is not there.
    Tap(String),
    /// An Ethernet interface of this host (one end of a veth pair, say): all frames that it receives, also those for others.
    Interface(String),
    /// A port of another simulated card: both name the same socket, and whichever is there first waits for the other.
    Card(PathBuf),
    /// The frames of a pcapng file, at their times after the start.
    Replay(PathBuf),
}

/// Something that carries whole frames without FCS to and from a port.
trait Wire: Send + Sync {
    /// Becomes readable when there is a frame, or when the other end is gone.
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_>;
    /// Sends a frame, at once or not at all.
    fn send(&self, frame: &[u8]) -> io::Result<()>;
    /// Takes the next frame's bytes into `buffer`, if one is there that the card can have; `Ok(None)` if there is none for now.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
}

/// Why a port cannot be connected: what was asked, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("Ethernet port {port}: {what}: {source}{hint}")]
pub struct AttachError {
    port: usize,
    what: String,
    source: io::Error,
    hint: &'static str,
}

/// A connected port. Dropping it pulls the cable.
pub struct Attachment {
    _pump: Option<Pump>,
}

impl Attachment {
    /// Connects Ethernet port `port`, and writes what passes to `capture`.
    pub fn new(
        simulator: &Simulator,
        port: usize,
        peer: Option<&Peer>,
        capture: Option<&std::path::Path>,
    ) -> Result<Self, AttachError> {
        let wrong =
            |what: String| move |source: io::Error| AttachError { port, what, hint: hint(&source), source };
        if let Some(path) = capture {
            let capture = Writer::create(path, DataLink::ETHERNET, "ethernet")
                .map_err(wrong(format!("capture {}", path.display())))?;
            let begun = simulator.with(move |system| system.ethernet(port).capture(capture));
            begun.map_err(|error| wrong("capture".into())(io::Error::other(error)))?;
        }
        let pump = match peer {
            None => None,
            Some(Peer::Tap(name)) => {
                let wire = tap::Tap::open(name).map_err(wrong(format!("TAP device {name}")))?;
                Some(Pump::wire(simulator, port, Arc::new(wire)))
            }
            Some(Peer::Interface(name)) => {
                let wire =
                    packet_socket::PacketSocket::open(name).map_err(wrong(format!("interface {name}")))?;
                Some(Pump::wire(simulator, port, Arc::new(wire)))
            }
            Some(Peer::Card(path)) => {
                let cable = Cable::new(path).map_err(wrong(format!("card at {}", path.display())))?;
                Some(Pump::cable(simulator, port, cable))
            }
            Some(Peer::Replay(path)) => {
                let frames = replay::read(path).map_err(wrong(format!("replay {}", path.display())))?;
                let begun = simulator.with(move |system| system.replay(port, frames));
                begun.map_err(|error| wrong("replay".into())(io::Error::other(error)))?;
                None
            }
        };
        let pump = pump.transpose().map_err(wrong("its thread".into()))?;
        Ok(Self { _pump: pump })
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; it takes CAP_NET_ADMIN and CAP_NET_RAW: run as root, or in `unshare -rn`"
        }
        _ => "",
    }
}

/// Sends all of a frame or fails.
fn write_frame(descriptor: impl AsFd, frame: &[u8]) -> io::Result<()> {
    let written = rustix::io::write(descriptor, frame)?;
    if written == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// A buffer that shows that a frame was longer than the longest: by one byte.
fn frame_buffer() -> Vec<u8> {
    vec![0; FRAME_BYTES + 1]
}
