//! Transaction-layer packet headers (PCIe 4.0 §2.2).
//!
//! A header is four 32-bit words, DW 0 first. Inside a word, byte 0 of the specification's figures is in
//! bits 31:24. The 128-bit `hdr` port of the card is DW 0 in bits 31:0, DW 1 in 63:32 and so on;
//! [`Field::bit`] counts in it.

/// A field of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The word it is in, 0 to 3.
    pub dw: usize,
    /// Its lowest bit in that word.
    pub lsb: usize,
    /// Its width in bits.
    pub width: usize,
}

impl Field {
    const fn new(dw: usize, lsb: usize, width: usize) -> Self {
        Self { dw, lsb, width }
    }

    /// Its lowest bit in the 128-bit header.
    #[must_use]
    pub const fn bit(self) -> usize {
        32 * self.dw + self.lsb
    }

    const fn mask(self) -> u32 {
        (((1u64 << self.width) - 1) << self.lsb) as u32
    }

    /// Its value in `header`.
    #[must_use]
    pub const fn get(self, header: &[u32; 4]) -> u32 {
        (header[self.dw] & self.mask()) >> self.lsb
    }

    /// Puts the low bits of `value` into `header`.
    pub const fn set(self, header: &mut [u32; 4], value: u32) {
        header[self.dw] = (header[self.dw] & !self.mask()) | ((value << self.lsb) & self.mask());
    }
}

/// Fmt (§2.2.1, Table 2-2): see [`FMT_3DW`] and its neighbours.
pub const FMT: Field = Field::new(0, 29, 3);
/// Type (§2.2.1, Table 2-3).
pub const TYPE: Field = Field::new(0, 24, 5);
/// Traffic class.
pub const TRAFFIC_CLASS: Field = Field::new(0, 20, 3);
/// T9: bit 9 of a 10-bit tag.
pub const TAG_9: Field = Field::new(0, 23, 1);
/// T8: bit 8 of a 10-bit tag.
pub const TAG_8: Field = Field::new(0, 19, 1);
/// Attr\[2\]: ID-based ordering.
pub const ATTR_IDO: Field = Field::new(0, 18, 1);
/// TLP hints present.
pub const HINTS: Field = Field::new(0, 16, 1);
/// TD: a digest follows.
pub const DIGEST: Field = Field::new(0, 15, 1);
/// EP: the payload is poisoned (§2.7.2).
pub const POISONED: Field = Field::new(0, 14, 1);
/// Attr\[1:0\]: relaxed ordering (bit 1), no snoop (bit 0).
pub const ATTR: Field = Field::new(0, 12, 2);
/// Address type (ATS); 0 untranslated.
pub const ADDRESS_TYPE: Field = Field::new(0, 10, 2);
/// Payload (or requested) length in DWs; 0 stands for 1024.
pub const LENGTH: Field = Field::new(0, 0, 10);

/// Requests: requester ID (bus 15:8, function 7:0 under ARI).
pub const REQUESTER: Field = Field::new(1, 16, 16);
/// Requests: tag.
pub const TAG: Field = Field::new(1, 8, 8);
/// Memory requests: byte enables of the last DW, 0 for a request of one DW (§2.2.5).
pub const LAST_BE: Field = Field::new(1, 4, 4);
/// Memory and configuration requests: byte enables of the first DW.
pub const FIRST_BE: Field = Field::new(1, 0, 4);
/// 3-DW memory requests: address bits 31:2, with bits 1:0 zero.
pub const ADDRESS_32: Field = Field::new(2, 0, 32);
/// 4-DW memory requests: address bits 63:32.
pub const ADDRESS_HIGH: Field = Field::new(2, 0, 32);
/// 4-DW memory requests: address bits 31:2, with bits 1:0 zero.
pub const ADDRESS_LOW: Field = Field::new(3, 0, 32);
/// Configuration requests: the routing ID they are for.
pub const CONFIG_TARGET: Field = Field::new(2, 16, 16);
/// Configuration requests: extended register number and register number, in DWs.
pub const CONFIG_REGISTER: Field = Field::new(2, 2, 10);
/// Completions: completer ID.
pub const COMPLETER: Field = Field::new(1, 16, 16);
/// Completions: status, see [`Status`].
pub const STATUS: Field = Field::new(1, 13, 3);
/// Completions: bytes still to come, this completion's included; 0 stands for 4096 (§2.2.9).
pub const BYTE_COUNT: Field = Field::new(1, 0, 12);
/// Completions: the ID of the requester they return to.
pub const COMPLETION_REQUESTER: Field = Field::new(2, 16, 16);
/// Completions: the request's tag.
pub const COMPLETION_TAG: Field = Field::new(2, 8, 8);
/// Completions: address bits 6:0 of the first enabled byte returned.
pub const LOWER_ADDRESS: Field = Field::new(2, 0, 7);
/// Messages: message code (§2.2.8).
pub const MESSAGE_CODE: Field = Field::new(1, 0, 8);

