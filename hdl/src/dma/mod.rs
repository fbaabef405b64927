//! DMA engines, shared by all functions.
