//! What travels between the front end's blocks.

use nitride_lang::prelude::*;

/// A queue of the card: `{controller (4), queue (3)}`.
pub type QueueIndex = Bits<7>;
/// Width in bits of an index in a queue: admin queues have up to 4,096 entries (NVMe 1.4 §3.1.8).
pub const POINTER: usize = 12;

/// What [`Queues`](super::queues::Queues) does for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum QueueOperation {
    /// SQ tail doorbell: `value` is the new tail.
    #[default]
    Tail,
    /// CQ head doorbell: `value` is the new head.
    Head,
    /// Take the next entry of the completion queue that `queue`, a submission queue, posts to.
    Post,
    /// Give back the place in the completion queue that was kept for a command of `queue`.
    Withdraw,
    /// The same, and fetch no more for the controller.
    Fail,
    /// A command of `queue` is gone, and its slot free.
    Release,
    /// Create I/O or admin Completion Queue `queue`: `base`, `value` (entries, 0's based), `vector`, `interrupt`.
    CreateCompletion,
    /// Create Submission Queue `queue`: `base`, `value` (entries, 0's based), `completion_queue`.
    CreateSubmission,
    /// Delete Completion Queue `queue`.
    DeleteCompletion,
    /// Delete Submission Queue `queue`; `Busy` while commands of it are under way.
    DeleteSubmission,
    /// `InUse` if the controller has an I/O queue.
    Probe,
    /// Fetch and post from now on.
    Open,
    /// Fetch and post no more; `Busy` while commands are under way.
    Halt,
    /// Fetch no more, but post; `Busy` while commands are under way.
    Quiesce,
    /// Forget queue pair `queue`.
    Clear,
    /// Start a command that flushes all namespaces of the controller; `Busy` if there is no slot now.
    Flush,
    /// Post a completion to the admin queue for a command that was withdrawn: `value` and `base` are an [`Announcement`].
    /// `Full` if there is no place for it: [`NewsKind::Room`] comes when there may be one.
    Announce,
    /// The doorbell of a queue that no controller has.
    Stray,
    /// Internal: schedule `queue` if it has entries.
    Wake,
    /// Internal: fetch from `queue`, whose turn it is.
    Fetch,
}

/// A request to [`Queues`](super::queues::Queues).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct QueueRequest {
    /// What to do. The other fields count as far as it says.
    pub operation: QueueOperation,
    /// Of which controller.
    pub controller: Bits<4>,
    /// Of which queue.
    pub queue: Bits<3>,
    /// A doorbell's value, or a queue's size.
    pub value: Bits<16>,
    /// Host address of a new queue, in 4 KiB pages.
    pub base: Bits<52>,
    /// Completion queue of a new submission queue.
    pub completion_queue: Bits<3>,
    /// MSI-X vector of a new completion queue.
    pub vector: Bits<3>,
    /// Interrupts enabled, of a new completion queue.
    pub interrupt: Bit,
    /// Only say what would come of it (create and delete).
    pub dry: Bit,
}

/// What came of a [`QueueRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum QueueOutcome {
    /// It is done.
    #[default]
    Done,
    /// Not yet: ask again.
    Busy,
    /// The queue exists.
    Exists,
    /// The queue, or the completion queue that it needs, does not exist.
    Missing,
    /// Others depend on it.
    InUse,
    /// The controller posts no more completions.
    Dropped,
    /// The completion queue has no place.
    Full,
}

/// The clients of [`Queues`](super::queues::Queues), by the index of their request stream.
pub struct Client;
impl Client {
    /// Doorbells.
    pub const DOORBELL: usize = 0;
    /// Completions that look for a place.
    pub const POST: usize = 1;
    /// Completions that are done.
    pub const RELEASE: usize = 2;
    /// Create and delete commands.
    pub const COMMANDS: usize = 3;
    /// The features' question for I/O queues.
    pub const FEATURES: usize = 4;
    /// Enable, reset and shutdown.
    pub const LIFECYCLE: usize = 5;
    /// Asynchronous events.
    pub const EVENTS: usize = 6;
    /// How many there are.
    pub const COUNT: usize = 7;
}

/// The answer to a [`QueueRequest`]: one for each, to all clients at once.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct QueueAnswer {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Whose request it was.
    pub client: Bits<3>,
    /// What came of it.
    pub outcome: QueueOutcome,
    /// Post: host address of the entry.
    pub address: Bits<64>,
    /// Post: head of the submission queue.
    pub head: Bits<POINTER>,
    /// Post: phase tag.
    pub phase: Bit,
    /// Post: vector of the completion queue.
    pub vector: Bits<3>,
    /// Post: the completion queue has interrupts enabled.
    pub interrupt: Bit,
}

/// What a controller's events have to know of its queues.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum NewsKind {
    /// Nothing.
    #[default]
    Nothing,
    /// The doorbell of a queue that does not exist was written.
    InvalidRegister,
    /// A doorbell was written with a value outside of its queue.
    InvalidValue,
    /// The admin completion queue, which was full, may have a place.
    Room,
}

