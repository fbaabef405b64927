//! What a machine is to be: `vm.toml`, and the flags that override it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::boot::{Boot, DEFAULT_CMDLINE};
use crate::layout::{self, Layout};
use crate::pci::root::FUNCTIONS_MAX;

/// vCPUs of a machine at most.
pub const CPUS_MAX: u8 = 8;
/// Memory of a machine without a size of its own.
const MEMORY_DEFAULT: u64 = 256 << 20;

/// Why a machine cannot be made from its description. One line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}:{line}: {detail} (in `{text}`)", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line number, from 1 on.
        line: usize,
        /// What is wrong.
        detail: String,
        /// The line.
        text: String,
    },
    /// No kernel is named.
    #[error("no kernel: name one with --kernel or as `kernel` in vm.toml")]
    NoKernel,
    /// `cpus` out of range.
    #[error("cpus = {0}: a machine has 1 to {CPUS_MAX}")]
    Cpus(u8),
    /// Too many functions for a bus.
    #[error("{0} functions: a machine has room for {FUNCTIONS_MAX}")]
    Functions(usize),
    /// `memory` out of range.
    #[error(transparent)]
    Memory(#[from] layout::Error),
    /// More memory than the host has.
    #[error("memory of {} MiB is too large: this host has {} MiB", .0 >> 20, .1 >> 20)]
    Host(u64, u64),
}

/// A machine's description. All that is absent has a default, but for the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Kernel: vmlinux ELF or bzImage.
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: Option<String>,
    /// vCPUs.
    pub cpus: Option<u8>,
    /// Memory in bytes.
    #[serde(default, deserialize_with = "size")]
    pub memory: Option<u64>,
    /// PCI functions: vfio-user sockets and the like.
    #[serde(default)]
    pub functions: Vec<String>,
    /// Path of the control socket.
    pub api_socket: Option<PathBuf>,
    /// File for exits by reason, written at the end.
    pub stats: Option<PathBuf>,
    /// Filter system calls.
    pub seccomp: Option<bool>,
}

/// A machine that can be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Kernel: vmlinux ELF or bzImage.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: String,
    /// vCPUs, 1 to [`CPUS_MAX`].
    pub cpus: u8,
    /// Where memory is.
    pub layout: Layout,
    /// PCI functions, by what names them to a back end.
    pub functions: Vec<String>,
    /// Path of the control socket.
    pub api_socket: Option<PathBuf>,
    /// File for exits by reason, written at the end.
    pub stats: Option<PathBuf>,
    /// Filter system calls.
    pub seccomp: bool,
}

impl Description {
    /// Reads `vm.toml`. Relative paths in it start where the file is.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let mut this: Self = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        for path in
            [&mut this.kernel, &mut this.initrd, &mut this.api_socket, &mut this.stats].into_iter().flatten()
        {
            *path = directory.join(&path);
        }
        for function in this.functions.iter_mut().filter(|function| function.contains('/')) {
            *function = directory.join(&function).to_string_lossy().into_owned();
        }
        Ok(this)
    }

    /// This description with everything that `flags` has in place of its own.
    pub fn overridden_by(self, flags: Self) -> Self {
        Self {
            kernel: flags.kernel.or(self.kernel),
            initrd: flags.initrd.or(self.initrd),
            cmdline: flags.cmdline.or(self.cmdline),
            cpus: flags.cpus.or(self.cpus),
            memory: flags.memory.or(self.memory),
            functions: if flags.functions.is_empty() { self.functions } else { flags.functions },
            api_socket: flags.api_socket.or(self.api_socket),
            stats: flags.stats.or(self.stats),
            seccomp: flags.seccomp.or(self.seccomp),
        }
    }

    /// Checks it for a host with `host_memory` bytes of RAM and CPUs of `address_bits`.
    pub fn check(self, host_memory: u64, address_bits: u8) -> Result<Config, Error> {
        let kernel = self.kernel.ok_or(Error::NoKernel)?;
        let cpus = self.cpus.unwrap_or(1);
        if !(1..=CPUS_MAX).contains(&cpus) {
            return Err(Error::Cpus(cpus));
        }
        if self.functions.len() > FUNCTIONS_MAX {
            return Err(Error::Functions(self.functions.len()));
        }
        let memory = self.memory.unwrap_or(MEMORY_DEFAULT);
        let layout = Layout::new(memory, address_bits)?;
        if memory > host_memory {
            return Err(Error::Host(memory, host_memory));
        }
        Ok(Config {
            kernel,
            initrd: self.initrd,
            cmdline: self.cmdline.unwrap_or_else(|| DEFAULT_CMDLINE.to_owned()),
            cpus,
            layout,
            functions: self.functions,
            api_socket: self.api_socket,
            stats: self.stats,
            seccomp: self.seccomp.unwrap_or(true),
        })
    }
}

