//! The card daemon: one card, a vfio-user socket for each of its functions, and a control socket.

mod client;
pub mod config;
pub mod control;
mod message;
mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nitride_abi::card::{DEVICES, PF_MANAGEMENT, VFS, controller_of};
use nitride_driver::Function;
use nitride_driver::management::{self, Assignment, Management, Port};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::ethernet::{AttachError, Attachment};
use crate::{Counters, Edge, LinkOptions, MediaOptions, Options, Simulator, Speed, Trace};
use config::{Config, ConfigError, FunctionName, Volume};
pub use server::Server;

/// Media addresses of a volume: each has 1 TiB to itself.
const VOLUME_SHIFT: u32 = 40;
/// Volumes that fit into the media's 48-bit addresses.
const MAX_VOLUMES: usize = 255;
/// The control socket's name in the sockets' directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Why the daemon cannot start, or cannot do what it is asked: one line.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket cannot be made.
    #[error("socket {path}: {detail}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why, and what to do.
        detail: String,
    },
    /// The simulation.
    #[error(transparent)]
    Simulation(#[from] crate::Error),
    /// An image.
    #[error(transparent)]
    Image(#[from] crate::ImageError),
    /// An Ethernet port.
    #[error(transparent)]
    Ethernet(#[from] AttachError),
    /// The card's management function.
    #[error(transparent)]
    Card(#[from] management::Error),
    /// A request names what is not there, or not free.
    #[error("{0}")]
    Refused(String),
    /// The system.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// A volume, and where it is on the media.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    #[serde(flatten)]
    volume: Volume,
    bytes: u64,
    #[serde(skip)]
    base: u64,
}

/// A function, as the control socket reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionReport {
    /// `pf2`, `vf0`, `net0` and so on.
    pub function: FunctionName,
    /// Its vfio-user socket.
    pub socket: PathBuf,
    /// A client is connected.
    pub connected: bool,
    /// Its namespaces: identifier and volume.
    pub namespaces: Vec<(u32, String)>,
}

/// What was done so far, as the control socket reports it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CounterReport {
    /// Clock cycles that have passed.
    pub clock: u64,
    /// Of these, cycles in which the card was simulated.
    pub cycles: u64,
    /// Thousands of them a second, idle time left out.
    pub kilohertz: f64,
    /// Bytes that functions read of clients' memory.
    pub dma_read_bytes: u64,
    /// Bytes that they wrote to it.
    pub dma_write_bytes: u64,
    /// DMA requests that no mapping allowed.
    pub dma_faults: u64,
    /// Interrupt messages.
    pub interrupts: u64,
    /// Error messages (AER).
    pub error_messages: u64,
    /// Bytes read from the media.
    pub media_read_bytes: u64,
    /// Bytes written to it.
    pub media_write_bytes: u64,
    /// What the card did against the rules of PCIe.
    pub violations: u64,
    /// The card's own counters (`abi::management::Counter`).
    pub card: serde_json::Map<String, serde_json::Value>,
    /// What passed the ports of the switch (`abi::management::PortEvent`): packets and bytes, those that are not 0.
    pub ports: serde_json::Map<String, serde_json::Value>,
}

/// A running card with its sockets.
pub struct Daemon {
    sockets: PathBuf,
    simulator: Simulator,
    management: Mutex<Management>,
    servers: Vec<(FunctionName, Server)>,
    volumes: Mutex<Vec<Entry>>,
    /// Ports of the switch that the card's file has, and their names.
    ports: Vec<(u8, String)>,
    /// Held for as long as the card's cables are plugged in.
    ethernet: Vec<Attachment>,
}

/// The sockets' directory, with a control socket that no other daemon answers on.
struct Control {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
    /// The directories that were made for this daemon, the innermost first.
    made: Vec<PathBuf>,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        for directory in &self.made {
            // Fails, as it should, when somebody else has put something there.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

impl Control {
    fn bind(directory: &Path) -> Result<Self, DaemonError> {
        let made = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made = made.map(Path::to_owned).collect();
        std::fs::create_dir_all(directory).map_err(|error| socket(directory, &error))?;
        let path = directory.join(CONTROL_SOCKET);
        let listener = server::bind(&path).map_err(|error| socket(&path, &error))?;
        listener.set_nonblocking(true).map_err(|error| socket(&path, &error))?;
        Ok(Self { path, listener, made })
    }
}

/// Images made for a daemon: they go with one that does not start.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for image in &self.0 {
            let _ = std::fs::remove_file(image);
        }
    }
}

