//! A host that answers memory reads in every legal way, and in some others.

use nitride_abi::tlp::{Header, Kind, Status};
use rand::Rng;
use rand::rngs::SmallRng;

/// The DW at a host address: a hash, so that every address has other data and none has to be stored.
pub fn memory(address: u64) -> u32 {
    let mut x = (address >> 2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as u32
}

/// A TLP as the bench moves it: header words and payload DWs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlp {
    pub header: [u32; 4],
    pub payload: Vec<u32>,
}

impl Tlp {
    /// A TLP without a payload is one beat, else 8 DWs are one.
    pub fn beats(&self) -> usize {
        self.payload.len().div_ceil(8).max(1)
    }
}

/// What happens to a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// Another status than Successful, in the place of some completion.
    Refused(Status),
    /// Some completion is poisoned.
    Poisoned,
    /// Some completion has a wrong Byte Count.
    ByteCount,
    /// Some completion has a wrong Lower Address.
    LowerAddress,
    /// Some completion carries more than was asked for.
    TooLong,
    /// Some completion is without data.
    NoData,
    /// Some completion ends before its Length says so.
    Cut,
    /// Nothing comes after some completion.
    Lost,
}

impl Fate {
    pub const BAD: [Self; 10] = [
        Self::Refused(Status::UnsupportedRequest),
        Self::Refused(Status::CompleterAbort),
        Self::Refused(Status::Retry),
        Self::Poisoned,
        Self::ByteCount,
        Self::LowerAddress,
        Self::TooLong,
        Self::NoData,
        Self::Cut,
        Self::Lost,
    ];
}

/// A read that the host has not answered fully.
#[derive(Debug, Clone)]
struct Read {
    requester: u16,
    tag: u8,
    address: u64,
    /// DWs.
    length: usize,
    sent: usize,
    fate: Fate,
    /// The fate strikes at the first completion that begins at or after this DW.
    strike: usize,
}

/// Completes reads, several at a time.
pub struct Host {
    rng: SmallRng,
    reads: Vec<Read>,
    /// Reads that were lost.
    lost: Vec<Read>,
    /// Reads that were lost and that nobody waits for any more.
    late: Vec<Read>,
    /// Read completion boundary in bytes: 64 or 128.
    pub rcb: usize,
    /// Max_Payload_Size in bytes.
    pub mps: usize,
    /// In a thousand reads.
    pub bad: u32,
    /// Answer in order, with the largest completions.
    pub orderly: bool,
    /// Of the bad fates, only `Lost`.
    pub only_lost: bool,
}

impl Host {
    pub fn new(rng: SmallRng) -> Self {
        let (reads, lost, late) = Default::default();
        Self { rng, reads, lost, late, rcb: 64, mps: 256, bad: 0, orderly: false, only_lost: false }
    }

    /// Takes a memory read, and tells what will become of it.
    pub fn take(&mut self, header: &Header) -> Fate {
        let Kind::Memory { write: false, requester, tag, address, .. } = header.kind else {
            panic!("not a memory read: {header:?}");
        };
        let again = self.reads.iter().find(|r| r.tag == tag);
        assert!(again.is_none(), "tag {tag:#x} is used twice at a time: {again:?}");
        let length = usize::from(header.length);
        let fate = if self.rng.random_ratio(self.bad, 1000) {
            if self.only_lost { Fate::Lost } else { Fate::BAD[self.rng.random_range(0..Fate::BAD.len())] }
        } else {
            Fate::Answered
        };
        let strike = if self.rng.random() { 0 } else { self.rng.random_range(0..length) };
        self.reads.push(Read { requester, tag, address, length, sent: 0, fate, strike });
        fate
    }

    /// Whether something of `bytes` from `address` on is not answered yet.
    pub fn owes(&self, address: u64, bytes: u64) -> bool {
        self.reads.iter().any(|r| r.address >= address && r.address < address + bytes)
    }

    /// Nobody waits for `bytes` from `address` on any more: what was lost of it is late from now on.
    pub fn give_up(&mut self, address: u64, bytes: u64) {
        let over = |read: &mut Read| read.address >= address && read.address < address + bytes;
        self.late.extend(self.lost.extract_if(.., over));
    }

    pub fn idle(&self) -> bool {
        self.reads.is_empty()
    }

