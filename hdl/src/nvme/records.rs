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
    /// How many there are.
    pub const COUNT: usize = 6;
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

/// A command to start.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FetchJob {
    /// A flush of all namespaces, with no entry to fetch and no completion to post.
    pub flush: Bit,
    /// Of which controller.
    pub controller: Bits<4>,
    /// From which submission queue.
    pub queue: Bits<3>,
    /// Host address of the submission queue entry.
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
    /// What the SMART log and the completion entry need.
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

/// The Volatile Write Cache feature of a controller changed.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct CacheUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Whose.
    pub controller: Bits<4>,
    /// Every write is to be durable when it completes: WCE is 0.
    pub through: Bit,
}

/// A Read or a Write succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Counted {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Whose.
    pub controller: Bits<4>,
    /// A Write; else a Read.
    pub write: Bit,
}
