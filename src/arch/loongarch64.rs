//! loongarch64, by the LoongArch ELF psABI (procedure calling convention) and syscall(2).
//!
//! - system call: number in a7, arguments in a0 to a3; `syscall 0`; result in a0; t0 to t8 lost
//! - at the start: sp points at argc, argv follows, sp is 16-byte aligned
//! - a function: arguments in a0, a1; sp is 16-byte aligned
//! - a signal handler: entered as a function, the signal number in a0

use super::{Waiting, define_elf, define_main, define_system_calls, define_trap};

/// From the kernel's include/uapi/asm-generic/unistd.h.
pub mod nr {
    pub const GETPID: usize = 172;
    pub const RT_SIGACTION: usize = 134;
    pub const WAIT4: usize = 260;
    pub const PPOLL: usize = 73;
    pub const WRITE: usize = 64;
    pub const EXIT: usize = 93;
}

define_system_calls! {
    instructions: "syscall 0";
    number: "$a7";
    arguments: "$a0", "$a1", "$a2", "$a3";
    lost: ["$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$t8"];
}

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

define_trap!("break 0"); // SIGTRAP

define_main!("C");

define_elf!(machine: "258", flags: "0x43"); // EM_LOONGARCH; EF_LOONGARCH_ABI_DOUBLE_FLOAT | EF_LOONGARCH_OBJABI_V1

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "ld.d $a0, $sp, 0",   // argc
    "addi.d $a1, $sp, 8", // argv
);
