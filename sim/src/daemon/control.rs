//! The daemon's control socket: a JSON object a line, answered by one a line. `docs/daemon.md` describes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::config::FunctionName;
use super::{Daemon, DaemonError};

/// Longest request in bytes.
const MAX_REQUEST: u64 = 64 << 10;

/// What the control socket is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The functions, their sockets and whether they are in use.
    Functions,
    /// The volumes and where they are attached.
    Volumes,
    /// Makes a volume a namespace of a function.
    Attach {
        /// The volume's name.
        volume: String,
        /// The function.
        function: FunctionName,
        /// The namespace identifier.
        #[serde(default = "first_namespace")]
        nsid: u32,
    },
    /// Takes a volume away from its function.
    Detach {
        /// The volume's name.
        volume: String,
    },
    /// What the card and the simulation did so far.
    Counters,
    /// Makes everything durable and ends the daemon.
    Stop,
}

fn first_namespace() -> u32 {
    1
}

/// Answers whoever connects, until `stop` is notified; a stop request notifies it.
pub(super) async fn serve(listener: UnixListener, daemon: Arc<Daemon>, stop: Arc<Notify>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (daemon, stop) = (Arc::clone(&daemon), Arc::clone(&stop));
        tokio::spawn(async move {
            if let Err(error) = converse(stream, daemon, stop).await {
                tracing::debug!("control socket: {error}");
            }
        });
    }
}

async fn converse(mut stream: UnixStream, daemon: Arc<Daemon>, stop: Arc<Notify>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        (&mut reader).take(MAX_REQUEST).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let request = serde_json::from_slice::<Request>(&line);
        let stops = matches!(request, Ok(Request::Stop));
        let daemon = Arc::clone(&daemon);
        // The card answers in its own time, which other connections need not wait for.
        let answer = tokio::task::spawn_blocking(move || match request {
            Ok(request) => carry_out(&daemon, request).map_err(|error| error.to_string()),
            Err(error) => Err(format!("request: {error}")),
        });
        let answer = match answer.await {
            Ok(Ok(value)) => json!({ "ok": value }),
            Ok(Err(error)) => json!({ "error": error }),
            Err(_) => json!({ "error": "the request could not be carried out" }),
        };
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
        if stops {
            stop.notify_one();
        }
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
    }
}

fn carry_out(daemon: &Daemon, request: Request) -> Result<Value, DaemonError> {
    Ok(match request {
        Request::Functions => json!(daemon.functions()),
        Request::Volumes => json!(daemon.volumes()),
        Request::Attach { volume, function, nsid } => json!(daemon.attach(&volume, function, nsid)?),
        Request::Detach { volume } => json!(daemon.detach(&volume)?),
        Request::Counters => json!(daemon.counters()?),
        Request::Stop => Value::Null,
    })
}
