//! PCI configuration space: offsets and fields of the header and of the capability structures the card has.
//! [`space`] says what each kind of function puts there.

pub mod space;

/// Vendor ID (15:0) and Device ID (31:16), PCIe 4.0 §7.5.1.1.
pub const ID: u16 = 0x00;
/// Command (15:0) and Status (31:16).
pub const COMMAND: u16 = 0x04;
/// Revision ID (7:0) and Class Code (31:8).
pub const CLASS: u16 = 0x08;
/// Cache Line Size, Latency Timer, Header Type (23:16), BIST.
pub const HEADER: u16 = 0x0c;
/// Base Address Register 0; with the next one a 64-bit BAR.
pub const BAR0: u16 = 0x10;
/// Subsystem Vendor ID (15:0) and Subsystem ID (31:16).
pub const SUBSYSTEM: u16 = 0x2c;
/// Capabilities Pointer (7:0).
pub const CAPABILITIES: u16 = 0x34;
/// Interrupt Line (7:0), Interrupt Pin (15:8).
pub const INTERRUPT: u16 = 0x3c;

/// Command: Memory Space Enable.
pub const COMMAND_MEMORY: u32 = 1 << 1;
/// Command: Bus Master Enable.
pub const COMMAND_BUS_MASTER: u32 = 1 << 2;
/// Command: Parity Error Response.
pub const COMMAND_PARITY: u32 = 1 << 6;
/// Command: SERR# Enable.
pub const COMMAND_SERR: u32 = 1 << 8;
/// Command: Interrupt Disable.
pub const COMMAND_INTX_DISABLE: u32 = 1 << 10;
/// Status (in the upper half of [`COMMAND`]'s DW): Capabilities List.
pub const STATUS_CAPABILITIES: u32 = 1 << 20;
/// Status: Master Data Parity Error.
pub const STATUS_MASTER_PARITY: u32 = 1 << 24;
/// Status: Signaled Target Abort.
pub const STATUS_SIGNALED_TARGET_ABORT: u32 = 1 << 27;
/// Status: Received Target Abort.
pub const STATUS_RECEIVED_TARGET_ABORT: u32 = 1 << 28;
/// Status: Received Master Abort.
pub const STATUS_RECEIVED_MASTER_ABORT: u32 = 1 << 29;
/// Status: Signaled System Error.
pub const STATUS_SIGNALED_SYSTEM_ERROR: u32 = 1 << 30;
/// Status: Detected Parity Error.
pub const STATUS_PARITY: u32 = 1 << 31;
/// Status: all bits that are written 1 to clear (15, 14, 13, 12, 11 and 8).
pub const STATUS_CLEAR: u32 = 0xf900_0000;
/// Header Type: the device has several functions.
pub const HEADER_MULTIFUNCTION: u32 = 1 << 23;
/// BAR: 64 bits wide.
pub const BAR_64: u32 = 0b10 << 1;
/// BAR: prefetchable.
pub const BAR_PREFETCHABLE: u32 = 1 << 3;

/// Power Management capability (PCI PM 1.2 §3.2); PFs.
pub const PM: u16 = 0x40;
/// Capability ID of [`PM`].
pub const PM_ID: u32 = 0x01;
/// Power Management Control/Status.
pub const PM_CONTROL: u16 = PM + 4;
/// PMCSR: PowerState; 0 is D0, 3 is D3hot.
pub const PM_STATE: u32 = 0b11;
/// PMCSR: No_Soft_Reset.
pub const PM_NO_SOFT_RESET: u32 = 1 << 3;

/// PCI Express capability (PCIe 4.0 §7.5.3).
pub const EXPRESS: u16 = 0x50;
/// Capability ID of [`EXPRESS`].
pub const EXPRESS_ID: u32 = 0x10;
/// Device Capabilities.
pub const DEVICE_CAPABILITIES: u16 = EXPRESS + 0x04;
/// Device Control (15:0) and Device Status (31:16).
pub const DEVICE_CONTROL: u16 = EXPRESS + 0x08;
/// Link Capabilities.
pub const LINK_CAPABILITIES: u16 = EXPRESS + 0x0c;
/// Link Control (15:0) and Link Status (31:16).
pub const LINK_CONTROL: u16 = EXPRESS + 0x10;
/// Device Capabilities 2.
pub const DEVICE_CAPABILITIES_2: u16 = EXPRESS + 0x24;
/// Device Control 2 (15:0) and Device Status 2 (31:16).
pub const DEVICE_CONTROL_2: u16 = EXPRESS + 0x28;
/// Link Capabilities 2.
pub const LINK_CAPABILITIES_2: u16 = EXPRESS + 0x2c;
/// Link Control 2 (15:0) and Link Status 2 (31:16).
pub const LINK_CONTROL_2: u16 = EXPRESS + 0x30;

