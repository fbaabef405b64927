//! PCIe: the target side and the transmitter.