/// See [`NewsKind`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct News {
    /// What.
    pub kind: NewsKind,
    /// Whose.
    pub controller: Bits<4>,
}

/// Where a command comes from.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum JobKind {
    /// A submission queue entry.
    #[default]
    Entry,
    /// A flush of all namespaces, with no entry to fetch and no completion to post.
    Flush,
    /// A completion to post, with no entry to fetch and nothing to do: an [`Announcement`].
    Completion,
}

/// The completion of a command that was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Announcement {
    /// Its Command Identifier.
    pub cid: Bits<16>,
    /// Its status field without the phase tag.
    pub status: Bits<15>,
    /// Completion queue entry DW0.
    pub dw0: Bits<24>,
}

/// A command to start.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FetchJob {
    /// Where it comes from.
    pub kind: JobKind,
    /// Of which controller.
    pub controller: Bits<4>,
    /// From which submission queue.
    pub queue: Bits<3>,
    /// Host address of the submission queue entry, or an [`Announcement`] in the lower bits.
    pub address: Bits<64>,
}

/// A command slot was given to a command.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Assigned {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The slot.
    pub slot: Bits<6>,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a command slot is.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Owner {
    /// Its command came from no queue: nothing is posted.
    pub internal: Bit,
    /// The controller.
    pub controller: Bits<4>,
    /// The submission queue.
    pub queue: Bits<3>,
}

/// What the completion of a command needs to know of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Formed {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The command's slot.
    pub slot: Bits<6>,
    /// What the logs and the completion entry need.
    pub memo: Memo,
}

/// See [`Formed`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Memo {
    /// Command Identifier.
    pub cid: Bits<16>,
    /// It is a Read.
    pub read: Bit,
    /// It is a Write.
    pub write: Bit,
    /// Namespace identifier.
    pub nsid: Bits<32>,
    /// Starting LBA of a Read, a Write or a Write Zeroes; 0 of another command.
    pub lba: Bits<64>,
    /// Logical blocks of a Read or a Write, 0's based.
    pub blocks: Bits<16>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Ending {
    /// Post a completion.
    #[default]
    Post,
    /// Post nothing: an Asynchronous Event Request that waits.
    Withdraw,
    /// Post nothing: the entry could not be read.
    Fail,
}

/// The end of a command: a [`CommandResult`](crate::bus::CommandResult) and whether it is posted.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Finished {
    /// What to do.
    pub ending: Ending,
    /// The command's slot.
    pub slot: Bits<6>,
    /// Status field without the phase tag.
    pub status: Bits<15>,
    /// Completion queue entry DW0.
    pub dw0: Bits<32>,
}

/// A command whose completion queue entry was handed to the link, or that has none.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Over {
    /// Its slot.
    pub slot: Bits<6>,
    /// Whose it was.
    pub owner: Owner,
    /// It interrupts.
    pub interrupt: Bit,
    /// The vector.
    pub vector: Bits<3>,
}

/// A slot is free again.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Freed {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The slot.
    pub slot: Bits<6>,
}

/// A word of a controller's settings was written; see [`Settings`](super::admin::settings::Settings).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Setting {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Whose.
    pub controller: Bits<4>,
    /// Which: the identifier of its feature.
    pub word: Bits<4>,
    /// The value from now on.
    pub value: Bits<32>,
    /// It is the default: the controller is being enabled.
    pub initial: Bit,
}

/// A command ended that the SMART log counts.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Counted {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Whose.
    pub controller: Bits<4>,
    /// A Read succeeded.
    pub read: Bit,
    /// A Write succeeded.
    pub write: Bit,
    /// A medium or its data's integrity failed.
    pub media_error: Bit,
    /// The namespace, NSID less 1.
    pub namespace: Bits<2>,
    /// Logical blocks, 0's based.
    pub blocks: Bits<16>,
}

/// An error that goes into the Error Information log.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Failure {
    /// Whose.
    pub controller: Bits<4>,
    /// Submission Queue ID; FFFFh: of no command.
    pub queue: Bits<16>,
    /// Command ID; FFFFh: of no command.
    pub cid: Bits<16>,
    /// Status field without the phase tag.
    pub status: Bits<15>,
    /// LBA.
    pub lba: Bits<64>,
    /// Namespace identifier.
    pub nsid: Bits<32>,
}

/// An interrupt for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Signalled {
    /// Whose.
    pub controller: Bits<4>,
    /// MSI-X vector.
    pub vector: Bits<3>,
    /// Of an I/O completion queue: it may wait for others.
    pub io: Bit,
}

/// A log page with which a host clears events is read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct LogRead {
    /// Whose.
    pub controller: Bits<4>,
    /// The Changed Namespace List; else Error Information.
    pub changes: Bit,
    /// The command succeeded; else its data is being collected.
    pub done: Bit,
}
