//! What differs between architectures, one file each, the same parts in the same order: the system-call numbers
//! and instruction, the signal ABI, `_start`. Nothing outside this folder knows an architecture.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod current;

pub use current::*;
