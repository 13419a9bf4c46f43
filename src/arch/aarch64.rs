//! aarch64, by the Procedure Call Standard for the Arm 64-bit Architecture (AAPCS64) and syscall(2).
//!
//! - system call: number in x8, arguments in x0 to x3; `svc 0`; result in x0; nothing lost
//! - at the start: sp points at argc, argv follows, sp is 16-byte aligned
//! - a function: arguments in x0, x1; sp is 16-byte aligned
//! - a signal handler: entered as a function, the signal number in x0

use super::{Unset, Waiting, define_elf, define_main, define_trap};

pub use sc::{nr, syscall0, syscall1, syscall3, syscall4};

/// C's `int` in a system call: the whole register, which needs no extending.
pub type Int = usize;

/// A type aligned as the stack is.
pub type StackAligned = u128;

pub const WAITING: Waiting = Waiting::Ppoll { ppoll: nr::PPOLL };

/// The flags every signal handler needs here: none.
pub const HANDLER_FLAGS: usize = 0;

/// `struct sigaction` has a restorer.
pub type Restorer = Unset;
pub const RESTORER: Restorer = Restorer::uninit();

define_trap!("udf #0"); // SIGILL

define_main!("C");

define_elf!(machine: "183", flags: "0x0"); // EM_AARCH64

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "ldr x0, [sp]",  // argc
    "add x1, sp, 8", // argv
);
