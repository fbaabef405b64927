//! Memory that a process shares with a card: a sealed memfd, mapped.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// What a function may do with memory that was mapped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The card reads only.
    Read,
    /// The card reads and writes.
    ReadWrite,
}

/// A mapped range of a file descriptor (a memfd of this process, or one that came over a socket).
///
/// Other parties (a guest, a card) write to it at any time: its bytes are reached by copies or by
/// volatile accesses through [`Memory::as_ptr`], never by reference.
#[derive(Debug)]
pub struct Memory {
    fd: OwnedFd,
    offset: u64,
    len: usize,
    ptr: NonNull<u8>,
}

// SAFETY: the mapping belongs to the value and lives as long as it does; every access is a raw copy
// that does not rely on exclusive access.
unsafe impl Send for Memory {}
// SAFETY: as for `Send`; concurrent copies of shared memory may tear, which callers expect.
unsafe impl Sync for Memory {}

impl Memory {
    /// A new zeroed memfd of `len` bytes (a multiple of 4 KiB), sealed against resizing.
    ///
    /// With `huge`, it is on 2 MiB pages where the system has some free, else on ordinary ones.
    pub fn new(name: &str, len: usize, huge: bool) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        if huge
            && len.is_multiple_of(2 << 20)
            && let Ok(memory) = Self::create(name, len, flags | MemfdFlags::HUGETLB)
        {
            return Ok(memory);
        }
        Self::create(name, len, flags)
    }

    fn create(name: &str, len: usize, flags: MemfdFlags) -> io::Result<Self> {
        let fd = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&fd, len as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Self::map(fd, 0, len, Access::ReadWrite)
    }

    /// Maps `len` bytes of `fd` at `offset` (multiples of 4 KiB).
    ///
    /// The range must lie inside of the file: an access past its end would kill the process.
    pub fn map(fd: OwnedFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        let end = offset.checked_add(len as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if len == 0
            || !offset.is_multiple_of(4096)
            || rustix::fs::fstat(&fd)?.st_size < i64::try_from(end).unwrap_or(i64::MAX)
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let ptr = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, &fd, offset)?
        };
        let ptr = NonNull::new(ptr.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { fd, offset, len, ptr })
    }

    /// The file that backs the memory, to hand to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where in [`Memory::fd`] the memory starts, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its first byte, valid for [`Memory::len`] bytes as long as `self` lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Copies `data.len()` bytes at `offset` out of the memory; `false` (and nothing is read) outside of it.
    #[must_use]
    pub fn read(&self, offset: usize, data: &mut [u8]) -> bool {
        if offset.checked_add(data.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        // SAFETY: the source range was just checked to lie inside of the mapping; `data` is ours.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr().add(offset), data.as_mut_ptr(), data.len()) };
        true
    }

    /// Copies `data` into the memory at `offset`; `false` (and nothing is written) outside of it.
    #[must_use]
    pub fn write(&self, offset: usize, data: &[u8]) -> bool {
        if offset.checked_add(data.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        // SAFETY: the target range was just checked to lie inside of the mapping; `data` is ours.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.as_ptr().add(offset), data.len()) };
        true
    }

    /// A second handle on the file, for a process or a thread that maps it itself.
    pub fn file(&self) -> io::Result<File> {
        Ok(self.fd.try_clone()?.into())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map`, has this length, and nothing can use it any more.
        let _ = unsafe { rustix::mm::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}
