//! What a system has done so far.

use crate::tlp::Class;

/// TLPs and bytes of payload in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// TLPs by class: posted, non-posted, completions.
    pub tlps: [u64; 3],
    /// Bytes of payload.
    pub bytes: u64,
}

impl LinkCounters {
    pub(crate) fn count(&mut self, class: Class, bytes: usize) {
        self.tlps[class as usize] += 1;
        self.bytes += bytes as u64;
    }
}

/// What one function did to the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionCounters {
    /// Bytes it read of the host's memory.
    pub dma_read_bytes: u64,
    /// Bytes it wrote to the host's memory.
    pub dma_write_bytes: u64,
    /// Its DMA requests that no mapping allowed.
    pub faults: u64,
    /// Its interrupt messages.
    pub interrupts: u64,
    /// Of these, messages without a target.
    pub interrupts_lost: u64,
    /// Its error messages: ERR_COR, ERR_NONFATAL, ERR_FATAL (PCIe 4.0 §2.2.8.3).
    pub errors: [u64; 3],
}

/// Counters of a whole system since it was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Simulated clock cycles.
    pub cycles: u64,
    /// Of these, cycles in which the card was simulated; in the others nothing would have happened.
    pub simulated: u64,
    /// Host to card.
    pub down: LinkCounters,
    /// Card to host.
    pub up: LinkCounters,
    /// By function number.
    pub functions: Vec<FunctionCounters>,
    /// Requests of the host without a completion in time.
    pub timeouts: u64,
    /// What the card did against the rules of its edge.
    pub violations: u64,
    /// Bytes read from the media and written to it.
    pub media_bytes: [u64; 2],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            cycles: 0,
            simulated: 0,
            down: LinkCounters::default(),
            up: LinkCounters::default(),
            functions: vec![FunctionCounters::default(); 256],
            timeouts: 0,
            violations: 0,
            media_bytes: [0; 2],
        }
    }
}
