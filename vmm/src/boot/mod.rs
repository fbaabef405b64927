//! Loads a kernel and tells a vCPU how to enter it.
//!
//! Three kinds of kernel: an ELF with a PVH note is entered as PVH says, another ELF and a bzImage by
//! the 64-bit entry of the Linux boot protocol. Nothing of the image is trusted.

mod linux;
mod pvh;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::{BzImage, Elf, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::devices::RESET_VALUE;
use crate::layout::{ACPI, BIOS_ENTRY, CMDLINE, CMDLINE_MAX, HIGH, Layout, RESET};

/// Offset of the 64-bit entry point in a loaded bzImage (Linux boot protocol, "64-bit boot protocol").
const ENTRY_64: u64 = 0x200;
/// `xloadflags`: the image has that entry point.
const XLF_KERNEL_64: u16 = 1;
/// Real mode: `mov dx, RESET; mov al, RESET_VALUE; out dx, al; 1: hlt; jmp 1b`.
///
/// Linux on hardware-reduced ACPI expects EFI to reset the machine and, without EFI, jumps into the
/// BIOS: it gets its reset there.
const BIOS: [u8; 9] = {
    let [low, high] = RESET.to_le_bytes();
    [0xba, low, high, 0xb0, RESET_VALUE, 0xee, 0xf4, 0xeb, 0xfd]
};
/// The kernel command line without one of the user's own: console on COM1, reset on a panic.
pub const DEFAULT_CMDLINE: &str = "console=ttyS0 panic=-1";

/// Why a guest cannot be booted. One line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or initrd cannot be read.
    #[error("cannot read the {what} {}: {source}", .path.display())]
    Read {
        /// Kernel or initrd.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Not a kernel, or a broken one.
    #[error("{} is no kernel that can be booted here ({detail}): give an x86-64 vmlinux ELF or a bzImage", .path.display())]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The command line has more than [`CMDLINE_MAX`] bytes or holds a zero byte.
    #[error("the kernel command line has {0} bytes; at most {max} without a zero byte are possible", max = CMDLINE_MAX - 1)]
    CommandLine(usize),
    /// Kernel and initrd do not fit into memory.
    #[error("the guest's memory is too small for {0}: give it more")]
    Memory(String),
}

/// How to enter a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// 64-bit mode with identity page tables, RSI at the zero page (Linux boot protocol).
    Linux64 {
        /// Where to start.
        rip: u64,
    },
    /// 32-bit protected mode without paging, EBX at the start information (PVH).
    Pvh {
        /// Where to start.
        rip: u64,
    },
}

/// What to boot.
#[derive(Debug, Clone)]
pub struct Boot<'a> {
    /// Path of the kernel.
    pub kernel: &'a Path,
    /// Path of the initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// The command line.
    pub cmdline: &'a str,
}

impl Boot<'_> {
    /// Whether the files can be opened: the error that [`load`] would give, before anything is made.
    pub fn check(&self) -> Result<(), Error> {
        open("kernel", self.kernel)?;
        self.initrd.map_or(Ok(()), |initrd| open("initrd", initrd).map(drop))
    }
}

/// Where things were loaded: what the kernel is told.
#[derive(Debug, Clone)]
struct Loaded {
    cmdline_len: usize,
    /// Address and length.
    initrd: Option<(u64, u64)>,
}

/// Loads kernel, initrd, command line and ACPI `tables` into `memory`.
pub fn load(
    memory: &GuestMemoryMmap,
    layout: &Layout,
    boot: &Boot<'_>,
    tables: &[u8],
) -> Result<Entry, Error> {
    let mut image = open("kernel", boot.kernel)?;
    let kernel = Kernel::load(memory, boot.kernel, &mut image)?;
    let cmdline_len = load_cmdline(memory, boot.cmdline)?;
    let initrd = boot.initrd.map(|path| load_initrd(memory, layout, path, &kernel)).transpose()?;
    write(memory, ACPI, tables)?;
    write(memory, BIOS_ENTRY, &BIOS)?;
    let loaded = Loaded { cmdline_len, initrd };
    match kernel.entry {
        Entry::Pvh { .. } => pvh::write_start_info(memory, layout, &loaded)?,
        Entry::Linux64 { .. } => linux::write_zero_page(memory, layout, &loaded, kernel.header)?,
    }
    Ok(kernel.entry)
}

/// A kernel in guest memory.
struct Kernel {
    entry: Entry,
    /// First byte that it does not need at its start.
    end: u64,
    /// A bzImage's setup header.
    header: Option<setup_header>,
}

