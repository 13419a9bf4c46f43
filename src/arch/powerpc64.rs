//! powerpc64, by the 64-bit ELF V2 ABI Specification, the kernel's Documentation/arch/powerpc/syscall64-abi.rst and
//! syscall(2).
//!
//! - system call: number in r0, arguments in r3 to r6; `sc`; result in r3, an error as a positive number with the bit
//!   CR0.SO set, which is made negative here as elsewhere; r0, r4 to r12, cr0, ctr and xer lost
//! - at the start: r1 points at argc, argv follows, r1 is 16-byte aligned
//! - a function: arguments in r3, r4; entered with its own address in r12, from which it finds its data; it may write
//!   to the first 32 bytes from r1 on, which its caller provides
//! - a signal handler: entered as a function, the signal number in r3, its address in r12

use super::{Unset, Waiting, define_elf, define_main, define_system_calls, define_trap};

/// From the kernel's arch/powerpc/kernel/syscalls/syscall.tbl.
pub mod nr {
    pub const GETPID: usize = 20;
    pub const RT_SIGACTION: usize = 173;
    pub const WAIT4: usize = 114;
    pub const PAUSE: usize = 29;
    pub const POLL: usize = 167;
    pub const WRITE: usize = 4;
    pub const EXIT: usize = 1;
}

define_system_calls! {
    instructions: "sc";
    negative: "bns+ 1f", "neg 3, 3", "1:";
    number: "r0";
    arguments: "r3", "r4", "r5", "r6";
    lost: ["r0", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "cr0", "ctr", "xer"];
}

/// C's `int` in a system call: the whole register, which needs no extending.
pub type Int = usize;

/// A type aligned as the stack is.
pub type StackAligned = u128;

pub const WAITING: Waiting = Waiting::PauseAndPoll { pause: nr::PAUSE, poll: nr::POLL };

/// The flags every signal handler needs here: none.
pub const HANDLER_FLAGS: usize = 0;

/// `struct sigaction` has a restorer.
pub type Restorer = Unset;
pub const RESTORER: Restorer = Restorer::uninit();

define_trap!("trap"); // SIGTRAP

define_main!("C");

define_elf!(machine: "21", flags: "0x2"); // EM_PPC64; the ELF V2 ABI

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "ld 3, 0(1)",      // argc
    "addi 4, 1, 8",    // argv
    "stdu 1, -32(1)",  // room for main to save registers
    "addi 12, 12, 16", // the kernel put the address of _start there; main lies 16 bytes on
);
