//! The daemon's configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nitride_abi::card::{
    ETHERNET_PORTS, NAMESPACES, PF_NETWORK, PF_STORAGE, VF_NETWORK_FIRST, VF_STORAGE_FIRST, VFS, device_of,
};
use serde::{Deserialize, Serialize};

use crate::ethernet::Peer;

/// MTUs that a network device can have: from IPv4's least to what fits into the longest frame with two tags.
const MTUS: std::ops::RangeInclusive<u16> = 68..=8996;

/// A card as a TOML file describes it.
///
/// ```toml
/// sockets = "/run/nitride"          # a socket a function: pf2.sock, vf0.sock …; control.sock
///
/// [[volume]]
/// name = "alice"
/// image = "alice.img"               # relative to this file
/// size = "64 MiB"                   # created with this size if it is not there
/// function = "vf0"                  # or "pf2"; left out: attached later through the control socket
///
/// [[network]]                       # a network device
/// function = "net0"                 # or "pf1"
/// network = 1                       # those of one network reach each other
/// mac = "02:4e:54:00:00:01"         # the one address that it may send from
/// ipv4 = "10.0.0.1"                 # the same; left out: any
///
/// [[ethernet]]                      # the first Ethernet port; the next such table is the second
/// network = 1
/// tap = "nitride0"                  # or interface = "veth0", card = "cable.sock", replay = "in.pcapng"
/// capture = "port0.pcapng"          # what passes it
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the sockets, created if it is not there.
    pub sockets: PathBuf,
    /// The volumes.
    #[serde(default, rename = "volume")]
    pub volumes: Vec<Volume>,
    /// The network devices.
    #[serde(default, rename = "network")]
    pub networks: Vec<NetworkDevice>,
    /// The Ethernet ports, in order.
    #[serde(default)]
    pub ethernet: Vec<Ethernet>,
    /// The simulation.
    #[serde(default)]
    pub simulation: Simulation,
}

/// A network device: what its port of the switch may do. Devices that are not named have no link.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDevice {
    /// Its function.
    pub function: FunctionName,
    /// The network that it is in.
    pub network: u8,
    /// Its MAC address: the only one that it may send from.
    pub mac: MacAddress,
    /// The only IPv4 address that it may send from; any if left out.
    #[serde(default)]
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// Its MTU.
    #[serde(default = "ethernet_mtu")]
    pub mtu: u16,
}

fn ethernet_mtu() -> u16 {
    1500
}

impl NetworkDevice {
    /// Its number on the card, which is its port's at the switch, too.
    pub(super) fn number(&self) -> u8 {
        device_of(self.function.number(), VFS).unwrap_or_default()
    }

    fn wrong(&self, detail: String) -> ConfigError {
        ConfigError::Network { function: self.function, detail }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.function.is_storage() {
            let last = VFS - 1;
            return Err(self.wrong(format!("not a network function, use pf1 or net0 to net{last}")));
        }
        if self.mac.0[0] & 1 != 0 {
            return Err(self.wrong(format!("mac {}: a multicast address", self.mac)));
        }
        if !MTUS.contains(&self.mtu) {
            return Err(self.wrong(format!("mtu {}: use {} to {}", self.mtu, MTUS.start(), MTUS.end())));
        }
        Ok(())
    }
}

/// A MAC address, as `"02:4e:54:00:00:01"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct MacAddress(pub [u8; 6]);

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect();
        let bytes: Option<[u8; 6]> = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| format!("mac {text:?}: write six bytes, for example \"02:4e:54:00:00:01\""))
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What an Ethernet port is connected to: at most one of the first four. Without any its link is down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Ethernet {
    /// The network that it is in.
    pub network: u8,
    /// A TAP device of this host, made if it is not there.
    pub tap: Option<String>,
    /// An Ethernet interface of this host, one end of a veth pair say.
    pub interface: Option<String>,
    /// A port of another simulated card that names the same socket.
    pub card: Option<PathBuf>,
    /// A pcapng file whose frames arrive at their times after the start.
    pub replay: Option<PathBuf>,
    /// A pcapng file of what passes the port.
    pub capture: Option<PathBuf>,
}

