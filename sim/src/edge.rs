//! What crosses the card's ports in one clock cycle.

use nitride_abi::card::ETHERNET_PORTS;
use nitride_abi::tlp::BEAT_BYTES;

use crate::options::Trace;

/// A card, as the simulator sees it: its ports, one clock cycle at a time.
///
/// A handshake happens in a cycle in which both sides' valid and ready are set: an input that is `Some`
/// stays until the card's ready was seen with it, and the same the other way around.
pub trait Edge: Send {
    /// Simulates cycle `now`: with `inputs` on the card's inputs, gives what it drives in that cycle, then
    /// lets the clock's edge pass.
    fn cycle(&mut self, now: u64, inputs: &Inputs, outputs: &mut Outputs);

    /// Writes a waveform of all cycles from the one that `trace` says on.
    fn trace(&mut self, trace: &Trace) -> std::io::Result<()> {
        let _ = trace;
        Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "this build writes no waveforms; build with `--features nitride-sim/trace`",
        ))
    }
}

/// A beat of a TLP (`docs/interfaces.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The TLP's header, the same in each of its beats.
    pub header: [u32; 4],
    /// 8 DWs of payload in memory order.
    pub data: [u8; BEAT_BYTES],
    /// The TLP's last beat.
    pub last: bool,
}

/// A beat of an Ethernet frame (`docs/interfaces.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketBeat {
    /// Data, the frame's first byte first.
    pub data: [u8; BEAT_BYTES],
    /// Bytes of it that count: 32 in every beat but the last, there 1 to 32.
    pub bytes: u8,
    /// The frame's last beat.
    pub last: bool,
}

/// What an Ethernet port drives.
#[derive(Debug, Clone, Default)]
pub struct EthernetInputs {
    /// A beat to the card.
    pub rx: Option<PacketBeat>,
    /// Takes a beat of the card.
    pub tx_ready: bool,
    /// The link is up.
    pub link: bool,
}

/// What the card drives towards an Ethernet port.
#[derive(Debug, Clone, Default)]
pub struct EthernetOutputs {
    /// Takes a beat.
    pub rx_ready: bool,
    /// A beat from the card.
    pub tx: Option<PacketBeat>,
}

/// The card's inputs in one cycle.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// `rx`: a beat from the host.
    pub rx: Option<Beat>,
    /// `tx$ready`.
    pub tx_ready: bool,
    /// `tx_credit`: bit 0 posted, 1 non-posted, 2 completion.
    pub tx_credit: u8,
    /// From the media.
    pub media: MediaInputs,
    /// From the Ethernet ports.
    pub ethernet: [EthernetInputs; ETHERNET_PORTS],
}

/// The card's outputs in one cycle.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// `rx$ready`.
    pub rx_ready: bool,
    /// `tx`: a beat to the host.
    pub tx: Option<Beat>,
    /// To the media.
    pub media: MediaOutputs,
    /// To the Ethernet ports.
    pub ethernet: [EthernetOutputs; ETHERNET_PORTS],
    /// `busy`.
    pub busy: bool,
}

/// What the media drives.
#[derive(Debug, Clone, Default)]
pub struct MediaInputs {
    /// AXI4 AWREADY.
    pub aw_ready: bool,
    /// AXI4 WREADY.
    pub w_ready: bool,
    /// AXI4 B channel.
    pub b: Option<AxiDone>,
    /// AXI4 ARREADY.
    pub ar_ready: bool,
    /// AXI4 R channel.
    pub r: Option<AxiRead>,
    /// The request stream's ready.
    pub request_ready: bool,
    /// The response stream.
    pub response: Option<MediaResponse>,
}

impl MediaInputs {
    /// Whether no channel of the media's holds anything for the card.
    pub(crate) fn is_idle(&self) -> bool {
        self.b.is_none() && self.r.is_none() && self.response.is_none()
    }
}

/// What the card drives towards the media.
#[derive(Debug, Clone, Default)]
pub struct MediaOutputs {
    /// AXI4 AW channel.
    pub aw: Option<AxiAddress>,
    /// AXI4 W channel.
    pub w: Option<AxiWrite>,
    /// AXI4 BREADY.
    pub b_ready: bool,
    /// AXI4 AR channel.
    pub ar: Option<AxiAddress>,
    /// AXI4 RREADY.
    pub r_ready: bool,
    /// The request stream.
    pub request: Option<MediaRequest>,
    /// The response stream's ready.
    pub response_ready: bool,
}

/// An AXI4 address: always an incrementing burst of full 32-byte beats (AxSIZE 5, AxBURST INCR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxiAddress {
    /// Transaction ID, 6 bits.
    pub id: u8,
    /// First byte, 48 bits.
    pub address: u64,
    /// Beats less one.
    pub len: u8,
}

/// A beat of AXI4 write data: the card has no WSTRB, all bytes are written (`docs/interfaces.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxiWrite {
    /// Data.
    pub data: [u8; BEAT_BYTES],
    /// The burst's last.
    pub last: bool,
}

/// A beat of AXI4 read data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxiRead {
    /// Transaction ID.
    pub id: u8,
    /// Data.
    pub data: [u8; BEAT_BYTES],
    /// RRESP: 0 OKAY, 2 SLVERR, 3 DECERR.
    pub response: u8,
    /// The burst's last.
    pub last: bool,
}

/// An AXI4 write response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxiDone {
    /// Transaction ID.
    pub id: u8,
    /// BRESP, as [`AxiRead::response`].
    pub response: u8,
}

/// What the media does beside reading and writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaOperation {
    /// Make durable what was written in the range.
    Flush,
    /// Give the range's contents up; it reads as zeroes.
    Discard,
    /// The range reads as zeroes.
    WriteZeroes,
}

/// A request of the media stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaRequest {
    /// What to do.
    pub operation: MediaOperation,
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Returned with the response, 6 bits.
    pub id: u8,
}

/// A response of the media stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaResponse {
    /// The request's.
    pub id: u8,
    /// It failed.
    pub error: bool,
}