/// Fmt: three-word header, no data.
pub const FMT_3DW: u8 = 0b000;
/// Fmt: four-word header, no data.
pub const FMT_4DW: u8 = 0b001;
/// Fmt: three-word header, with data.
pub const FMT_3DW_DATA: u8 = 0b010;
/// Fmt: four-word header, with data.
pub const FMT_4DW_DATA: u8 = 0b011;

/// Type: memory request.
pub const TYPE_MEMORY: u8 = 0b0_0000;
/// Type: locked memory read.
pub const TYPE_LOCKED: u8 = 0b0_0001;
/// Type: I/O request.
pub const TYPE_IO: u8 = 0b0_0010;
/// Type: configuration request, type 0 (for the function on this link).
pub const TYPE_CONFIG_0: u8 = 0b0_0100;
/// Type: configuration request, type 1 (to be forwarded by a bridge).
pub const TYPE_CONFIG_1: u8 = 0b0_0101;
/// Type: completion.
pub const TYPE_COMPLETION: u8 = 0b0_1010;
/// Type: completion of a locked read.
pub const TYPE_COMPLETION_LOCKED: u8 = 0b0_1011;
/// Type: AtomicOp FetchAdd. Swap and CAS follow it.
pub const TYPE_FETCH_ADD: u8 = 0b0_1100;
/// Type: AtomicOp CAS.
pub const TYPE_CAS: u8 = 0b0_1110;
/// Type: message; bits 2:0 are its routing.
pub const TYPE_MESSAGE: u8 = 0b1_0000;
/// Routing of a message: to the root complex (§2.2.8, Table 2-19).
pub const ROUTE_TO_ROOT: u8 = 0b000;
/// Message code: a correctable error (§2.2.8.3).
pub const ERR_COR: u8 = 0x30;
/// Message code: an uncorrectable, non-fatal error.
pub const ERR_NONFATAL: u8 = 0x31;
/// Message code: a fatal error.
pub const ERR_FATAL: u8 = 0x33;

/// Bytes of a beat's `data` at the card's edge.
pub const BEAT_BYTES: usize = 32;
/// DWs of a beat's `data` at the card's edge.
pub const BEAT_DWS: usize = 8;
/// DWs of the longest payload (§2.2.2).
pub const MAX_DWS: usize = 1024;
/// Addresses that MSI and MSI-X messages are written to (a 1 MiB window of x86 hosts).
pub const MSI_WINDOW: core::ops::RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;

/// Completion status (§2.2.9, Table 2-34).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// SC.
    Success = 0b000,
    /// UR.
    UnsupportedRequest = 0b001,
    /// CRS: configuration request retry.
    Retry = 0b010,
    /// CA.
    CompleterAbort = 0b100,
}

impl Status {
    /// The status of a 3-bit field; reserved values count as UR (§2.2.9).
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        match bits {
            0b000 => Self::Success,
            0b010 => Self::Retry,
            0b100 => Self::CompleterAbort,
            _ => Self::UnsupportedRequest,
        }
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "successful completion",
            Self::UnsupportedRequest => "unsupported request",
            Self::Retry => "configuration request retry",
            Self::CompleterAbort => "completer abort",
        }
    }
}

