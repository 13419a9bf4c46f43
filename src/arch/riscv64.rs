//! riscv64, by the RISC-V ELF psABI (integer calling convention) and syscall(2).
//!
//! - system call: number in a7, arguments in a0 to a3; `ecall`; result in a0; nothing lost
//! - at the start: sp points at argc, argv follows, sp is 16-byte aligned
//! - a function: arguments in a0, a1; sp is 16-byte aligned
//! - a signal handler: entered as a function, the signal number in a0

use super::{Waiting, define_elf, define_main, define_trap};

pub use sc::{nr, syscall0, syscall1, syscall3, syscall4};

/// C's `int` in a system call: the whole register, which needs no extending.
pub type Int = usize;

/// A type aligned as the stack is.
pub type StackAligned = u128;

pub const WAITING: Waiting = Waiting::Ppoll { ppoll: nr::PPOLL };

/// The flags every signal handler needs here: none.
pub const HANDLER_FLAGS: usize = 0;

/// `struct sigaction` has no restorer: a handler returns to the vDSO.
pub type Restorer = ();
pub const RESTORER: Restorer = ();

define_trap!("unimp"); // SIGILL

define_main!("C");

define_elf!(machine: "243", flags: "0x5"); // EM_RISCV; EF_RISCV_RVC | EF_RISCV_FLOAT_ABI_DOUBLE

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "ld a0, 0(sp)",   // argc
    "addi a1, sp, 8", // argv
);
