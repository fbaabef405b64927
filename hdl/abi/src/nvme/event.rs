//! Asynchronous events (NVMe 1.4 §5.2.1): what the completion of an Asynchronous Event Request says.

use super::Field;

/// Dword 0 of the completion: Asynchronous Event Type.
pub const TYPE: Field = Field::new(0, 3);
/// Dword 0 of the completion: Asynchronous Event Information.
pub const INFORMATION: Field = Field::new(8, 8);
/// Dword 0 of the completion: the log page that clears the event.
pub const LOG_PAGE: Field = Field::new(16, 8);

/// TYPE: error status.
pub const ERROR: u64 = 0;
/// TYPE: notice.
pub const NOTICE: u64 = 2;

/// Dword 0: error status, Write to Invalid Doorbell Register.
pub const INVALID_DOORBELL_REGISTER: u32 = dword(ERROR, 0, super::log::ERROR_INFORMATION);
/// Dword 0: error status, Invalid Doorbell Write Value.
pub const INVALID_DOORBELL_VALUE: u32 = dword(ERROR, 1, super::log::ERROR_INFORMATION);
/// Dword 0: notice, Namespace Attribute Changed.
pub const NAMESPACE_CHANGED: u32 = dword(NOTICE, 0, super::log::CHANGED_NAMESPACES);

const fn dword(kind: u64, information: u64, page: u8) -> u32 {
    LOG_PAGE.set(INFORMATION.set(TYPE.set(0, kind), information), page as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_log_page_above_their_information() {
        assert_eq!(INVALID_DOORBELL_VALUE, 0x0001_0100);
        assert_eq!(NAMESPACE_CHANGED, 0x0004_0002);
    }
}