impl Ethernet {
    /// What the port is connected to; an error where that is more than one thing.
    pub fn peer(&self) -> Result<Option<Peer>, String> {
        let peers = [
            self.tap.clone().map(Peer::Tap),
            self.interface.clone().map(Peer::Interface),
            self.card.clone().map(Peer::Card),
            self.replay.clone().map(Peer::Replay),
        ];
        let mut peers = peers.into_iter().flatten();
        match (peers.next(), peers.next()) {
            (peer, None) => Ok(peer),
            _ => Err("connected twice: give one of tap, interface, card and replay".into()),
        }
    }
}

/// A volume: an image on the media, and where it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// How commands and reports call it.
    pub name: String,
    /// Its raw image.
    pub image: PathBuf,
    /// Its size, for an image that is to be created.
    #[serde(default)]
    pub size: Option<Size>,
    /// The function that it is a namespace of.
    #[serde(default)]
    pub function: Option<FunctionName>,
    /// Its namespace identifier.
    #[serde(default = "first_namespace")]
    pub nsid: u32,
    /// Writes are refused.
    #[serde(default)]
    pub read_only: bool,
    /// Logical block size in bytes: 512 or 4096.
    #[serde(default = "small_blocks")]
    pub block_size: u32,
}

fn first_namespace() -> u32 {
    1
}

fn small_blocks() -> u32 {
    512
}

/// How the card is simulated. All of it has defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Simulation {
    /// Seed of every random choice.
    pub seed: u64,
    /// Cycles from the card to the host, and as many back; 125 (500 ns at 250 MHz) if left out.
    pub link_latency: Option<u64>,
    /// Cycles from a read's address to the media's first data.
    pub media_latency: Option<u64>,
    /// File for a log of every TLP.
    pub tlp_log: Option<PathBuf>,
    /// File for a waveform.
    pub trace: Option<PathBuf>,
    /// First cycle of the waveform.
    pub trace_from: u64,
}

/// A number of bytes, as `"64 MiB"`, `"512 KiB"`, `"1 GiB"` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "SizeText", into = "u64")]
pub struct Size(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Bytes(u64),
    Text(String),
}

impl TryFrom<SizeText> for Size {
    type Error = String;

    fn try_from(text: SizeText) -> Result<Self, String> {
        match text {
            SizeText::Bytes(bytes) => Ok(Self(bytes)),
            SizeText::Text(text) => text.parse(),
        }
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let shift = match unit.trim() {
            "" | "B" => 0,
            "KiB" | "K" => 10,
            "MiB" | "M" => 20,
            "GiB" | "G" => 30,
            "TiB" | "T" => 40,
            _ => return Err(format!("size {text:?}: unknown unit, use B, KiB, MiB, GiB or TiB")),
        };
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
        bytes
            .map(Self)
            .ok_or_else(|| format!("size {text:?}: not a number of bytes, write for example \"64 MiB\""))
    }
}

/// A function as users call it: `pf1` and `net0` to `net7` are network devices, `pf2` and `vf0` to `vf7` NVMe controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(u8);

impl FunctionName {
    /// All functions that have a socket.
    pub fn all() -> impl Iterator<Item = Self> {
        let network = std::iter::once(PF_NETWORK).chain(VF_NETWORK_FIRST..VF_NETWORK_FIRST + VFS);
        let storage = std::iter::once(PF_STORAGE).chain(VF_STORAGE_FIRST..VF_STORAGE_FIRST + VFS);
        network.chain(storage).map(Self)
    }

    /// Its function number on the card.
    pub fn number(self) -> u8 {
        self.0
    }

    /// It is an NVMe controller; else it is a network device.
    pub fn is_storage(self) -> bool {
        self.0 == PF_STORAGE || self.0 >= VF_STORAGE_FIRST
    }
}

impl std::fmt::Display for FunctionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            PF_NETWORK => f.write_str("pf1"),
            PF_STORAGE => f.write_str("pf2"),
            vf if self.is_storage() => write!(f, "vf{}", vf - VF_STORAGE_FIRST),
            vf => write!(f, "net{}", vf - VF_NETWORK_FIRST),
        }
    }
}

impl TryFrom<String> for FunctionName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let last = VFS - 1;
        Self::all().find(|function| function.to_string() == text).ok_or_else(|| {
            format!(
                "function {text:?}: no such function, use pf2 or vf0 to vf{last} for storage, pf1 or net0 to \
                 net{last} for the network"
            )
        })
    }
}

