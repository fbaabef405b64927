//! PF0: management registers.