/// What a header asks or answers, with the fields of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// MRd and MWr; the 4-DW form is the one with an address above 4 GiB (§2.2.4.1).
    Memory {
        /// MWr.
        write: bool,
        /// Requester ID.
        requester: u16,
        /// Tag (of no meaning in a write).
        tag: u8,
        /// Byte enables of the first DW.
        first: u8,
        /// Byte enables of the last DW.
        last: u8,
        /// A multiple of 4.
        address: u64,
    },
    /// CfgRd and CfgWr of one DW.
    Config {
        /// CfgWr.
        write: bool,
        /// Type 1.
        forwarded: bool,
        /// Requester ID.
        requester: u16,
        /// Tag.
        tag: u8,
        /// Byte enables.
        first: u8,
        /// The routing ID that is addressed.
        target: u16,
        /// Offset in configuration space in bytes, a multiple of 4.
        offset: u16,
    },
    /// Cpl and CplD.
    Completion {
        /// CplD.
        data: bool,
        /// Completer ID.
        completer: u16,
        /// Status.
        status: Status,
        /// Bytes still to come, this completion's included: 1 to 4096.
        byte_count: u16,
        /// Requester ID.
        requester: u16,
        /// Tag.
        tag: u8,
        /// Address bits 6:0 of the first byte returned.
        lower_address: u8,
    },
    /// Msg and MsgD.
    Message {
        /// MsgD.
        data: bool,
        /// Routing, bits 2:0 of Type (§2.2.8, Table 2-18).
        routing: u8,
        /// Requester ID.
        requester: u16,
        /// Tag.
        tag: u8,
        /// Message code.
        code: u8,
        /// DW 2 and DW 3.
        rest: [u32; 2],
    },
}

/// A decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// DWs of payload, or asked for: 1 to 1024; 0 where the field is reserved (a `Cpl`, a `Msg`).
    pub length: u16,
    /// Traffic class, 3 bits.
    pub traffic_class: u8,
    /// Attr: ID-based ordering (bit 2), relaxed ordering (bit 1), no snoop (bit 0).
    pub attributes: u8,
    /// EP.
    pub poisoned: bool,
    /// The rest.
    pub kind: Kind,
}

/// Why four words are not the header of a TLP that this project knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A Fmt and Type that are reserved, or of requests that nobody here makes (I/O, locked, atomic).
    Type {
        /// Fmt.
        fmt: u8,
        /// Type.
        kind: u8,
    },
    /// TD is set: the edge carries no digests.
    Digest,
    /// Address type is not "untranslated".
    AddressType,
    /// A 4-DW memory request below 4 GiB (§2.2.4.1).
    WideAddress,
    /// Byte enables against §2.2.5.
    ByteEnables {
        /// First.
        first: u8,
        /// Last.
        last: u8,
    },
    /// A configuration request of another length than one DW (§2.2.7).
    ConfigLength,
    /// A memory request that crosses a 4 KiB boundary (§2.2.7).
    PageCrossing,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Type { fmt, kind } => write!(f, "unknown Fmt {fmt:03b} and Type {kind:05b}"),
            Self::Digest => f.write_str("TD is set, but the edge carries no digests"),
            Self::AddressType => f.write_str("the address type is not \"untranslated\""),
            Self::WideAddress => f.write_str("a 4-DW memory request below 4 GiB"),
            Self::ByteEnables { first, last } => {
                write!(f, "byte enables {first:04b} (first) and {last:04b} (last) do not fit the length")
            }
            Self::ConfigLength => f.write_str("a configuration request of other than one DW"),
            Self::PageCrossing => f.write_str("a memory request crosses 4 KiB"),
        }
    }
}

impl core::error::Error for Malformed {}

impl Header {
    /// A header of `kind` for `length` DWs, with traffic class 0 and no attributes.
    #[must_use]
    pub const fn new(length: u16, kind: Kind) -> Self {
        Self { length, traffic_class: 0, attributes: 0, poisoned: false, kind }
    }