impl From<FunctionName> for String {
    fn from(function: FunctionName) -> Self {
        function.to_string()
    }
}

/// What is wrong with a configuration: one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key or a value that it must not have.
    #[error("configuration {path}: {detail}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        detail: String,
    },
    /// An Ethernet port cannot be as described.
    #[error("Ethernet port {port}: {detail}")]
    Ethernet {
        /// The port.
        port: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// A network device cannot be as described.
    #[error("network device {function}: {detail}")]
    Network {
        /// The device's function.
        function: FunctionName,
        /// What is wrong with it.
        detail: String,
    },
    /// A volume cannot be as described.
    #[error("volume {name}: {detail}")]
    Volume {
        /// The volume.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at its directory.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            ConfigError::Parse {
                path: path.to_owned(),
                detail: format!("line {line}: {}", error.message().replace('\n', " ")),
            }
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        config.sockets = directory.join(&config.sockets);
        for volume in &mut config.volumes {
            volume.image = directory.join(&volume.image);
        }
        for port in &mut config.ethernet {
            for path in [&mut port.card, &mut port.replay, &mut port.capture].into_iter().flatten() {
                *path = directory.join(&*path);
            }
        }
        for log in [&mut config.simulation.tlp_log, &mut config.simulation.trace].into_iter().flatten() {
            *log = directory.join(&*log);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (port, ethernet) in self.ethernet.iter().enumerate() {
            let wrong = |detail| ConfigError::Ethernet { port, detail };
            if port == ETHERNET_PORTS {
                return Err(wrong(format!("the card has ports 0 to {}", ETHERNET_PORTS - 1)));
            }
            ethernet.peer().map_err(wrong)?;
        }
        let (mut functions, mut addresses) = (BTreeSet::new(), BTreeMap::new());
        for device in &self.networks {
            device.check()?;
            if !functions.insert(device.function) {
                return Err(device.wrong("described twice".into()));
            }
            if let Some(other) = addresses.insert((device.network, device.mac), device.function) {
                return Err(device.wrong(format!("mac {}: {other} has it in the same network", device.mac)));
            }
        }
        let mut names = BTreeSet::new();
        let mut places = BTreeMap::new();
        for volume in &self.volumes {
            volume.check()?;
            if !names.insert(&volume.name) {
                return Err(volume.wrong("another volume has the same name".into()));
            }
            if let Some(function) = volume.function
                && let Some(other) = places.insert((function, volume.nsid), &volume.name)
            {
                return Err(
                    volume.wrong(format!("namespace {} of {function} is {other} already", volume.nsid))
                );
            }
        }
        Ok(())
    }
}

impl Volume {
    fn wrong(&self, detail: String) -> ConfigError {
        ConfigError::Volume { name: self.name.clone(), detail }
    }

