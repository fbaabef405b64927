//! The back end for a function behind a vfio-user socket: a card daemon, or any other server.
//!
//! ```no_run
//! use nitride_driver::{Function, VfioUser};
//! # fn main() -> nitride_driver::Result<()> {
//! let function = VfioUser::open("/run/nitride/pf2.sock".as_ref())?;
//! let mut version = [0; 4];
//! function.bar_read(0, 0x08, &mut version)?;
//! # Ok(())
//! # }
//! ```

mod connection;
pub mod protocol;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::function::{
    Bar, Error, Function, Info, Interrupts, Result, check_bar_access, check_config_access,
};
use crate::memory::{Access, Memory};
use connection::{Connection, Failure, Outcome};
use protocol::{Command, HEADER, MAX_ACCESS, Writer, u32_at, u64_at};

/// A [`Function`] behind a vfio-user socket.
///
/// Requests of several threads take turns on the one connection. BAR writes are posted: they cost a
/// message and no answer. Once the server is gone, every call returns [`Error::Gone`].
pub struct VfioUser {
    info: Info,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    /// File descriptors that the server takes in one message.
    max_fds: usize,
    /// Vectors that have been set and not been disabled since.
    vectors: usize,
}

impl std::fmt::Debug for VfioUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VfioUser").field("info", &self.info).finish_non_exhaustive()
    }
}

