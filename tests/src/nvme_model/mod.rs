//! A plain model of one NVMe 1.4 controller of the card, written from the specification: the reference
//! that the RTL is compared with.
//!
//! [`Controller`] is the controller: registers in, statuses, data and interrupts out, over a
//! [`HostMemory`]; it runs to the end of all work inside of the register write that started it, so it
//! is deterministic. [`ModelFunction`] wraps it as a [`nitride_driver::Function`].
//!
//! # What the card answers where the specification leaves a choice
//!
//! The RTL follows this list, the model implements it, and random runs compare the two.
//!
//! **Registers**
//! - Accesses are 4 or 8 aligned bytes; 8 bytes act as two 4-byte accesses, the lower first. Narrower
//!   reads return the bytes, narrower writes are ignored. All that is not CAP, VS, CC, CSTS, AQA, ASQ
//!   or ACQ reads as 0 and ignores writes: INTMS, INTMC (MSI-X is the only interrupt), NSSR, CMB, PMR,
//!   doorbells (write-only).
//! - CC keeps the bits of `cc::WRITABLE`, AQA those of `aqa::WRITABLE`, ASQ and ACQ bits 63:12. All
//!   four can be written at any time; AQA, ASQ and ACQ take effect at the next enable and survive a
//!   controller reset; a function level reset clears them.
//! - A write to CC acts in this order. (1) EN 1→0: controller reset: queues, features and outstanding
//!   requests are gone, CSTS becomes 0. EN 0→1: CSTS becomes RDY, or CFS without RDY if MPS, CSS or
//!   AMS is not 0 or an admin queue has fewer than 2 entries. (2) SHN not 0: the media is flushed and
//!   SHST becomes 10b, whatever EN. SHN 0 changes nothing. Only EN going 1→0 or 0→1 clears SHST.
//! - Entry sizes are 64 and 16 bytes whatever IOSQES and IOCQES. MPS, CSS and AMS are looked at only
//!   when EN goes 0→1.
//! - Commands are fetched while RDY = 1, CFS = 0 and SHST = 00b. Other doorbell writes are ignored.
//!
//! **Queues**
//! - The admin queues have up to 4,096 entries (§3.1.8), I/O queues up to 1,024.
//! - A doorbell's bits 31:16 are ignored. A value of the queue's size or more changes nothing, nor does the
//!   doorbell of a queue that does not exist; both are logged and told, see below. Other values are taken as they are.
//! - A command is started only while its completion queue has a free entry.
//! - Round robin among controllers, and among a controller's I/O queues, each with as many commands in its turn as
//!   the Arbitration Burst says; CC.AMS and QPRIO change nothing. (The model: one command a queue and turn.)
//! - A failed read of a submission queue entry sets CSTS.CFS; nothing more is fetched until a reset.
//!   A completion that cannot be written is lost silently (it is a posted write).
//! - SQHD is the head after the fetch of that very command or of any later one.
//! - Command identifiers are not checked for duplicates.
//!
//! **All commands**, checks in this order, the first that fails gives the status, and the result dword
//! of a failed command is 0:
//! 1. opcode not listed: Invalid Command Opcode
//! 2. FUSE or PSDT not 0: Invalid Field in Command
//! 3. the command's own checks below
//! 4. the data pointer.
//!
//! Reserved fields and bits are ignored. M and CRD are 0; DNR is as in [`nitride_abi::nvme::Status`].
//!
//! **Data pointer** (§4.3)
//! - PRP1: bits 1:0 not 0: PRP Offset Invalid. The first page ends at the next 4 KiB boundary.
//! - What is left: nothing: PRP2 is ignored. Up to one page: PRP2 is a page, its bits 11:0 must be 0.
//!   More: PRP2 is a list, its bits 2:0 must be 0; list entries must have bits 11:0 = 0. The last
//!   qword of a list page is the next list's address (bits 11:0 = 0) exactly if more than one page is
//!   still to come. Each violation: PRP Offset Invalid.
//! - A failed read of a list, or of data, or of a data write that is known to have failed: Data Transfer
//!   Error. With several errors in one command's pointers and pages, either status may come.
//! - After PRP Offset Invalid or Data Transfer Error, the blocks of a Write and the buffer of a Read hold
//!   old or new data, in any mix. (The model leaves the old.)
//!
//! **Create I/O Completion Queue**: QID 0, above 7 or in use: Invalid Queue Identifier. QSIZE 0 or
//! above 1,023: Invalid Queue Size. PC 0: Invalid Field. IV above 7, whatever IEN: Invalid Interrupt
//! Vector. PRP1 bits 11:0 not 0: PRP Offset Invalid.
//!
//! **Create I/O Submission Queue**: QID as above. CQID 0 or above 7: Invalid Queue Identifier; not
//! created: Completion Queue Invalid. QSIZE, PC and PRP1 as above.
//!
//! **Delete**: QID 0, above 7 or not created: Invalid Queue Identifier. A completion queue that a
//! submission queue uses: Invalid Queue Deletion. Commands fetched before a submission queue's deletion
//! complete before it, or are aborted with Command Aborted due to SQ Deletion.
//!
//! **Identify**: CNS 00h: NSID 0 or above 4 (FFFFFFFFh too): Invalid Namespace or Format; inactive: 4 KiB
//! of zeroes. CNS 01h: NSID ignored. CNS 02h: NSID FFFFFFFEh or FFFFFFFFh: Invalid Namespace or
//! Format. CNS 03h: NSID invalid or inactive: Invalid Namespace or Format. Any other CNS: Invalid Field.
//! The data is that of `nitride_abi::nvme::identify_*`.
//!
//! **Features**: all are the controller's, NSID is ignored. Unknown FID: Invalid Field. Set with SV = 1:
//! Feature Identifier Not Saveable (after the FID check). SEL is ignored: Get returns the current value.
//! `feature::STORED` are words under a mask; Set returns 0. Power Management: PS not 0: Invalid Field.
//! Number of Queues: Get and Set return 6 and 6 whatever was asked; Set with FFFFh in either half:
//! Invalid Field; Set while an I/O queue exists: Command Sequence Error (checked second). Interrupt Vector
//! Configuration: IV above 7: Invalid Field; one CD bit a vector. Temperature Threshold: THSEL above 1, or
//! TMPSEL other than 0 (and Fh in Set): Invalid Field; no event is ever raised. A controller reset
//! brings back the defaults.
//!
//! **Interrupt Coalescing**: an I/O completion queue's interrupt is held back until more than THR completions of its vector
//! wait for one, or TIME has passed since the first of them; not with TIME 0, nor with Coalescing Disable. (The model
//! interrupts at once.)
//!
//! **Get Log Page**: LID other than 1 to 4: Invalid Log Page. More than 4,096 bytes (NUMDU not 0), an offset that is not
//! a multiple of 4 or beyond the page's size, LID 2 with an NSID other than 0 and FFFFFFFFh: Invalid Field. Bytes from the
//! page's end on are 0.
//! - Error Information: the last 4 errors since the controller was enabled. Every completion with an error is one: SQID, CID,
//!   status, NSID of the command, SLBA of a Read, a Write or a Write Zeroes. So is a bad doorbell: SQID and CID FFFFh, status Invalid
//!   Field for a bad value, Invalid Queue Identifier for a queue that does not exist. Parameter Error Location is FFFFh.
//! - SMART: Read and Write commands that succeeded and their 512-byte units, media errors, error log entries, all since power on;
//!   resets of any kind keep the counts. Power cycles is 1; times are 0.
//! - Changed Namespace List: NSIDs since the controller was enabled, or since the list was last read with RAE 0.
//!
//! **Abort** aborts Asynchronous Event Requests (SQID 0) for whose completion the admin completion queue has a place, and nothing
//! else: result 1 (not aborted). The two completions come in any order.
//!
//! **Asynchronous Event Request**: the fifth: Asynchronous Event Request Limit Exceeded. Events, most urgent first: error, Write
//! to Invalid Doorbell Register; error, Invalid Doorbell Write Value; notice, Namespace Attribute Changed, while bit 8 of the
//! feature Asynchronous Event Configuration is 1. An event that cannot be told waits, once; telling one masks its type. Get Log
//! Page with RAE 0 of the type's page drops the waiting events of the type when the page is made, and unmasks the type when it
//! succeeds. No temperature or health event is ever raised: there is no sensor.
//!
//! **I/O commands**: NSID 0 or above 4 (FFFFFFFFh too, even for Flush): Invalid Namespace or Format;
//! inactive: Invalid Field. Then, where they apply: Read and Write above 1 MiB: Invalid Field; a block
//! beyond the end (SLBA + NLB does not wrap): LBA Out of Range; Write, Write Zeroes or deallocation of a
//! read-only namespace: Namespace is Write Protected. Write Zeroes has no size limit but NLB. PRINFO,
//! LR, DTYPE, DSM hints, and DEAC are ignored; FUA makes a write durable before it completes.
//!
//! **Dataset Management**: AD 0: success, and nothing is read. AD 1: write protection, then the data pointer
//! for (NR + 1) · 16 bytes, then each range in its order: a range beyond the end: LBA Out of Range, and the
//! ranges before it stay deallocated. A range of 0 blocks does nothing, even with its LBA beyond the end.
//! Deallocated blocks read as zeroes.

mod admin;
mod config_space;
mod controller;
mod events;
mod features;
mod function;
mod host;
mod io;
mod logs;
mod namespace;
mod prp;
mod queue;

pub use controller::Controller;
pub(crate) use function::Mappings;
pub use function::ModelFunction;
pub use host::{Fault, FlatMemory, HostMemory};
pub use logs::Counters;
pub use namespace::Namespace;