/// Max_Payload_Size the card can take and make, encoded: 512 bytes.
pub const MPS_SUPPORTED: u32 = 2;
/// Device Capabilities: Extended Tag Field Supported.
pub const DEVICE_EXTENDED_TAG: u32 = 1 << 5;
/// Device Capabilities: Role-Based Error Reporting.
pub const DEVICE_ROLE_BASED: u32 = 1 << 15;
/// Device Capabilities: Function Level Reset Capability.
pub const DEVICE_FLR: u32 = 1 << 28;
/// Device Control: the four error reporting enables.
pub const CONTROL_REPORTING: u32 = 0xf;
/// Device Control: lowest bit of Max_Payload_Size.
pub const CONTROL_MPS: usize = 5;
/// Device Control: Extended Tag Field Enable.
pub const CONTROL_EXTENDED_TAG: u32 = 1 << 8;
/// Device Control: lowest bit of Max_Read_Request_Size.
pub const CONTROL_MRRS: usize = 12;
/// Device Control: Initiate Function Level Reset, bit number. It reads as 0.
pub const CONTROL_FLR: usize = 15;
/// Device Status (in the upper half of the DW): Correctable Error Detected.
pub const DEVICE_CORRECTABLE: u32 = 1 << 16;
/// Device Status: Non-Fatal Error Detected.
pub const DEVICE_NON_FATAL: u32 = 1 << 17;
/// Device Status: Fatal Error Detected.
pub const DEVICE_FATAL: u32 = 1 << 18;
/// Device Status: Unsupported Request Detected.
pub const DEVICE_UNSUPPORTED: u32 = 1 << 19;
/// Link speed, encoded: 16 GT/s.
pub const LINK_SPEED: u32 = 4;
/// Link width in lanes.
pub const LINK_WIDTH: u32 = 16;
/// Device Capabilities 2: Completion Timeout Disable Supported.
pub const DEVICE_TIMEOUT_DISABLE: u32 = 1 << 4;
/// Device Control 2: Completion Timeout Disable.
pub const CONTROL_2_TIMEOUT_DISABLE: u32 = 1 << 4;
/// Device Capabilities 2: 10-Bit Tag Completer Supported.
pub const DEVICE_10_BIT_COMPLETER: u32 = 1 << 16;

/// MSI-X capability (PCIe 4.0 §7.7.2): Message Control is in its first DW.
pub const MSIX: u16 = 0x90;
/// Capability ID of [`MSIX`].
pub const MSIX_ID: u32 = 0x11;
/// Message Control (in the upper half of the DW): Function Mask, bit number.
pub const MSIX_MASK: usize = 30;
/// Message Control: MSI-X Enable, bit number.
pub const MSIX_ENABLE: usize = 31;
/// Table Offset and BIR.
pub const MSIX_TABLE: u16 = MSIX + 4;
/// PBA Offset and BIR.
pub const MSIX_PBA: u16 = MSIX + 8;

/// First of the virtio capabilities (virtio 1.2 §4.1.4).
pub const VIRTIO: u16 = 0xa0;
/// Vendor-specific capability ID.
pub const VIRTIO_ID: u32 = 0x09;
/// Bytes of a virtio capability; the one for notifications has 4 more.
pub const VIRTIO_BYTES: u16 = 16;
/// Behind it the one for access to BAR0 through configuration space (virtio 1.2 §4.1.4.9), which has 4 more too: `pci_cfg_data`.
pub const VIRTIO_WINDOW: u16 = VIRTIO + 4 * VIRTIO_BYTES + 4;

