//! The contract with pause.c, held by the shipped file: natively, under QEMU's user mode where `PAUSE_PLATFORM` names
//! another platform, and as a process of each platform's own kernel.

mod arguments;
mod faults;
mod kernels;
mod namespaces;
mod reaping;
mod rows;
mod signals;