impl Kernel {
    fn load(memory: &GuestMemoryMmap, path: &Path, image: &mut File) -> Result<Self, Error> {
        let refuse = |detail: String| Error::Kernel { path: path.to_owned(), detail };
        let mut magic = [0; 4];
        image.read_exact(&mut magic).map_err(|_| refuse("it is too short".to_owned()))?;
        image.rewind().map_err(|source| Error::Read { what: "kernel", path: path.to_owned(), source })?;
        if magic == *b"\x7fELF" { Self::elf(memory, image) } else { Self::bzimage(memory, image) }
            .map_err(refuse)
    }

    fn elf(memory: &GuestMemoryMmap, image: &mut File) -> Result<Self, String> {
        let loaded =
            Elf::load(memory, None, image, Some(GuestAddress(HIGH))).map_err(|error| error.to_string())?;
        let entry = match loaded.pvh_boot_cap {
            PvhBootCapability::PvhEntryPresent(rip) => Entry::Pvh { rip: rip.0 },
            _ => Entry::Linux64 { rip: loaded.kernel_load.0 },
        };
        Ok(Self { entry, end: loaded.kernel_end, header: None })
    }

    fn bzimage(memory: &GuestMemoryMmap, image: &mut File) -> Result<Self, String> {
        let at = GuestAddress(HIGH);
        let loaded = BzImage::load(memory, Some(at), image, Some(at)).map_err(|error| error.to_string())?;
        let header = loaded.setup_header.ok_or("it has no setup header")?;
        if header.version < 0x020c || header.xloadflags & XLF_KERNEL_64 == 0 {
            return Err("it has no 64-bit entry point".to_owned());
        }
        // It needs room to decompress itself beyond what is loaded now.
        let end = loaded
            .kernel_end
            .max(HIGH.saturating_add(header.init_size.into()))
            .max(header.pref_address.saturating_add(header.init_size.into()));
        Ok(Self { entry: Entry::Linux64 { rip: HIGH + ENTRY_64 }, end, header: Some(header) })
    }
}