impl Config {
    /// What the machine boots.
    pub fn boot(&self) -> Boot<'_> {
        Boot { kernel: &self.kernel, initrd: self.initrd.as_deref(), cmdline: &self.cmdline }
    }
}

/// A TOML error with the line that it is in, which names the key.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = line_of(text, error);
    let detail = error.message().lines().collect::<Vec<_>>().join(", ");
    let text = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
    Error::Syntax { path: path.to_owned(), line, detail, text }
}

/// The line of `text` that a TOML error is in, from 1 on.
pub fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    text.get(..start).unwrap_or_default().matches('\n').count() + 1
}

/// Parses a size: a number of MiB, or one with the suffix K, M or G.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) if text.ends_with('K') => (digits, 10),
        Some(digits) if text.ends_with('G') => (digits, 30),
        Some(digits) => (digits, 20),
        None => (text, 20),
    };
    let wrong = || format!("`{text}` is not a size: give MiB, or a number with K, M or G, such as 512M");
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// `memory` in TOML: a string for [`parse_size`], or a number of MiB.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a size such as \"512M\", or a number of MiB")]
    enum Size {
        MiB(u64),
        Text(String),
    }
    let text = match Size::deserialize(deserializer)? {
        Size::MiB(number) => number.to_string(),
        Size::Text(text) => text,
    };
    parse_size(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: u64 = 64 << 30;

    fn described(text: &str) -> Result<Description, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.toml");
        std::fs::write(&path, text).unwrap();
        Description::read(&path)
    }

    fn message(text: &str) -> String {
        let error = described(text).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn a_file_says_all_that_flags_can_and_flags_win() {
        let file = described("kernel = '/k'\ncpus = 2\nmemory = '1G'\nfunctions = ['/s']\nseccomp = false\n")
            .unwrap();
        let flags = Description { cpus: Some(4), functions: vec!["/t".to_owned()], ..Default::default() };
        let config = file.overridden_by(flags).check(HOST, 40).unwrap();
        assert_eq!((config.kernel.to_str(), config.cpus, config.seccomp), (Some("/k"), 4, false));
        assert_eq!((config.layout.ram[0].end, config.functions), (1 << 30, vec!["/t".to_owned()]));
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let file = described("kernel = 'vmlinux'\nfunctions = ['./s', '0000:01:00.0']\n").unwrap();
        assert!(file.kernel.unwrap().is_absolute());
        assert!(file.functions[0].starts_with('/'));
        assert_eq!(file.functions[1], "0000:01:00.0");
    }

    #[test]
    fn errors_name_line_and_key() {
        let unknown = message("kernel = 'k'\ncpuz = 2\n");
        assert!(unknown.contains("vm.toml:2:") && unknown.contains("unknown field `cpuz`"), "{unknown}");
        let wrong = message("cpus = 'two'\n");
        assert!(wrong.contains("vm.toml:1:") && wrong.contains("cpus = 'two'"), "{wrong}");
        let large = message("cpus = 300\n");
        assert!(large.contains("cpus = 300"), "{large}");
        let size = message("kernel = 'k'\nmemory = '12 parsecs'\n");
        assert!(size.contains("vm.toml:2:") && size.contains("12 parsecs"), "{size}");
        let broken = message("kernel = \n");
        assert!(broken.contains("vm.toml:1:"), "{broken}");
    }

    #[test]
    fn machines_that_cannot_be_are_refused() {
        let check = |description: Description| {
            let kernel = description.kernel.clone().or(Some("k".into()));
            Description { kernel, ..description }.check(HOST, 40).unwrap_err().to_string()
        };
        assert_eq!(
            check(Description { cpus: Some(9), ..Default::default() }),
            "cpus = 9: a machine has 1 to 8"
        );
        assert_eq!(
            check(Description { cpus: Some(0), ..Default::default() }),
            "cpus = 0: a machine has 1 to 8"
        );
        let large = check(Description { memory: Some(HOST + (2 << 20)), ..Default::default() });
        assert_eq!(large, "memory of 65538 MiB is too large: this host has 65536 MiB");
        assert!(check(Description { memory: Some(1 << 20), ..Default::default() }).contains("too small"));
        assert!(matches!(Description::default().check(HOST, 40), Err(Error::NoKernel)));
        let functions = vec![String::new(); 32];
        assert!(check(Description { functions, ..Default::default() }).contains("room for 31"));
    }

    #[test]
    fn sizes_are_mib_unless_they_say_otherwise() {
        assert_eq!(parse_size("512"), Ok(512 << 20));
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert_eq!(parse_size("65536K"), Ok(64 << 20));
        for wrong in ["", "G", "1T", "-1M", "99999999999G", "1.5G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