    /// Decodes and checks a header, except for the payload's length.
    pub fn parse(words: &[u32; 4]) -> Result<Self, Malformed> {
        let (fmt, kind) = (FMT.get(words) as u8, TYPE.get(words) as u8);
        let (wide, data) = (fmt & 1 != 0, fmt & 2 != 0);
        let byte = |field: Field| field.get(words) as u8;
        let half = |field: Field| field.get(words) as u16;
        if DIGEST.get(words) != 0 {
            return Err(Malformed::Digest);
        }
        let mut length = match half(LENGTH) {
            0 => 1024,
            n => n,
        };
        let kind = match (fmt, kind) {
            (0..=3, TYPE_MEMORY) => {
                let address = if wide {
                    u64::from(ADDRESS_HIGH.get(words)) << 32 | u64::from(ADDRESS_LOW.get(words) & !3)
                } else {
                    u64::from(ADDRESS_32.get(words) & !3)
                };
                let (first, last) = (byte(FIRST_BE), byte(LAST_BE));
                if ADDRESS_TYPE.get(words) != 0 {
                    return Err(Malformed::AddressType);
                }
                if wide && address >> 32 == 0 {
                    return Err(Malformed::WideAddress);
                }
                if !enables_fit(length, address, first, last) {
                    return Err(Malformed::ByteEnables { first, last });
                }
                if (address & 0xfff) + 4 * u64::from(length) > 0x1000 {
                    return Err(Malformed::PageCrossing);
                }
                Kind::Memory { write: data, requester: half(REQUESTER), tag: byte(TAG), first, last, address }
            }
            (FMT_3DW | FMT_3DW_DATA, TYPE_CONFIG_0 | TYPE_CONFIG_1) => {
                if length != 1 {
                    return Err(Malformed::ConfigLength);
                }
                let (first, last) = (byte(FIRST_BE), byte(LAST_BE));
                if last != 0 {
                    return Err(Malformed::ByteEnables { first, last });
                }
                Kind::Config {
                    write: data,
                    forwarded: kind == TYPE_CONFIG_1,
                    requester: half(REQUESTER),
                    tag: byte(TAG),
                    first,
                    target: half(CONFIG_TARGET),
                    offset: half(CONFIG_REGISTER) * 4,
                }
            }
            (FMT_3DW | FMT_3DW_DATA, TYPE_COMPLETION) => {
                if !data {
                    length = 0;
                }
                Kind::Completion {
                    data,
                    completer: half(COMPLETER),
                    status: Status::from_bits(STATUS.get(words)),
                    byte_count: match half(BYTE_COUNT) {
                        0 => 4096,
                        n => n,
                    },
                    requester: half(COMPLETION_REQUESTER),
                    tag: byte(COMPLETION_TAG),
                    lower_address: byte(LOWER_ADDRESS),
                }
            }
            (FMT_4DW | FMT_4DW_DATA, kind) if kind & 0b1_1000 == TYPE_MESSAGE => {
                if !data {
                    length = 0;
                }
                Kind::Message {
                    data,
                    routing: kind & 7,
                    requester: half(REQUESTER),
                    tag: byte(TAG),
                    code: byte(MESSAGE_CODE),
                    rest: [words[2], words[3]],
                }
            }
            (fmt, kind) => return Err(Malformed::Type { fmt, kind }),
        };
        Ok(Self {
            length,
            traffic_class: byte(TRAFFIC_CLASS),
            attributes: byte(ATTR_IDO) << 2 | byte(ATTR),
            poisoned: POISONED.get(words) != 0,
            kind,
        })
    }

    /// Encodes the header. [`Header::parse`] of the result gives `self` back if `self` obeys its
    /// fields' documented ranges.
    #[must_use]
    pub fn emit(&self) -> [u32; 4] {
        let mut words = [0; 4];
        let mut set = |field: Field, value: u32| field.set(&mut words, value);
        set(LENGTH, u32::from(self.length));
        set(TRAFFIC_CLASS, u32::from(self.traffic_class));
        set(ATTR, u32::from(self.attributes));
        set(ATTR_IDO, u32::from(self.attributes >> 2));
        set(POISONED, u32::from(self.poisoned));
        let (wide, data, kind) = match self.kind {
            Kind::Memory { write, requester, tag, first, last, address } => {
                set(REQUESTER, u32::from(requester));
                set(TAG, u32::from(tag));
                set(FIRST_BE, u32::from(first));
                set(LAST_BE, u32::from(last));
                let wide = address >> 32 != 0;
                if wide {
                    set(ADDRESS_HIGH, (address >> 32) as u32);
                    set(ADDRESS_LOW, address as u32 & !3);
                } else {
                    set(ADDRESS_32, address as u32 & !3);
                }
                (wide, write, TYPE_MEMORY)
            }
            Kind::Config { write, forwarded, requester, tag, first, target, offset } => {
                set(REQUESTER, u32::from(requester));
                set(TAG, u32::from(tag));
                set(FIRST_BE, u32::from(first));
                set(CONFIG_TARGET, u32::from(target));
                set(CONFIG_REGISTER, u32::from(offset / 4));
                (false, write, if forwarded { TYPE_CONFIG_1 } else { TYPE_CONFIG_0 })
            }
            Kind::Completion { data, completer, status, byte_count, requester, tag, lower_address } => {
                set(COMPLETER, u32::from(completer));
                set(STATUS, status as u32);
                set(BYTE_COUNT, u32::from(byte_count));
                set(COMPLETION_REQUESTER, u32::from(requester));
                set(COMPLETION_TAG, u32::from(tag));
                set(LOWER_ADDRESS, u32::from(lower_address));
                (false, data, TYPE_COMPLETION)
            }
            Kind::Message { data, routing, requester, tag, code, rest } => {
                set(REQUESTER, u32::from(requester));
                set(TAG, u32::from(tag));
                set(MESSAGE_CODE, u32::from(code));
                set(Field::new(2, 0, 32), rest[0]);
                set(Field::new(3, 0, 32), rest[1]);
                (true, data, TYPE_MESSAGE | routing & 7)
            }
        };
        set(FMT, u32::from(data) << 1 | u32::from(wide));
        set(TYPE, u32::from(kind));
        words
    }

