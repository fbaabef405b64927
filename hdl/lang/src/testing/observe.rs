//! The ports of a simulated block, as bytes.
use crate::ast::Literal;
use rust_hdl_core::prelude::*;

/// Appends every port but clocks, in order, least significant byte first.
pub fn observe(block: &dyn Block, into: &mut Vec<u8>) {
    block.accept("", &mut Ports { depth: 0, bytes: into });
}

struct Ports<'a> {
    depth: usize,
    bytes: &'a mut Vec<u8>,
}

impl Probe for Ports<'_> {
    fn visit_start_scope(&mut self, _: &str, _: &dyn Block) {
        self.depth += 1;
    }
    fn visit_end_scope(&mut self, _: &str, _: &dyn Block) {
        self.depth -= 1;
    }
    fn visit_atom(&mut self, _: &str, atom: &dyn Atom) {
        if self.depth == 1 && atom.kind().is_parameter() && atom.descriptor().name != "clock" {
            let value = Literal::parse(atom.bits(), &format!("{:x}", atom.verilog()));
            self.bytes.extend((0..atom.bits().div_ceil(8)).map(|i| value.byte(i)));
        }
    }
}
