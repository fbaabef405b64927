//! A vfio-user server: one function on one socket, one client at a time (vfio-user 0.9.1).

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nitride_driver::Function;
use nitride_driver::vfio_user::protocol::{Command, HEADER, Header, flags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::Client;
use super::message::{self, Message};

/// A function's socket. Dropping it ends the connection, resets the function and removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    connection: Mutex<Option<UnixStream>>,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<UnixStream>> {
        // Holders only replace the value: a panic leaves nothing half done.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds a socket at `path`, for this user alone. A socket that nobody listens on any more is replaced.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if path.exists() && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Server {
    /// Serves `function` at `path` from a thread of its own.
    pub fn start(path: &Path, function: Arc<dyn Function>) -> io::Result<Self> {
        let listener = bind(path)?;
        let shared = Arc::new(Shared::default());
        let (accepting, state) = (listener.try_clone()?, Arc::clone(&shared));
        let name = format!("vfio-user {}", function.info().name);
        let thread =
            std::thread::Builder::new().name(name).spawn(move || accept(&accepting, &state, &function))?;
        Ok(Self { path: path.to_owned(), listener, shared, thread: Some(thread) })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A client is connected.
    pub fn is_connected(&self) -> bool {
        self.shared.lock().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Each only fails when its socket is gone already.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(stream) = self.shared.lock().as_ref() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves one client after the other; who comes while one is served is turned away, and who comes after one has
/// hung up waits until the function is reset.
fn accept(listener: &UnixListener, shared: &Arc<Shared>, function: &Arc<dyn Function>) {
    let mut serving: Option<JoinHandle<()>> = None;
    while let Ok((stream, _)) = listener.accept() {
        let Ok(handle) = stream.try_clone() else { continue };
        if shared.lock().as_ref().is_some_and(has_hung_up)
            && let Some(thread) = serving.take()
        {
            let _ = thread.join();
        }
        {
            let mut connection = shared.lock();
            if connection.is_some() {
                turn_away(stream);
                continue;
            }
            *connection = Some(handle);
        }
        let (state, function) = (Arc::clone(shared), Arc::clone(function));
        serving = std::thread::Builder::new()
            .name(format!("client of {}", function.info().name))
            .spawn(move || {
                serve(stream, function);
                *state.lock() = None;
            })
            .ok();
        if serving.is_none() {
            *shared.lock() = None;
        }
    }
    if let Some(thread) = serving {
        let _ = thread.join();
    }
}

fn has_hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|_| fds[0].revents().contains(PollFlags::HUP))
}

/// Answers the first request with EBUSY.
fn turn_away(mut stream: UnixStream) {
    let wait = Some(std::time::Duration::from_secs(1));
    if stream.set_read_timeout(wait).is_ok()
        && let Ok(Some(message)) = message::receive(&mut stream)
    {
        let _ = reply_error(&mut stream, &message.header, rustix::io::Errno::BUSY.raw_os_error());
    }
}

fn serve(mut stream: UnixStream, function: Arc<dyn Function>) {
    let name = function.info().name.clone();
    tracing::info!("{name}: a client connected");
    let mut client = Client::new(function);
    loop {
        let message = match message::receive(&mut stream) {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(
                    "{name}: the client's message cannot be read ({error}): closing the connection"
                );
                break;
            }
        };
        if let Err(error) = answer(&mut stream, &mut client, message) {
            tracing::warn!("{name}: the client does not take answers ({error}): closing the connection");
            break;
        }
    }
    client.leave();
    tracing::info!("{name}: the client is gone, the function was reset");
}

fn answer(stream: &mut UnixStream, client: &mut Client, message: Message) -> io::Result<()> {
    let header = message.header;
    let outcome = Command::from_number(header.command)
        .ok_or(rustix::io::Errno::OPNOTSUPP.raw_os_error())
        .and_then(|command| client.handle(command, message));
    if header.flags & flags::NO_REPLY != 0 {
        return Ok(());
    }
    match outcome {
        Ok(payload) => {
            let size = (HEADER + payload.len()) as u32;
            let reply = Header { size, flags: flags::REPLY, error: 0, ..header };
            message::send(stream, &reply, &payload)
        }
        Err(error) => reply_error(stream, &header, error),
    }
}

fn reply_error(stream: &mut UnixStream, header: &Header, error: i32) -> io::Result<()> {
    let flags = flags::REPLY | flags::ERROR;
    message::send(stream, &Header { size: HEADER as u32, flags, error: error as u32, ..*header }, &[])
}