impl VfioUser {
    /// Connects to the server at `path`, which serves one client at a time.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut connection = Connection::open(path).map_err(|source| Error::Io {
            what: format!("connecting to {name}"),
            source: io::Error::new(source.kind(), format!("{source}; is `nitride card` running there?")),
        })?;
        let start = start(&mut connection).map_err(|failure| match failure {
            Failure::Refused(error) if error == Errno::BUSY.raw_os_error() => Error::Io {
                what: format!("opening {name}"),
                source: io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "busy with another client; end that one, or take another function",
                ),
            },
            other => describe(&name, "opening the function", other),
        })?;
        let info = Info { name, ..start.info };
        Ok(Self { info, state: Mutex::new(State { connection, max_fds: start.max_fds, vectors: 0 }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left no half-sent message behind: sending doesn't call foreign code.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe<T>(&self, what: &'static str, outcome: Outcome<T>) -> Result<T> {
        outcome.map_err(|failure| describe(&self.info.name, what, failure))
    }
}

fn describe(name: &str, what: &'static str, failure: Failure) -> Error {
    match failure {
        Failure::Refused(error) => {
            Error::Io { what: format!("{what} on {name}"), source: io::Error::from_raw_os_error(error) }
        }
        Failure::Gone(detail) => Error::Gone { name: name.into(), detail },
    }
}

struct Start {
    info: Info,
    max_fds: usize,
}

/// Agrees on the protocol and asks what the function is.
fn start(connection: &mut Connection) -> Outcome<Start> {
    const CAPABILITIES: &[u8] = b"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}\0";
    let mut reply = [0; 1024];
    let mut version = Writer::<128>::default();
    let len = connection.request(
        Command::Version,
        version.u16(0).u16(1).put(CAPABILITIES).written(),
        &[],
        &mut reply,
    )?;
    if u32_at(&reply, 0) & 0xffff != 0 {
        return Err(Failure::Gone("it speaks another version of vfio-user".into()));
    }
    let max_fds = protocol::max_msg_fds(&reply[4..len.max(4)]);

    let mut query = Writer::<16>::default();
    connection.request(Command::DeviceGetInfo, query.u32(16).u32(0).u64(0).written(), &[], &mut reply)?;
    let (flags, regions) = (u32_at(&reply, 4), u32_at(&reply, 8));
    if flags & protocol::DEVICE_PCI == 0 || regions <= protocol::REGION_CONFIG {
        return Err(Failure::Gone("it does not serve a PCI function".into()));
    }

    let mut bars = [None; 6];
    for (index, bar) in (0..).zip(&mut bars) {
        let size = region_size(connection, index)?;
        let mut register = [0; 4];
        region_read(connection, protocol::REGION_CONFIG, 0x10 + 4 * index as u64, &mut register)?;
        let memory = register[0] & 1 == 0;
        if size.is_power_of_two() && memory {
            *bar = Some(Bar { size, wide: register[0] & 0x6 == 0x4, prefetchable: register[0] & 0x8 != 0 });
        }
    }
    let config_size = if region_size(connection, protocol::REGION_CONFIG)? >= 4096 { 4096 } else { 256 };

    let mut query = Writer::<16>::default();
    connection.request(
        Command::DeviceGetIrqInfo,
        query.u32(16).u32(0).u32(protocol::IRQ_MSIX).u32(0).written(),
        &[],
        &mut reply,
    )?;
    let msix_vectors = u32_at(&reply, 12).min(2048) as u16;
    Ok(Start { info: Info { name: String::new(), bars, msix_vectors, config_size }, max_fds })
}

fn region_size(connection: &mut Connection, region: u32) -> Outcome<u64> {
    let mut query = Writer::<32>::default();
    query.u32(32).u32(0).u32(region).u32(0).u64(0).u64(0);
    let mut reply = [0; 32];
    connection.request(Command::DeviceGetRegionInfo, query.written(), &[], &mut reply)?;
    Ok(u64_at(&reply, 16))
}

fn region_read(connection: &mut Connection, region: u32, offset: u64, data: &mut [u8]) -> Outcome<()> {
    for (at, part) in (offset..).step_by(MAX_ACCESS).zip(data.chunks_mut(MAX_ACCESS)) {
        let mut access = Writer::<16>::default();
        access.u64(at).u32(region).u32(part.len() as u32);
        let mut reply = [0; 16 + MAX_ACCESS];
        let len =
            connection.request(Command::RegionRead, access.written(), &[], &mut reply[..16 + part.len()])?;
        if len != 16 + part.len() {
            return Err(Failure::Gone("it answered a read with too little data".into()));
        }
        part.copy_from_slice(&reply[16..len]);
    }
    Ok(())
}

/// The message of a region write.
fn write_access(region: u32, offset: u64, data: &[u8]) -> Writer<{ 16 + MAX_ACCESS }> {
    let mut access = Writer::default();
    access.u64(offset).u32(region).u32(data.len() as u32).put(data);
    access
}

impl State {
    fn set_irqs(&mut self, flags: u32, start: usize, count: usize, fds: &[BorrowedFd<'_>]) -> Outcome<()> {
        let mut request = Writer::<20>::default();
        let flags = flags | protocol::IRQ_ACTION_TRIGGER;
        request.u32(20).u32(flags).u32(protocol::IRQ_MSIX).u32(start as u32).u32(count as u32);
        self.connection.request(Command::DeviceSetIrqs, request.written(), fds, &mut []).map(|_| ())
    }

    /// Sets a vector after the other, as many at once as have a target and fit into a message. One
    /// without a target is a request of count 1 and no file descriptor.
    fn set_vectors(&mut self, vectors: Interrupts<'_>) -> Outcome<()> {
        let mut start = 0;
        while start < vectors.len() {
            let fds: Vec<_> =
                vectors[start..].iter().take(self.max_fds).map_while(|vector| *vector).collect();
            let count = fds.len().max(1);
            self.set_irqs(protocol::IRQ_DATA_EVENTFD, start, count, &fds)?;
            start += count;
        }
        Ok(())
    }
}

impl Function for VfioUser {
    fn info(&self) -> &Info {
        &self.info
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        check_config_access(&self.info, "configuration read", offset, data.len())?;
        let outcome = region_read(&mut self.lock().connection, protocol::REGION_CONFIG, offset as u64, data);
        self.describe("configuration read", outcome)
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        check_config_access(&self.info, "configuration write", offset, data.len())?;
        let mut state = self.lock();
        for (at, part) in (offset as u64..).step_by(MAX_ACCESS).zip(data.chunks(MAX_ACCESS)) {
            let access = write_access(protocol::REGION_CONFIG, at, part);
            let outcome = state.connection.request(Command::RegionWrite, access.written(), &[], &mut []);
            self.describe("configuration write", outcome)?;
        }
        Ok(())
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR read", bar, offset, data.len())?;
        let outcome = region_read(&mut self.lock().connection, bar as u32, offset, data);
        self.describe("BAR read", outcome)
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR write", bar, offset, data.len())?;
        let access = write_access(bar as u32, offset, data);
        let outcome = self.lock().connection.post(Command::RegionWrite, access.written());
        self.describe("BAR write", outcome)
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        if vectors.len() > self.info.msix_vectors as usize {
            let detail =
                format!("{} has {} vectors, not {}", self.info.name, self.info.msix_vectors, vectors.len());
            return Err(Error::OutOfRange { what: "MSI-X set-up", detail });
        }
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.vectors, vectors.len());
        let outcome = if vectors.is_empty() {
            state.set_irqs(protocol::IRQ_DATA_NONE, 0, 0, &[])
        } else {
            // Disabling first would lose interrupts that come in between.
            let dropped = vectors.len()..before.max(vectors.len());
            state.set_vectors(vectors).and_then(|()| {
                dropped
                    .into_iter()
                    .try_for_each(|vector| state.set_irqs(protocol::IRQ_DATA_EVENTFD, vector, 1, &[]))
            })
        };
        self.describe("MSI-X set-up", outcome)
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        let flags = match access {
            Access::Read => protocol::DMA_READ,
            Access::ReadWrite => protocol::DMA_READ | protocol::DMA_WRITE,
        };
        let mut request = Writer::<32>::default();
        request.u32(32).u32(flags).u64(memory.offset()).u64(iova).u64(memory.len() as u64);
        let outcome =
            self.lock().connection.request(Command::DmaMap, request.written(), &[memory.fd()], &mut []);
        self.describe("DMA mapping", outcome.map(|_| ()))
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        let mut request = Writer::<24>::default();
        request.u32(24).u32(0).u64(iova).u64(len);
        let outcome = self.lock().connection.request(Command::DmaUnmap, request.written(), &[], &mut []);
        self.describe("DMA unmapping", outcome.map(|_| ()))
    }

    fn reset(&self) -> Result<()> {
        let mut state = self.lock();
        let outcome = state.connection.request(Command::DeviceReset, &[], &[], &mut []);
        state.vectors = 0;
        self.describe("reset", outcome.map(|_| ()))
    }
}

const _: () = assert!(HEADER + 16 + MAX_ACCESS == protocol::MAX_MESSAGE);
