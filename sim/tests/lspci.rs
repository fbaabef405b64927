//! What `lspci -vvv` makes of the card's configuration space, as the root complex reads it.

use std::fmt::Write as _;
use std::process::Command;

use nitride_abi::card::{PF_MANAGEMENT, PF_STORAGE, VF_NETWORK_FIRST, VF_STORAGE_FIRST};
use nitride_sim::{Card, Options, System};

/// What `lspci` writes where something is wrong or unknown to it.
const COMPLAINTS: [&str; 6] = ["access denied", "!!!", "nknown", "<chain", "???", "pcilib"];

fn booted() -> System {
    let mut system = System::new(Box::new(Card::new()), Options::default()).unwrap();
    system.boot().unwrap();
    system
}

/// The configuration space of a function as a text dump of `lspci -xxxx`. A VF's IDs are its PF's, as software has it (PCIe 4.0
/// §9.3.4.1.1).
fn dump(system: &mut System, function: u8) -> String {
    let mut bytes = Vec::new();
    for offset in (0..4096).step_by(4) {
        let ticket = system.config_read(function, offset, 4);
        bytes.extend(system.wait(ticket).unwrap());
    }
    let found = system.topology().function(function).unwrap();
    bytes[..2].copy_from_slice(&found.vendor.to_le_bytes());
    bytes[2..4].copy_from_slice(&found.device.to_le_bytes());
    let mut text = format!("01:{:02x}.{} Class\n", function >> 3, function & 7);
    for (offset, line) in (0..).step_by(16).zip(bytes.chunks(16)) {
        let _ = write!(text, "{offset:02x}:");
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    text
}

/// What `lspci -vvv` shows of a function, with its white space evened; nothing where there is no `lspci`.
fn decoded(system: &mut System, function: u8) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    std::fs::write(&file, dump(system, function)).unwrap();
    let output = match Command::new("lspci").arg("-F").arg(&file).args(["-nn", "-vvv"]).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: no lspci here ({error}); `cargo xtask setup` installs it");
            return None;
        }
    };
    // It also looks for the kernel modules of the machine it runs on, which may have none.
    let errors = String::from_utf8_lossy(&output.stderr);
    let complaints: String = errors.lines().filter(|l| !l.is_empty() && !l.contains("libkmod")).collect();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}{complaints}");
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    // A VF's Link Status is reserved: its link is its PF's (PCIe 4.0 §9.3.5).
    let own = text.lines().filter(|line| function < VF_NETWORK_FIRST || !line.contains("LnkSta:"));
    let own = own.collect::<Vec<_>>().join("\n");
    for complaint in COMPLAINTS {
        assert!(!own.contains(complaint), "function {function}: {complaint} in {text}");
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn shows(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// What all functions have.
const EXPRESS: [&str; 3] = [
    "Express (v2) Endpoint, MSI 00",
    "MaxPayload 512 bytes, PhantFunc 0",
    "ExtTag+ AttnBtn- AttnInd- PwrInd- RBE+ FLReset+",
];

/// What all PFs have.
const PHYSICAL: [&str; 11] = [
    "Control: I/O- Mem+ BusMaster-",
    "(64-bit, prefetchable)",
    "Capabilities: [40] Power Management version 3",
    "Status: D0 NoSoftRst+ PME-Enable-",
    "DevCtl: CorrErr- NonFatalErr- FatalErr- UnsupReq-",
    "MaxPayload 256 bytes, MaxReadReq 512 bytes",
    "LnkSta: Speed 16GT/s",
    "Completion Timeout: Not Supported, TimeoutDis+",
    "Advanced Error Reporting",
    "AERCap: First Error Pointer: 00, ECRCGenCap- ECRCGenEn- ECRCChkCap- ECRCChkEn- MultHdrRecCap- MultHdrRecEn-",
    "Device Serial Number 4e-54-00-ff-fe-00-00-01",
];

const MSIX: [&str; 3] =
    ["MSI-X: Enable- Count=8 Masked-", "Vector table: BAR=0 offset=00002000", "PBA: BAR=0 offset=00003000"];

#[test]
fn lspci_decodes_the_management_function() {
    let Some(text) = decoded(&mut booted(), PF_MANAGEMENT) else { return };
    shows(&text, &PHYSICAL);
    shows(&text, &EXPRESS);
    shows(&text, &["System peripheral", "Alternative Routing-ID Interpretation (ARI)", "Next Function: 1"]);
    assert!(!text.contains("MSI-X"));
}

#[test]
fn lspci_decodes_the_storage_function_with_its_sriov() {
    let Some(text) = decoded(&mut booted(), PF_STORAGE) else { return };
    shows(&text, &PHYSICAL);
    shows(&text, &EXPRESS);
    shows(&text, &MSIX);
    shows(
        &text,
        &[
            "Non-Volatile memory controller",
            "(prog-if 02 [NVM Express])",
            "Alternative Routing-ID Interpretation (ARI)",
            "Single Root I/O Virtualization (SR-IOV)",
            "IOVCtl: Enable+ Migration- Interrupt- MSE+ ARIHierarchy+",
            "Initial VFs: 8, Total VFs: 8, Number of VFs: 8, Function Dependency Link: 02",
            "VF offset: 14, stride: 1, Device ID: 0004",
        ],
    );
}

#[test]
fn lspci_decodes_a_storage_vf() {
    let Some(text) = decoded(&mut booted(), VF_STORAGE_FIRST + 7) else { return };
    shows(&text, &EXPRESS);
    shows(&text, &MSIX);
    shows(
        &text,
        &[
            "Non-Volatile memory controller",
            "Control: I/O- Mem- BusMaster-",
            "Alternative Routing-ID Interpretation (ARI)",
            "TimeoutDis+",
        ],
    );
    assert!(!text.contains("Advanced Error Reporting") && !text.contains("SR-IOV"));
}