impl Made {
    fn prepare(&mut self, volume: &Volume) -> Result<u64, ConfigError> {
        if !volume.image.exists() {
            self.0.push(volume.image.clone());
        }
        volume.prepare()
    }
}

fn socket(path: &Path, error: &std::io::Error) -> DaemonError {
    let detail = if error.kind() == std::io::ErrorKind::AddrInUse {
        "another daemon serves it: stop that one, or choose another directory for `sockets`".into()
    } else {
        error.to_string()
    };
    DaemonError::Socket { path: path.to_owned(), detail }
}

/// Starts the card of `edge` as `config` says, tells `started` of it, and serves until SIGINT, SIGTERM or a stop request.
///
/// Everything is durable when it returns. When it cannot start, it leaves nothing behind that was not there before.
pub fn run(
    config: &Config,
    edge: Box<dyn Edge>,
    started: impl FnOnce(&Arc<Daemon>),
) -> Result<CounterReport, DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| DaemonError::System("the daemon's runtime", error))?;
    let control = Control::bind(&config.sockets)?;
    let daemon = Arc::new(Daemon::start(config, edge)?);
    started(&daemon);
    runtime
        .block_on(serve(&control, &daemon))
        .map_err(|error| DaemonError::System("the daemon's sockets", error))?;
    runtime.shutdown_background();
    let report = daemon.counters();
    daemon.simulator.stop();
    report
}

/// The ports that a card's file has, and their names.
fn ports(config: &Config) -> Vec<(u8, String)> {
    let devices = config.networks.iter().map(|device| (device.number(), device.function.to_string()));
    let ethernet = (DEVICES as u8..).zip(0..config.ethernet.len());
    let ethernet = ethernet.map(|(number, port)| (number, format!("ethernet{port}")));
    devices.chain(ethernet).collect()
}

