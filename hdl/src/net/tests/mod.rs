pub mod dma;
mod registers;
mod share;