    /// DWs of payload that follow the header.
    #[must_use]
    pub const fn payload_dws(&self) -> usize {
        let data = match self.kind {
            Kind::Memory { write, .. } | Kind::Config { write, .. } => write,
            Kind::Completion { data, .. } | Kind::Message { data, .. } => data,
        };
        if data { self.length as usize } else { 0 }
    }
}

/// Whether byte enables suit a memory request (§2.2.5): none of the last DW in a request of one DW, some
/// of both in a longer one, and holes only in requests of one DW, or of two that begin on 8 bytes.
#[must_use]
pub const fn enables_fit(length: u16, address: u64, first: u8, last: u8) -> bool {
    let contiguous = matches!(first, 0b1000 | 0b1100 | 0b1110 | 0b1111)
        && matches!(last, 0b0001 | 0b0011 | 0b0111 | 0b1111);
    match length {
        1 => last == 0,
        2 if address.is_multiple_of(8) => first != 0 && last != 0,
        _ => contiguous,
    }
}

/// Length in DWs and the first and last byte enables of a request for `len` bytes (1 or more) at `address`.
#[must_use]
pub const fn byte_enables(address: u64, len: usize) -> (u16, u8, u8) {
    let start = (address % 4) as usize;
    let dws = (start + len).div_ceil(4);
    let first = (0xf << start & 0xf) as u8;
    let last = 0xf >> (4 * dws - start - len);
    if dws == 1 { (1, first & last, 0) } else { (dws as u16, first, last) }
}

