//! The NVMe front end: registers, queues, admin commands, completions.
