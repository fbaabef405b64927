//! The host as a requester: configuration and memory requests to the card, and their completions.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use nitride_abi::tlp::{Header, Kind, Status, byte_enables};

use crate::system::BUS;
use crate::tlp::Tlp;

/// Tags that belong to TLPs injected raw: their completions are handed out as they came.
pub(crate) const RAW_TAGS: RangeInclusive<u8> = 0xf0..=0xff;

/// The root complex itself, `00:00.0`.
const REQUESTER_ID: u16 = 0;

/// Names a request until its outcome is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A non-posted request of the host to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRequest {
    /// 1 to 4 bytes of configuration space, inside of one DW.
    ConfigRead {
        /// The function's number.
        function: u8,
        /// Byte offset, below 4096.
        offset: u16,
        /// Bytes.
        len: u8,
    },
    /// As [`HostRequest::ConfigRead`], the other way.
    ConfigWrite {
        /// The function's number.
        function: u8,
        /// Byte offset, below 4096.
        offset: u16,
        /// Bytes.
        len: u8,
        /// Little-endian, in the low bytes.
        value: u32,
    },
    /// 1 to 4096 bytes of memory space, inside of one 4 KiB page.
    MemoryRead {
        /// Bus address.
        address: u64,
        /// Bytes.
        len: u16,
    },
}

/// Why a request brought no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The card completed it with a status other than success.
    #[error("{}", .0.name())]
    Status(Status),
    /// Its data was poisoned.
    #[error("poisoned data")]
    Poisoned,
    /// No completion came in time.
    #[error("completion timeout")]
    Timeout,
    /// The request itself is impossible: it crosses a DW or a page, or has no length.
    #[error("impossible request")]
    Invalid,
}

/// How a request ended: the bytes that were read (none for a write).
pub type Outcome = Result<Vec<u8>, Failure>;

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    /// Address of the next byte to come; its low 7 bits are what the completion must say.
    at: u64,
    left: usize,
    config: bool,
    data: Vec<u8>,
}

/// The host's outstanding non-posted requests.
#[derive(Debug)]
pub(crate) struct Requester {
    next_ticket: u64,
    next_tag: u8,
    tags: Vec<Option<Pending>>,
    waiting: VecDeque<(Ticket, HostRequest)>,
    deadlines: VecDeque<(u64, u8, Ticket)>,
    finished: VecDeque<(Ticket, Outcome)>,
}

impl Requester {
    pub(crate) fn new() -> Self {
        Self {
            next_ticket: 0,
            next_tag: 0,
            tags: (0..256).map(|_| None).collect(),
            waiting: VecDeque::new(),
            deadlines: VecDeque::new(),
            finished: VecDeque::new(),
        }
    }

    /// Requests without an outcome so far.
    pub(crate) fn outstanding(&self) -> usize {
        self.waiting.len() + self.deadlines.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.front().map(|(cycle, ..)| *cycle)
    }