async fn serve(control: &Control, daemon: &Arc<Daemon>) -> std::io::Result<()> {
    let listener = UnixListener::from_std(control.listener.try_clone()?)?;
    let stop = Arc::new(Notify::new());
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        () = control::serve(listener, Arc::clone(daemon), Arc::clone(&stop)) => {}
        () = stop.notified() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

impl Daemon {
    fn start(config: &Config, edge: Box<dyn Edge>) -> Result<Self, DaemonError> {
        // First of all, since it costs nothing and is what is wrong most often.
        let mut made = Made::default();
        let sizes =
            config.volumes.iter().map(|volume| made.prepare(volume)).collect::<Result<Vec<_>, _>>()?;
        let simulator = Simulator::start(edge, options(config))?;
        let endpoint =
            |number: u8| simulator.endpoint(number).map(|endpoint| Arc::new(endpoint) as Arc<dyn Function>);
        let management = Management::open(endpoint(PF_MANAGEMENT)?)?;
        let mut servers = Vec::new();
        for function in FunctionName::all() {
            let path = config.sockets.join(format!("{function}.sock"));
            let server =
                Server::start(&path, endpoint(function.number())?).map_err(|error| socket(&path, &error))?;
            servers.push((function, server));
        }
        let mut daemon = Self {
            ethernet: Vec::new(),
            sockets: config.sockets.clone(),
            simulator,
            management: Mutex::new(management),
            servers,
            volumes: Mutex::new(Vec::new()),
            ports: ports(config),
        };
        for (volume, bytes) in config.volumes.iter().zip(sizes) {
            daemon.add(volume, bytes)?;
        }
        daemon.connect(config)?;
        let mut ports: Vec<_> = config.ethernet.iter().enumerate().collect();
        // Replays last: the other ports then see all of what they bring about.
        ports.sort_by_key(|(_, ethernet)| ethernet.replay.is_some());
        let attach = |(port, ethernet): (usize, &config::Ethernet)| {
            let peer = ethernet.peer().map_err(|detail| ConfigError::Ethernet { port, detail })?;
            Ok(Attachment::new(&daemon.simulator, port, peer.as_ref(), ethernet.capture.as_deref())?)
        };
        let ethernet: Vec<_> = ports.into_iter().map(attach).collect::<Result<_, DaemonError>>()?;
        daemon.ethernet = ethernet;
        made.0.clear();
        Ok(daemon)
    }

    /// Sets the switch's ports and tables up, and gives network devices their addresses.
    fn connect(&self, config: &Config) -> Result<(), DaemonError> {
        let management = self.management.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = std::collections::BTreeMap::<u8, u32>::new();
        for (number, ethernet) in (DEVICES as u8..).zip(&config.ethernet) {
            let network = ethernet.network;
            management.set_port(number, Port { enabled: true, network, ..Port::default() })?;
            *members.entry(network).or_default() |= 1 << number;
        }
        for device in &config.networks {
            let (network, mac) = (device.network, device.mac.0);
            let number = device.number();
            let ipv4 = device.ipv4.map(|address| address.octets());
            let port = Port { enabled: true, network, mac: Some(mac), ipv4 };
            let given = Assignment { mac, mtu: device.mtu, link_up: true, announce: false };
            management.place(number, port, given)?;
            *members.entry(network).or_default() |= 1 << number;
        }
        members.into_iter().try_for_each(|(network, ports)| Ok(management.set_members(network, ports)?))
    }

    fn volumes_mut(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a volume of that size on the media, and onto its function if it names one.
    fn add(&self, volume: &Volume, bytes: u64) -> Result<(), DaemonError> {
        let mut volumes = self.volumes_mut();
        if volumes.len() == MAX_VOLUMES {
            return Err(DaemonError::Refused(format!(
                "volume {}: the media hold {MAX_VOLUMES} volumes",
                volume.name
            )));
        }
        let base = (volumes.len() as u64 + 1) << VOLUME_SHIFT;
        if bytes > 1 << VOLUME_SHIFT {
            return Err(DaemonError::Refused(format!(
                "volume {}: {bytes} bytes, a volume has at most 1 TiB",
                volume.name
            )));
        }
        let (image, read_only) = (volume.image.clone(), volume.read_only);
        self.simulator.with(move |system| system.media().attach(base, &image, read_only))??;
        let entry = Entry { volume: volume.clone(), bytes, base };
        if let Some(function) = volume.function {
            self.map(&entry, function, volume.nsid, true)?;
        }
        volumes.push(entry);
        Ok(())
    }

    /// Tells the card that `entry` is, or is no longer, a namespace.
    fn map(
        &self,
        entry: &Entry,
        function: FunctionName,
        nsid: u32,
        attached: bool,
    ) -> Result<(), DaemonError> {
        let controller = controller_of(function.number(), VFS).unwrap_or_default();
        let management = self.management.lock().unwrap_or_else(PoisonError::into_inner);
        if !attached {
            return Ok(management.clear_volume(controller, nsid)?);
        }
        let volume = management::Volume {
            base: entry.base,
            blocks: entry.bytes / entry.volume.block_size as u64,
            large_blocks: entry.volume.block_size == 4096,
            read_only: entry.volume.read_only,
        };
        Ok(management.set_volume(controller, nsid, volume)?)
    }

    /// The directory of the sockets.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The functions, as they are now.
    pub fn functions(&self) -> Vec<FunctionReport> {
        let volumes = self.volumes_mut();
        let report = |(function, server): &(FunctionName, Server)| {
            let here = volumes.iter().filter(|entry| entry.volume.function == Some(*function));
            FunctionReport {
                function: *function,
                socket: server.path().to_owned(),
                connected: server.is_connected(),
                namespaces: here.map(|entry| (entry.volume.nsid, entry.volume.name.clone())).collect(),
            }
        };
        self.servers.iter().map(report).collect()
    }

    /// The volumes, as the control socket reports them.
    fn volumes(&self) -> Vec<Entry> {
        self.volumes_mut().clone()
    }

    fn attach(&self, name: &str, function: FunctionName, nsid: u32) -> Result<Entry, DaemonError> {
        let mut volumes = self.volumes_mut();
        let taken = volumes.iter().find(|e| e.volume.function == Some(function) && e.volume.nsid == nsid);
        if !function.is_storage() {
            return Err(DaemonError::Refused(format!(
                "volume {name}: {function} is not a storage function, use pf2 or vf0 to vf{}",
                VFS - 1
            )));
        }
        if let Some(other) = taken {
            let other = &other.volume.name;
            return Err(DaemonError::Refused(format!(
                "volume {name}: namespace {nsid} of {function} is {other} already"
            )));
        }
        let entry = find(&mut volumes, name)?;
        if let Some(function) = entry.volume.function {
            return Err(DaemonError::Refused(format!(
                "volume {name}: attached to {function} already, detach it first"
            )));
        }
        self.map(entry, function, nsid, true)?;
        entry.volume.function = Some(function);
        entry.volume.nsid = nsid;
        Ok(entry.clone())
    }

    fn detach(&self, name: &str) -> Result<Entry, DaemonError> {
        let mut volumes = self.volumes_mut();
        let entry = find(&mut volumes, name)?;
        let Some(function) = entry.volume.function else {
            return Err(DaemonError::Refused(format!("volume {name}: not attached to any function")));
        };
        self.map(entry, function, entry.volume.nsid, false)?;
        self.simulator.with(|system| system.media().flush())??;
        entry.volume.function = None;
        Ok(entry.clone())
    }

    /// How fast the simulation runs.
    pub fn speed(&self) -> Result<Speed, DaemonError> {
        Ok(self.simulator.speed()?)
    }

    /// The counters of the ports at which something was counted.
    fn port_counters(&self, management: &Management) -> Result<serde_json::Map<String, Value>, DaemonError> {
        let mut ports = serde_json::Map::new();
        for (number, name) in &self.ports {
            let counters = management.port_counters(*number)?.into_iter();
            let counted = counters.filter(|(_, packets, _)| *packets > 0).map(|(event, packets, bytes)| {
                (event.name().to_owned(), json!({ "packets": packets, "bytes": bytes }))
            });
            let counted: serde_json::Map<_, _> = counted.collect();
            if !counted.is_empty() {
                ports.insert(name.clone(), counted.into());
            }
        }
        Ok(ports)
    }

    /// What was done so far.
    pub fn counters(&self) -> Result<CounterReport, DaemonError> {
        let management = self.management.lock().unwrap_or_else(PoisonError::into_inner);
        let card =
            management.counters()?.into_iter().map(|(counter, value)| (counter.name().into(), value.into()));
        let ports = self.port_counters(&management)?;
        let Counters { cycles: clock, functions, media_bytes, violations, .. } = self.simulator.counters()?;
        let speed = self.simulator.speed()?;
        let sum = |part: fn(&crate::FunctionCounters) -> u64| functions.iter().map(part).sum();
        Ok(CounterReport {
            clock,
            cycles: speed.cycles,
            kilohertz: speed.kilohertz(),
            dma_read_bytes: sum(|f| f.dma_read_bytes),
            dma_write_bytes: sum(|f| f.dma_write_bytes),
            dma_faults: sum(|f| f.faults),
            interrupts: sum(|f| f.interrupts),
            error_messages: sum(|f| f.errors.iter().sum()),
            media_read_bytes: media_bytes[0],
            media_write_bytes: media_bytes[1],
            violations,
            card: card.collect(),
            ports,
        })
    }
}

fn find<'a>(volumes: &'a mut [Entry], name: &str) -> Result<&'a mut Entry, DaemonError> {
    let names = || volumes.iter().map(|e| e.volume.name.clone()).collect::<Vec<_>>().join(", ");
    match volumes.iter().position(|entry| entry.volume.name == name) {
        Some(index) => Ok(&mut volumes[index]),
        None => Err(DaemonError::Refused(format!("volume {name}: no such volume, there are: {}", names()))),
    }
}

fn options(config: &Config) -> Options {
    let simulation = &config.simulation;
    let (link, media) = (LinkOptions::default(), MediaOptions::default());
    Options {
        link: LinkOptions { latency: simulation.link_latency.unwrap_or(link.latency), ..link },
        media: MediaOptions { read_latency: simulation.media_latency.unwrap_or(media.read_latency), ..media },
        seed: simulation.seed,
        trace: simulation.trace.clone().map(|path| Trace { path, from_cycle: simulation.trace_from }),
        tlp_log: simulation.tlp_log.clone(),
    }
}
