//! The storage engine: I/O commands between host memory and the media.