fn open(what: &'static str, path: &Path) -> Result<File, Error> {
    let read = |source| Error::Read { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    if file.metadata().map_err(read)?.is_dir() {
        return Err(read(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

fn load_cmdline(memory: &GuestMemoryMmap, cmdline: &str) -> Result<usize, Error> {
    let bytes = cmdline.as_bytes();
    if bytes.len() >= CMDLINE_MAX || bytes.contains(&0) {
        return Err(Error::CommandLine(bytes.len()));
    }
    write(memory, CMDLINE, &[bytes, &[0]].concat())?;
    Ok(bytes.len())
}

/// Loads the initrd at the end of the RAM below 4 GiB, out of the way of a kernel that moves itself.
fn load_initrd(
    memory: &GuestMemoryMmap,
    layout: &Layout,
    path: &Path,
    kernel: &Kernel,
) -> Result<(u64, u64), Error> {
    let read = |source| Error::Read { what: "initrd", path: path.to_owned(), source };
    let mut file = open("initrd", path)?;
    let len = file.seek(std::io::SeekFrom::End(0)).map_err(read)?;
    file.rewind().map_err(read)?;
    let limit = kernel.header.map_or(u64::MAX, |header| u64::from(header.initrd_addr_max).saturating_add(1));
    let start = layout.low_ram_end().min(limit).checked_sub(len).map(|start| start & !0xfff);
    let Some(start) = start.filter(|start| *start >= kernel.end) else {
        return Err(Error::Memory(format!("the kernel and an initrd of {} MiB", len.div_ceil(1 << 20))));
    };
    let len_usize = usize::try_from(len).map_err(|_| read(std::io::ErrorKind::FileTooLarge.into()))?;
    memory
        .read_exact_volatile_from(GuestAddress(start), &mut file, len_usize)
        .map_err(|error| read(std::io::Error::other(error.to_string())))?;
    Ok((start, len))
}

fn write(memory: &GuestMemoryMmap, address: u64, bytes: &[u8]) -> Result<(), Error> {
    memory
        .write_slice(bytes, GuestAddress(address))
        .map_err(|_| Error::Memory("what a kernel is started with".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use std::io::Write;

    fn machine() -> (GuestMemoryMmap, Layout) {
        let layout = Layout::new(64 << 20, 40).unwrap();
        let regions = memory::allocate(&layout).unwrap();
        (memory::for_loader(&regions).unwrap(), layout)
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// A 64-bit ELF with one segment `code` at `address`, and a PVH note if `pvh` gives its entry.
    fn elf(address: u64, code: &[u8], pvh: Option<u32>) -> Vec<u8> {
        let notes: u16 = pvh.is_some().into();
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2u16, 62].map(u16::to_le_bytes).concat());
        elf.extend(1u32.to_le_bytes());
        elf.extend([address, 64, 0].map(u64::to_le_bytes).concat());
        elf.extend(0u32.to_le_bytes());
        elf.extend([64, 56, 1 + notes, 0, 0, 0u16].map(u16::to_le_bytes).concat());
        let data = 64 + 56 * (1 + u64::from(notes));
        let note_len = 20;
        let load = data + note_len * u64::from(notes);
        let len = code.len() as u64;
        let segment = |kind: u32, offset: u64, len: u64| {
            let mut header = [kind, 5].map(u32::to_le_bytes).concat();
            header.extend([offset, address, address, len, len, 4].map(u64::to_le_bytes).concat());
            header
        };
        elf.extend(segment(1, load, len));
        if let Some(entry) = pvh {
            elf.extend(segment(4, data, note_len));
            elf.extend([4u32, 4, 18].map(u32::to_le_bytes).concat());
            elf.extend(b"Xen\0");
            elf.extend(entry.to_le_bytes());
        }
        elf.extend(code);
        elf
    }

    fn boot(kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Result<(GuestMemoryMmap, Entry), Error> {
        let (memory, layout) = machine();
        let entry = load(&memory, &layout, &Boot { kernel, initrd, cmdline }, b"tables")?;
        Ok((memory, entry))
    }

    fn at<const N: usize>(memory: &GuestMemoryMmap, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    #[test]
    fn an_elf_is_entered_by_its_pvh_note_if_it_has_one() {
        let plain = file(&elf(0x100_0000, b"code", None));
        let (memory, entry) = boot(plain.path(), None, "quiet").unwrap();
        assert_eq!(entry, Entry::Linux64 { rip: 0x100_0000 });
        assert_eq!(&at(&memory, 0x100_0000), b"code");
        assert_eq!(&at(&memory, CMDLINE), b"quiet\0");
        let pvh = file(&elf(0x100_0000, b"code", Some(0x100_0002)));
        assert_eq!(boot(pvh.path(), None, "").unwrap().1, Entry::Pvh { rip: 0x100_0002 });
    }

    #[test]
    fn the_initrd_lies_at_the_end_of_memory() {
        let kernel = file(&elf(0x100_0000, b"code", Some(0x100_0000)));
        let initrd = file(&[7; 5000]);
        let (memory, _) = boot(kernel.path(), Some(initrd.path()), "").unwrap();
        let start = (64 << 20) - 8192;
        assert_eq!(at(&memory, start), [7; 5000]);
        let modules = u64::from_le_bytes(at(&memory, crate::layout::PVH_START_INFO + 16));
        assert_eq!(
            (at(&memory, modules), at(&memory, modules + 8)),
            (start.to_le_bytes(), 5000u64.to_le_bytes())
        );
    }

    #[test]
    fn files_that_are_no_kernels_are_refused_in_one_line() {
        let junk = file(b"#!/bin/sh\necho no kernel\n");
        let low = file(&elf(0x8000, b"code", None));
        let short = file(b"ab");
        let beyond = file(&elf(1 << 40, b"code", None));
        for kernel in [junk.path(), low.path(), short.path(), beyond.path()] {
            let error = boot(kernel, None, "").map(drop).unwrap_err();
            assert!(matches!(error, Error::Kernel { .. }), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
        let missing = boot(Path::new("/nonexistent/vmlinux"), None, "").map(drop).unwrap_err().to_string();
        assert_eq!(
            missing,
            "cannot read the kernel /nonexistent/vmlinux: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn an_initrd_that_does_not_fit_is_refused() {
        let kernel = file(&elf(0x100_0000, b"code", None));
        let initrd = tempfile::NamedTempFile::new().unwrap();
        initrd.as_file().set_len(64 << 20).unwrap();
        let error = boot(kernel.path(), Some(initrd.path()), "").map(drop).unwrap_err().to_string();
        assert!(error.contains("initrd of 64 MiB"), "{error}");
    }

    #[test]
    fn command_lines_that_linux_would_cut_are_refused() {
        let kernel = file(&elf(0x100_0000, b"code", None));
        assert!(boot(kernel.path(), None, &"x".repeat(CMDLINE_MAX - 1)).is_ok());
        assert!(matches!(boot(kernel.path(), None, &"x".repeat(CMDLINE_MAX)), Err(Error::CommandLine(2048))));
        assert!(matches!(boot(kernel.path(), None, "a\0b"), Err(Error::CommandLine(3))));
    }

    #[test]
    fn broken_elf_headers_never_panic() {
        let good = elf(0x100_0000, b"code", Some(0x100_0000));
        for index in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = good.clone();
                broken[index] = value;
                let kernel = file(&broken);
                let _ = boot(kernel.path(), None, "");
            }
        }
    }
}
