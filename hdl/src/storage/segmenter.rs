//! From a chunk to what the DMA engines are asked for.

use nitride_lang::prelude::*;

use super::record::{Chunk, Segment};

/// Turns each chunk into its one or two host segments, in order.
///
/// Latency: none; throughput: a segment a cycle. Back-pressure: holds the chunk until its last segment was taken.
#[derive(LogicBlock, Default)]
pub struct Segmenter {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Chunks whose data move now.
    pub chunk: Sink<Chunk>,
    /// Their segments.
    pub segment: Source<Segment>,
    second: Reg<Bit>,
}

impl Logic for Segmenter {
    #[hdl]
    fn update(&mut self) {
        let chunk = self.chunk.data.val();
        let second = self.second.q.val();
        let rest = chunk.length - chunk.first_length;
        let last = second | !rest.any();
        let start = cat2::<5, 10, 15>(chunk.id, bits::<10>(0));
        let after = bit_cast::<15, 11>(chunk.first_length.get_bits::<11>(2));
        let taken = self.chunk.valid.val() & self.segment.ready.val();
        self.segment.valid.next = self.chunk.valid.val();
        self.segment.data.next = Segment {
            function: chunk.function,
            address: if second { chunk.second } else { chunk.first },
            length: if second { rest.get_bits::<11>(2) } else { chunk.first_length.get_bits::<11>(2) },
            buffer: bit_cast::<18, 15>(if second { start + after } else { start }),
            context: cat2::<3, 5, 8>(bit_cast::<3, 1>(last.into()), chunk.id),
        };
        self.chunk.ready.next = self.segment.ready.val() & last;
        if taken {
            self.second.d.next = !last;
        }
    }
}
