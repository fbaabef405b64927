//! The daemon's configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nitride_abi::card::{NAMESPACES, PF_STORAGE, VF_STORAGE_FIRST, VFS};
use serde::{Deserialize, Serialize};

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
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the sockets, created if it is not there.
    pub sockets: PathBuf,
    /// The volumes.
    #[serde(default, rename = "volume")]
    pub volumes: Vec<Volume>,
    /// The simulation.
    #[serde(default)]
    pub simulation: Simulation,
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

/// A storage function as users call it: `pf2`, or `vf0` to `vf7` for the VFs of PF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(u8);

impl FunctionName {
    /// All storage functions.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(PF_STORAGE).chain(VF_STORAGE_FIRST..VF_STORAGE_FIRST + VFS).map(Self)
    }

    /// Its function number on the card.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl std::fmt::Display for FunctionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == PF_STORAGE { f.write_str("pf2") } else { write!(f, "vf{}", self.0 - VF_STORAGE_FIRST) }
    }
}

impl TryFrom<String> for FunctionName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::all().find(|function| function.to_string() == text).ok_or_else(|| {
            format!("function {text:?}: not a storage function, use pf2 or vf0 to vf{}", VFS - 1)
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
        for log in [&mut config.simulation.tlp_log, &mut config.simulation.trace].into_iter().flatten() {
            *log = directory.join(&*log);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
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