    /// Begins a request. `send` gets its TLP, at once or when a tag is free.
    pub(crate) fn begin(&mut self, request: HostRequest, deadline: u64, send: impl FnMut(Tlp)) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        if is_possible(&request) {
            self.waiting.push_back((ticket, request));
            self.issue(deadline, send);
        } else {
            self.finished.push_back((ticket, Err(Failure::Invalid)));
        }
        ticket
    }

    /// Issues what waits, in order, as far as tags go.
    fn issue(&mut self, deadline: u64, mut send: impl FnMut(Tlp)) {
        while let Some(&(ticket, request)) = self.waiting.front() {
            let Some(tag) = self.free_tag() else { return };
            self.waiting.pop_front();
            let (tlp, at, left, config) = encode(&request, tag);
            send(tlp);
            self.next_tag = tag.wrapping_add(1);
            self.tags[usize::from(tag)] =
                Some(Pending { ticket, at, left, config, data: Vec::with_capacity(left) });
            self.deadlines.push_back((deadline, tag, ticket));
        }
    }

    /// Tags are given round robin, so that a completion that comes after its timeout meets no other request.
    fn free_tag(&self) -> Option<u8> {
        (0..=255u8)
            .map(|n| self.next_tag.wrapping_add(n))
            .find(|tag| !RAW_TAGS.contains(tag) && self.tags[usize::from(*tag)].is_none())
    }

    /// Takes a completion of the card. `Err` says how it breaks the rules; it changes nothing then.
    pub(crate) fn complete(
        &mut self,
        header: &Header,
        payload: &[u8],
        deadline: u64,
        send: impl FnMut(Tlp),
    ) -> Result<(), String> {
        let Kind::Completion { data, status, byte_count, tag, lower_address, .. } = header.kind else {
            return Ok(());
        };
        let slot = &mut self.tags[usize::from(tag)];
        let Some(pending) = slot else {
            return Err(format!("a completion for tag {tag:#x}, which no request has"));
        };
        let outcome = if status != Status::Success {
            if data {
                return Err(format!("a completion with data and the status {}", status.name()));
            }
            Err(Failure::Status(status))
        } else if header.poisoned {
            Err(Failure::Poisoned)
        } else if data {
            let (lead, count) =
                if pending.config { (0, 4) } else { ((pending.at % 4) as usize, pending.left) };
            let expected = if pending.config { 0 } else { (pending.at & 0x7f) as u8 };
            if usize::from(byte_count) != count || lower_address != expected {
                return Err(format!(
                    "a completion of tag {tag:#x} has byte count {byte_count} and lower address {lower_address:#x}, \
                     not {count} and {expected:#x}"
                ));
            }
            let bytes = payload.len().saturating_sub(lead).min(count);
            if payload.len() > (lead + count).next_multiple_of(4) || bytes == 0 {
                return Err(format!(
                    "a completion of tag {tag:#x} has {} bytes of data for {count}",
                    payload.len()
                ));
            }
            if pending.config {
                let start = (pending.at % 4) as usize;
                pending.data.extend_from_slice(&payload[start..start + pending.left]);
                pending.left = 0;
            } else {
                pending.data.extend_from_slice(&payload[lead..lead + bytes]);
                pending.at += bytes as u64;
                pending.left -= bytes;
            }
            if pending.left > 0 {
                return Ok(());
            }
            Ok(std::mem::take(&mut pending.data))
        } else {
            if pending.left > 0 {
                return Err(format!("a completion of tag {tag:#x}, a read, has no data"));
            }
            Ok(Vec::new())
        };
        let ticket = pending.ticket;
        *slot = None;
        self.deadlines.retain(|(_, _, t)| *t != ticket);
        self.finished.push_back((ticket, outcome));
        self.issue(deadline, send);
        Ok(())
    }

    /// Fails the requests whose time is up; says how many.
    pub(crate) fn expire(&mut self, now: u64, deadline: u64, send: impl FnMut(Tlp)) -> u64 {
        let mut expired = 0;
        while let Some((_, tag, ticket)) = self.deadlines.pop_front_if(|(cycle, ..)| *cycle <= now) {
            self.tags[usize::from(tag)] = None;
            self.finished.push_back((ticket, Err(Failure::Timeout)));
            expired += 1;
        }
        if expired > 0 {
            self.issue(deadline, send);
        }
        expired
    }

    /// The outcome of one request, if it has one.
    pub(crate) fn poll(&mut self, ticket: Ticket) -> Option<Outcome> {
        let index = self.finished.iter().position(|(t, _)| *t == ticket)?;
        self.finished.remove(index).map(|(_, outcome)| outcome)
    }

    /// Any request that has ended.
    pub(crate) fn take_finished(&mut self) -> Option<(Ticket, Outcome)> {
        self.finished.pop_front()
    }
}

fn is_possible(request: &HostRequest) -> bool {
    match *request {
        HostRequest::ConfigRead { offset, len, .. } | HostRequest::ConfigWrite { offset, len, .. } => {
            offset < 4096 && (1..=4 - (offset % 4) as u8).contains(&len)
        }
        HostRequest::MemoryRead { address, len } => len > 0 && u64::from(len) <= 4096 - address % 4096,
    }
}

/// The TLP of a request, the address of its first byte, the bytes it expects, and whether it is for
/// configuration space.
fn encode(request: &HostRequest, tag: u8) -> (Tlp, u64, usize, bool) {
    let requester = REQUESTER_ID;
    let routing = |function: u8| u16::from(BUS) << 8 | u16::from(function);
    match *request {
        HostRequest::ConfigRead { function, offset, len }
        | HostRequest::ConfigWrite { function, offset, len, .. } => {
            let (_, first, _) = byte_enables(u64::from(offset), usize::from(len));
            let write = matches!(request, HostRequest::ConfigWrite { .. });
            let kind = Kind::Config {
                write,
                forwarded: false,
                requester,
                tag,
                first,
                target: routing(function),
                offset: offset & !3,
            };
            let mut payload = Vec::new();
            if let HostRequest::ConfigWrite { value, .. } = *request {
                payload.extend_from_slice(&(value << (8 * (offset % 4))).to_le_bytes());
            }
            let left = if write { 0 } else { usize::from(len) };
            (Tlp::new(&Header::new(1, kind), payload), u64::from(offset), left, true)
        }
        HostRequest::MemoryRead { address, len } => {
            let (length, first, last) = byte_enables(address, usize::from(len));
            let kind = Kind::Memory { write: false, requester, tag, first, last, address: address & !3 };
            (Tlp::new(&Header::new(length, kind), Vec::new()), address, usize::from(len), false)
        }
    }
}

/// The posted write of 1 to 4096 bytes of memory space, inside of one 4 KiB page; `None` if they are not that.
pub(crate) fn posted_write(address: u64, data: &[u8]) -> Option<Tlp> {
    if data.is_empty() || data.len() as u64 > 4096 - address % 4096 {
        return None;
    }
    let (length, first, last) = byte_enables(address, data.len());
    let kind =
        Kind::Memory { write: true, requester: REQUESTER_ID, tag: 0, first, last, address: address & !3 };
    let lead = (address % 4) as usize;
    let mut payload = vec![0; 4 * usize::from(length)];
    payload[lead..lead + data.len()].copy_from_slice(data);
    Some(Tlp::new(&Header::new(length, kind), payload))
}