/// First extended capability.
pub const EXTENDED: u16 = 0x100;
/// Advanced Error Reporting (PCIe 4.0 §7.8.4); PFs.
pub const AER: u16 = 0x100;
/// Extended capability ID of [`AER`].
pub const AER_ID: u32 = 0x0001;
/// Uncorrectable Error Status.
pub const AER_UNCORRECTABLE: u16 = AER + 0x04;
/// Uncorrectable Error Mask.
pub const AER_UNCORRECTABLE_MASK: u16 = AER + 0x08;
/// Uncorrectable Error Severity.
pub const AER_SEVERITY: u16 = AER + 0x0c;
/// Correctable Error Status.
pub const AER_CORRECTABLE: u16 = AER + 0x10;
/// Correctable Error Mask.
pub const AER_CORRECTABLE_MASK: u16 = AER + 0x14;
/// Advanced Error Capabilities and Control: First Error Pointer (4:0).
pub const AER_CONTROL: u16 = AER + 0x18;
/// Header Log: the four DWs of a TLP's header.
pub const AER_HEADER: u16 = AER + 0x1c;
/// Uncorrectable: Poisoned TLP Received.
pub const AER_POISONED: u32 = 1 << 12;
/// Uncorrectable: Completion Timeout.
pub const AER_TIMEOUT: u32 = 1 << 14;
/// Uncorrectable: Completer Abort.
pub const AER_ABORT: u32 = 1 << 15;
/// Uncorrectable: Unexpected Completion.
pub const AER_UNEXPECTED: u32 = 1 << 16;
/// Uncorrectable: Malformed TLP.
pub const AER_MALFORMED: u32 = 1 << 18;
/// Uncorrectable: Unsupported Request.
pub const AER_UNSUPPORTED: u32 = 1 << 20;
/// Uncorrectable errors of the card.
pub const AER_UNCORRECTABLE_BITS: u32 = 1 << 4
    | AER_POISONED
    | AER_TIMEOUT
    | AER_ABORT
    | AER_UNEXPECTED
    | 1 << 17
    | AER_MALFORMED
    | AER_UNSUPPORTED;
/// Severity after reset (§7.8.4.4): data link protocol, receiver overflow and malformed TLP are fatal.
pub const AER_SEVERITY_RESET: u32 = 1 << 4 | 1 << 17 | AER_MALFORMED;
/// Correctable: Advisory Non-Fatal Error. Its mask is set after reset (§7.8.4.6).
pub const AER_ADVISORY: u32 = 1 << 13;
/// Correctable errors: receiver error, bad TLP, bad DLLP, REPLAY_NUM rollover, replay timeout, advisory.
pub const AER_CORRECTABLE_BITS: u32 = 1 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 12 | AER_ADVISORY;

/// Device Serial Number (PCIe 4.0 §7.9.3); PFs.
pub const SERIAL: u16 = 0x140;
/// Extended capability ID of [`SERIAL`].
pub const SERIAL_ID: u32 = 0x0003;
/// The serial number as an EUI-64, the same in all PFs.
pub const SERIAL_NUMBER: u64 = 0x4e54_00ff_fe00_0001;
/// Alternative Routing-ID Interpretation (PCIe 4.0 §7.8.7) of a PF.
pub const ARI: u16 = 0x150;
/// ARI of a VF, its only extended capability.
pub const ARI_VF: u16 = EXTENDED;
/// Extended capability ID of [`ARI`].
pub const ARI_ID: u32 = 0x000e;

/// Single Root I/O Virtualization (PCIe 4.0 §9.3.3); PF2.
pub const SRIOV: u16 = 0x160;
/// Extended capability ID of [`SRIOV`].
pub const SRIOV_ID: u32 = 0x0010;
/// SR-IOV Capabilities.
pub const SRIOV_CAPABILITIES: u16 = SRIOV + 0x04;
/// SR-IOV Control (15:0) and Status (31:16).
pub const SRIOV_CONTROL: u16 = SRIOV + 0x08;
/// InitialVFs (15:0) and TotalVFs (31:16).
pub const SRIOV_TOTAL: u16 = SRIOV + 0x0c;
/// NumVFs (15:0) and Function Dependency Link (23:16).
pub const SRIOV_NUM_VFS: u16 = SRIOV + 0x10;
/// First VF Offset (15:0) and VF Stride (31:16).
pub const SRIOV_OFFSET: u16 = SRIOV + 0x14;
/// VF Device ID (31:16).
pub const SRIOV_DEVICE: u16 = SRIOV + 0x18;
/// Supported Page Sizes.
pub const SRIOV_PAGE_SIZES: u16 = SRIOV + 0x1c;
/// System Page Size.
pub const SRIOV_PAGE_SIZE: u16 = SRIOV + 0x20;
/// VF BAR0; with the next one a 64-bit BAR.
pub const SRIOV_BAR0: u16 = SRIOV + 0x24;
/// SR-IOV Capabilities: ARI Capable Hierarchy Preserved.
pub const SRIOV_ARI_PRESERVED: u32 = 1 << 1;
/// SR-IOV Control: VF Enable, bit number.
pub const SRIOV_ENABLE: usize = 0;
/// SR-IOV Control: VF Memory Space Enable, bit number.
pub const SRIOV_MEMORY: usize = 3;
/// SR-IOV Control: ARI Capable Hierarchy.
pub const SRIOV_ARI: u32 = 1 << 4;
/// Supported page sizes: 4 KiB (bit 0), 8 KiB, 64 KiB, 256 KiB, 1 MiB and 4 MiB, those that every device must have.
pub const PAGE_SIZES: u32 = 0x553;