/// What the completions of a memory read must carry in all (§2.2.9): the offset of the first enabled byte
/// from the request's DW-aligned address, and the bytes from there to the last enabled one.
/// A read without any enabled byte (a flush) counts as one byte.
#[must_use]
pub const fn enabled_bytes(length: u16, first: u8, last: u8) -> (usize, usize) {
    if first == 0 {
        return (0, 1);
    }
    let start = first.trailing_zeros() as usize;
    let end = if length == 1 {
        8 - first.leading_zeros() as usize
    } else {
        4 * length as usize - 4 + 8 - last.leading_zeros() as usize
    };
    (start, end - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [Kind; 6] = [
        Kind::Memory {
            write: true,
            requester: 0x0112,
            tag: 0xa5,
            first: 0xe,
            last: 0x7,
            address: 0x12_3456_7898,
        },
        Kind::Memory { write: false, requester: 0xffff, tag: 3, first: 0xf, last: 0xf, address: 0xfee0_0004 },
        Kind::Config {
            write: true,
            forwarded: false,
            requester: 8,
            tag: 1,
            first: 0x3,
            target: 0x0110,
            offset: 0xffc,
        },
        Kind::Config {
            write: false,
            forwarded: true,
            requester: 8,
            tag: 255,
            first: 0xf,
            target: 0x0200,
            offset: 4,
        },
        Kind::Completion {
            data: true,
            completer: 0x0102,
            status: Status::Success,
            byte_count: 4096,
            requester: 0x0110,
            tag: 0x1f,
            lower_address: 0x7c,
        },
        Kind::Message {
            data: false,
            routing: 0,
            requester: 0x0102,
            tag: 0,
            code: 0x31,
            rest: [1, 0xffff_ffff],
        },
    ];

    fn lengths(kind: Kind) -> &'static [u16] {
        match kind {
            Kind::Memory { .. } => &[3, 64],
            Kind::Config { .. } => &[1],
            Kind::Message { data: false, .. } | Kind::Completion { data: false, .. } => &[0],
            _ => &[1, 1024],
        }
    }

    #[test]
    fn every_kind_survives_emit_and_parse() {
        for kind in SAMPLES {
            for &length in lengths(kind) {
                for (traffic_class, attributes, poisoned) in
                    [(0, 0, false), (7, 0b101, true), (1, 0b010, false)]
                {
                    let header = Header { length, traffic_class, attributes, poisoned, kind };
                    assert_eq!(Header::parse(&header.emit()), Ok(header));
                }
            }
        }
    }

    /// Words worked out by hand from the figures of §2.2.
    #[test]
    fn words_match_the_figures_of_the_specification() {
        let write = Header::new(
            1,
            Kind::Memory {
                write: true,
                requester: 0x0102,
                tag: 0x33,
                first: 0xf,
                last: 0,
                address: 0x1_0000_0008,
            },
        );
        assert_eq!(write.emit(), [0x6000_0001, 0x0102_330f, 1, 8]);
        let read = Kind::Config {
            write: false,
            forwarded: false,
            requester: 0,
            tag: 9,
            first: 0xf,
            target: 0x0110,
            offset: 0x10c,
        };
        assert_eq!(Header::new(1, read).emit(), [0x0400_0001, 0x0000_090f, 0x0110_010c, 0]);
        let completion = Kind::Completion {
            data: true,
            completer: 0x0110,
            status: Status::Success,
            byte_count: 4,
            requester: 0,
            tag: 9,
            lower_address: 0x40,
        };
        assert_eq!(Header::new(1, completion).emit(), [0x4a00_0001, 0x0110_0004, 0x0000_0940, 0]);
        let unsupported = Kind::Completion {
            data: false,
            completer: 0x0110,
            status: Status::UnsupportedRequest,
            byte_count: 4096,
            requester: 0,
            tag: 9,
            lower_address: 0,
        };
        assert_eq!(Header::new(0, unsupported).emit(), [0x0a00_0000, 0x0110_2000, 0x0000_0900, 0]);
    }

    #[test]
    fn malformed_headers_are_refused() {
        let parse = |words| Header::parse(&words).unwrap_err();
        assert_eq!(parse([0x0200_0001, 0xf, 0, 0]), Malformed::Type { fmt: 0, kind: 2 });
        assert_eq!(parse([0x8000_0001, 0xf, 0, 0]), Malformed::Type { fmt: 4, kind: 0 });
        assert_eq!(parse([0x0000_8001, 0xf, 0, 0]), Malformed::Digest);
        assert_eq!(parse([0x0000_0401, 0xf, 0, 0]), Malformed::AddressType);
        assert_eq!(parse([0x2000_0001, 0xf, 0, 4]), Malformed::WideAddress);
        assert_eq!(parse([0x0000_0001, 0xff, 0, 0]), Malformed::ByteEnables { first: 0xf, last: 0xf });
        assert_eq!(parse([0x0000_0003, 0x15, 0, 0]), Malformed::ByteEnables { first: 5, last: 1 });
        assert_eq!(parse([0x0000_0002, 0xff, 0xffc, 0]), Malformed::PageCrossing);
        assert_eq!(parse([0x0400_0002, 0xf, 0, 0]), Malformed::ConfigLength);
    }

    #[test]
    fn byte_enables_cover_exactly_the_bytes() {
        for start in 0..8u64 {
            for len in 1..20usize {
                let (dws, first, last) = byte_enables(start, len);
                assert!(enables_fit(dws, start & !3, first, last));
                let (offset, count) = enabled_bytes(dws, first, last);
                assert_eq!((offset as u64, count), (start % 4, len), "{start} {len}");
            }
        }
        assert_eq!(enabled_bytes(1, 0, 0), (0, 1));
        assert!(!enables_fit(3, 0, 0b0101, 0xf));
        assert!(enables_fit(2, 8, 0b0101, 0b1010));
        assert!(!enables_fit(2, 4, 0b0101, 0b1010));
    }

    #[test]
    fn fields_do_not_overlap_in_a_word() {
        let memory =
            [FMT, TYPE, TRAFFIC_CLASS, ATTR_IDO, HINTS, DIGEST, POISONED, ATTR, ADDRESS_TYPE, LENGTH];
        let mut seen = 0u32;
        for field in memory {
            assert_eq!(seen & field.mask(), 0, "{field:?}");
            seen |= field.mask();
        }
        assert_eq!(TAG.bit(), 40);
    }
}