    /// The next completion; `None` when there is nothing to answer.
    pub fn completion(&mut self) -> Option<Tlp> {
        if self.reads.is_empty() {
            return None;
        }
        let at = if self.orderly { 0 } else { self.rng.random_range(0..self.reads.len()) };
        let read = self.reads[at].clone();
        let start = read.address + 4 * read.sent as u64;
        let left = read.length - read.sent;
        let most = self.mps.min(self.rcb * if self.orderly { 64 } else { self.rng.random_range(1..=4) });
        // It ends with the read or at a multiple of RCB (PCIe 4.0 §2.3.1.1).
        let boundary = (start as usize + most.max(self.rcb)) / self.rcb * self.rcb - start as usize;
        let dws = left.min(boundary / 4).min(self.mps / 4);
        let mut completion = complete(&read, dws);
        let mut keep = usize::MAX;
        let strikes = read.fate != Fate::Answered && (read.sent + dws > read.strike);
        let ends = if strikes {
            let Kind::Completion { data, status, byte_count, lower_address, .. } = &mut completion.kind
            else {
                unreachable!()
            };
            match read.fate {
                Fate::Answered => unreachable!(),
                Fate::Refused(why) => {
                    (*status, *data, completion.length) = (why, false, 0);
                    true
                }
                Fate::NoData => {
                    (*data, completion.length) = (false, 0);
                    true
                }
                Fate::Cut => {
                    keep = 8 * self.rng.random_range(1..=(dws.max(9) - 1) / 8);
                    // One of a single beat can't be cut: it carries nothing at all then.
                    (*data, completion.length) = if dws > 8 { (true, completion.length) } else { (false, 0) };
                    true
                }
                Fate::Poisoned => {
                    completion.poisoned = true;
                    dws == left
                }
                Fate::ByteCount => {
                    let wrong = (4 * left + 4 * self.rng.random_range(1..1024)) % 4096;
                    *byte_count = if wrong == 0 { 4096 } else { wrong as u16 };
                    true
                }
                Fate::LowerAddress => {
                    *lower_address ^= 1 << self.rng.random_range(0..7);
                    true
                }
                Fate::TooLong => {
                    completion.length = (left + self.rng.random_range(1..20)).min(1023) as u16;
                    true
                }
                Fate::Lost => {
                    self.lost.push(self.reads.remove(at));
                    return None;
                }
            }
        } else {
            dws == left
        };
        if ends {
            self.reads.remove(at);
        } else {
            self.reads[at].sent += dws;
        }
        let mut tlp = emit(&completion, start);
        tlp.payload.truncate(keep);
        Some(tlp)
    }

    /// A completion that nobody expects: a late one, one of another requester, or of a tag that is not in use.
    pub fn stray(&mut self) -> Option<Tlp> {
        if let Some(late) = self.late_completion() {
            return Some(late);
        }
        let mut read = self.reads.first()?.clone();
        if self.rng.random() {
            read.requester ^= 1 << self.rng.random_range(0..16);
        } else {
            // Another generation of the same tag.
            read.tag ^= 1 << self.rng.random_range(6..8);
        }
        Some(some_of(&read))
    }

    /// A completion of a read that was lost, after its time. The oldest comes first: a tag's generations are few, and one that
    /// is later than all of them cannot be told from a read's own.
    pub fn late_completion(&mut self) -> Option<Tlp> {
        (!self.late.is_empty()).then(|| some_of(&self.late.remove(0)))
    }
}

/// The next 16 DWs of what is left of `read`.
fn some_of(read: &Read) -> Tlp {
    let dws = (read.length - read.sent).min(16);
    emit(&complete(read, dws), read.address + 4 * read.sent as u64)
}

/// The completion of `read` with its next `dws` DWs.
fn complete(read: &Read, dws: usize) -> Header {
    let start = read.address + 4 * read.sent as u64;
    let byte_count = 4 * (read.length - read.sent) as u16;
    Header::new(
        dws as u16,
        Kind::Completion {
            data: true,
            completer: 0,
            status: Status::Success,
            byte_count,
            requester: read.requester,
            tag: read.tag,
            lower_address: (start & 0x7f) as u8,
        },
    )
}

fn emit(header: &Header, start: u64) -> Tlp {
    let payload = (0..header.payload_dws() as u64).map(|i| memory(start + 4 * i)).collect();
    Tlp { header: header.emit(), payload }
}
