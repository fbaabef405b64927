//! The control socket of a machine: one JSON object a line, one answer each.
//!
//! | request | answer, beside `"ok": true` |
//! |---|---|
//! | `{"op": "status"}` | `state`, `cpus`, `memory` (bytes), `functions` (`address`, `name`, `failed`) |
//! | `{"op": "exits"}` | `exits`: vCPU exits by reason, and `total` |
//! | `{"op": "power_button"}` | nothing: the guest is asked to shut down, and may take its time |
//! | `{"op": "stop"}` | nothing: the machine ends at once |
//!
//! What cannot be answered gets `{"ok": false, "error": "…"}`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

/// Clients at a time.
const CLIENTS_MAX: usize = 16;
/// Longest request in bytes.
const LINE_MAX: usize = 4096;

/// Why the control socket cannot be. One line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process answers there.
    #[error("the API socket {} is in use by another process: give another path", .0.display())]
    Busy(PathBuf),
    /// It cannot be made.
    #[error("cannot create the API socket {}: {source}", .path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What the machine is and does.
    Status,
    /// Exits by reason.
    Exits,
    /// Press the guest's power button.
    PowerButton,
    /// End it.
    Stop,
}

/// The socket and its clients. Dropping it removes the socket.
#[derive(Debug)]
pub struct Api {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Api {
    /// Listens at `path`, for this user only. A socket that nobody answers any more is replaced.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket()) {
            match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                _ => return Err(Error::Busy(path.to_owned())),
            }
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let this = Self { listener, path: path.to_owned(), clients: Vec::new() };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        this.listener.set_nonblocking(true).map_err(failed)?;
        Ok(this)
    }

    /// What to wait for: the listener, then the clients.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.clients.iter().map(|client| client.stream.as_fd()))
    }

    /// Takes new clients and answers all requests that have come; `answer` gets each valid one.
    pub fn serve(&mut self, mut answer: impl FnMut(Request) -> Value) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, buffer: Vec::new() });
            }
        }
        self.clients.retain_mut(|client| client.serve(&mut answer));
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // Nothing can be done about a socket that somebody else removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    /// `false`: the client is gone, or does not keep to the protocol.
    fn serve(&mut self, answer: &mut impl FnMut(Request) -> Value) -> bool {
        let mut data = [0; LINE_MAX];
        let open = match self.stream.read(&mut data) {
            Ok(len) => {
                self.buffer.extend_from_slice(&data[..len]);
                len > 0
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let mut reply = respond(&line, answer).to_string();
            reply.push('\n');
            if self.stream.write_all(reply.as_bytes()).is_err() {
                return false;
            }
        }
        open && self.buffer.len() < LINE_MAX
    }
}

fn respond(line: &[u8], answer: &mut impl FnMut(Request) -> Value) -> Value {
    match serde_json::from_slice(line) {
        Ok(request) => {
            let mut value = answer(request);
            value["ok"] = true.into();
            value
        }
        Err(error) => json!({ "ok": false, "error": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    fn echo(request: Request) -> Value {
        json!({ "request": format!("{request:?}") })
    }

    fn line(stream: &UnixStream) -> Value {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn requests_are_answered_in_order_and_junk_with_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api");
        let mut api = Api::new(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"{\"op\":\"stat").unwrap();
        api.serve(echo);
        client.write_all(b"us\"}\n").unwrap();
        api.serve(echo);
        assert_eq!(line(&client), json!({ "ok": true, "request": "Status" }));
        client.write_all(b"{\"op\":\"reboot\"}\n").unwrap();
        api.serve(echo);
        let answer = line(&client);
        assert_eq!(answer["ok"], false);
        assert!(answer["error"].as_str().unwrap().contains("reboot"), "{answer}");
        client.write_all(b"{\"op\":\"stop\"}\n").unwrap();
        api.serve(echo);
        assert_eq!(line(&client)["request"], "Stop");
    }

    #[test]
    fn clients_that_go_or_flood_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api");
        let mut api = Api::new(&path).unwrap();
        let mut flood = UnixStream::connect(&path).unwrap();
        drop(UnixStream::connect(&path).unwrap());
        flood.write_all(&[b' '; LINE_MAX]).unwrap();
        api.serve(echo);
        assert_eq!(api.fds().count(), 1);
    }

    #[test]
    fn a_socket_in_use_is_refused_and_a_dead_one_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api");
        let api = Api::new(&path).unwrap();
        assert!(matches!(Api::new(&path), Err(Error::Busy(_))));
        drop(api);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && Api::new(&path).is_ok());
        std::fs::write(&path, "a file").unwrap();
        assert!(matches!(Api::new(&path), Err(Error::Io { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }
}
