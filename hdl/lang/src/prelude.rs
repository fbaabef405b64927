//! Everything a block needs: `use nitride_lang::prelude::*;`.
pub use crate::library::*;
pub use crate::packed::Packed;
pub use crate::synchronous::Synchronous;
pub use crate::twin::{
    bit_cast, cat2, pack, signed_bit_cast, signed_cast, unpack, unsigned_bit_cast, unsigned_cast,
};
pub use nitride_macros::{LogicBlock, Packed, hdl, hdl_fn};
pub use rust_hdl_core::prelude::*;