    /// Checks what can be checked without its image.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=NAMESPACES as u32).contains(&self.nsid) {
            return Err(
                self.wrong(format!("nsid {}: a function has namespaces 1 to {NAMESPACES}", self.nsid))
            );
        }
        if let Some(function) = self.function.filter(|function| !function.is_storage()) {
            let last = VFS - 1;
            return Err(
                self.wrong(format!("{function} is not a storage function, use pf2 or vf0 to vf{last}"))
            );
        }
        if !matches!(self.block_size, 512 | 4096) {
            return Err(self.wrong(format!("block_size {}: use 512 or 4096", self.block_size)));
        }
        Ok(())
    }

    /// The image's length: of the file if there is one, else it is created with [`Volume::size`].
    pub fn prepare(&self) -> Result<u64, ConfigError> {
        let image = self.image.display();
        let length = match std::fs::metadata(&self.image) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(self.wrong(format!("image {image}: not a regular file"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let Some(Size(size)) = self.size else {
                    return Err(
                        self.wrong(format!("image {image}: no such file; give a size to have it created"))
                    );
                };
                self.check_length(size)?;
                std::fs::File::create_new(&self.image)
                    .and_then(|file| file.set_len(size))
                    .map_err(|error| self.wrong(format!("image {image}: cannot be created: {error}")))?;
                size
            }
            Err(error) => return Err(self.wrong(format!("image {image}: {error}"))),
        };
        if let Some(Size(size)) = self.size
            && length < size
        {
            return Err(self.wrong(format!("image {image} is too small: {length} bytes, size says {size}")));
        }
        self.check_length(length)?;
        Ok(length)
    }

    fn check_length(&self, length: u64) -> Result<(), ConfigError> {
        if length < 4096 || !length.is_multiple_of(4096) {
            return Err(
                self.wrong(format!("{length} bytes: a volume has a multiple of 4 KiB, and at least that"))
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("card.toml");
        std::fs::write(&path, text).expect("a file in it");
        Config::load(&path)
    }

    fn complaint(text: &str) -> String {
        load(text).expect_err("a bad configuration").to_string()
    }

    #[test]
    fn a_volume_gets_the_defaults_and_paths_start_at_the_file() {
        let config =
            load("sockets = 's'\n[[volume]]\nname = 'a'\nimage = 'a.img'\nsize = '64 MiB'\nfunction = 'vf3'")
                .unwrap();
        let volume = &config.volumes[0];
        assert_eq!((volume.nsid, volume.block_size, volume.read_only), (1, 512, false));
        assert_eq!(volume.size, Some(Size(64 << 20)));
        assert_eq!(volume.function.map(FunctionName::number), Some(VF_STORAGE_FIRST + 3));
        assert!(volume.image.is_absolute() && config.sockets.ends_with("s"));
    }

    #[test]
    fn each_mistake_is_named_in_one_line() {
        let volume = "sockets = 's'\n[[volume]]\nname = 'a'\nimage = 'a.img'\n";
        let network = "sockets = 's'\n[[network]]\nnetwork = 1\nmac = '02:00:00:00:00:01'\n";
        for (text, part) in [
            ("socket = 's'".to_string(), "line 1: unknown field `socket`"),
            ("sockets = 's'\n\nvolumes = 2".to_string(), "line 3: unknown field `volumes`"),
            (format!("{volume}function = 'vf8'"), "use pf2 or vf0 to vf7"),
            (format!("{volume}nsid = 5"), "namespaces 1 to 4"),
            (format!("{volume}block_size = 1024"), "use 512 or 4096"),
            (format!("{volume}size = '3 pounds'"), "unknown unit"),
            (
                format!(
                    "{volume}function = 'vf0'\n[[volume]]\nname = 'b'\nimage = 'b.img'\nfunction = 'vf0'"
                ),
                "namespace 1 of vf0 is a already",
            ),
            (format!("{volume}[[volume]]\nname = 'a'\nimage = 'b.img'"), "another volume has the same name"),
            (format!("{volume}function = 'net0'"), "net0 is not a storage function, use pf2"),
            (format!("{network}function = 'vf0'"), "not a network function, use pf1 or net0 to net7"),
            (format!("{network}function = 'net0'\nmtu = 9000"), "use 68 to 8996"),
            (
                format!("{network}function = 'net0'\n{}function = 'net0'", &network[14..]),
                "network device net0: described twice",
            ),
            (
                format!("{network}function = 'net0'\n{}function = 'net1'", &network[14..]),
                "net0 has it in the same network",
            ),
            (
                "sockets = 's'\n[[network]]\nfunction = 'net0'\nnetwork = 0\nmac = '2:0:0'".to_string(),
                "write six bytes",
            ),
            (
                "sockets = 's'\n[[ethernet]]\ntap = 'a'\ncard = 'b'".to_string(),
                "Ethernet port 0: connected twice",
            ),
            (
                format!("sockets = 's'\n{}", "[[ethernet]]\n".repeat(3)),
                "Ethernet port 2: the card has ports 0 to 1",
            ),
        ] {
            let complaint = complaint(&text);
            assert!(complaint.contains(part) && !complaint.contains('\n'), "{text:?} gave {complaint:?}");
        }
    }

    #[test]
    fn an_image_is_created_once_and_never_truncated() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("a.img");
        let mut volume = Volume {
            name: "a".into(),
            image: image.clone(),
            size: None,
            function: None,
            nsid: 1,
            read_only: false,
            block_size: 512,
        };
        assert!(volume.prepare().unwrap_err().to_string().contains("give a size"));
        assert!(!image.exists());
        volume.size = Some(Size(1 << 20));
        assert_eq!(volume.prepare().unwrap(), 1 << 20);
        volume.size = Some(Size(2 << 20));
        assert!(volume.prepare().unwrap_err().to_string().contains("too small"));
        assert_eq!(std::fs::metadata(&image).unwrap().len(), 1 << 20);
    }
}
