//! The Verilated card and everything around it: root complex, media, daemon.

pub mod daemon;
