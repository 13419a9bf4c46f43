//! s390x, by the s390x ELF Application Binary Interface Supplement and syscall(2).
//!
//! - system call: number in r1, arguments in r2 to r5; `svc 0`; result in r2; nothing else lost
//! - at the start: r15 points at argc, argv follows, r15 is 8-byte aligned
//! - a function: arguments in r2, r3; it may save registers in the 160 bytes from r15 on, which its caller provides
//! - a signal handler: entered as a function, the signal number in r2, the 160 bytes provided

use super::{Unset, Waiting, define_elf, define_main, define_system_calls, define_trap};

/// From the kernel's arch/s390/kernel/syscalls/syscall.tbl.
pub mod nr {
    pub const GETPID: usize = 20;
    pub const RT_SIGACTION: usize = 174;
    pub const WAIT4: usize = 114;
    pub const PAUSE: usize = 29;
    pub const POLL: usize = 168;
    pub const WRITE: usize = 4;
    pub const EXIT: usize = 1;
}

define_system_calls! {
    instructions: "svc 0";
    number: "r1";
    arguments: "r2", "r3", "r4", "r5";
    lost: [];
}

/// C's `int` in a system call: the whole register, which needs no extending.
pub type Int = usize;

/// A type aligned as the stack is.
pub type StackAligned = u64;

pub const WAITING: Waiting = Waiting::PauseAndPoll { pause: nr::PAUSE, poll: nr::POLL };

/// The flags every signal handler needs here: none.
pub const HANDLER_FLAGS: usize = 0;

/// `struct sigaction` has a restorer.
pub type Restorer = Unset;
pub const RESTORER: Restorer = Restorer::uninit();

define_trap!(".short 0"); // SIGILL (an operation code that never is one)

define_main!("C");

define_elf!(machine: "22", flags: "0x0"); // EM_S390

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "lg %r2, 0(%r15)", // argc
    "la %r3, 8(%r15)", // argv
    "aghi %r15, -160", // room for main to save registers, or it would overwrite argc and argv
);
