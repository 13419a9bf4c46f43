//! arm, by the Procedure Call Standard for the Arm Architecture (AAPCS32), the kernel's EABI and syscall(2).
//!
//! - system call: number in r7, arguments in r0 to r3; `svc 0`; result in r0; nothing else lost
//! - at the start: sp points at argc, argv follows, sp is 8-byte aligned
//! - a function: Thumb-2 (bit 0 of its address is set); arguments in r0, r1; sp is 8-byte aligned
//! - a signal handler: entered as a function, the signal number in r0

use super::{Unset, Waiting, define_elf, define_main, define_system_calls, define_trap};

/// From the kernel's arch/arm/tools/syscall.tbl.
pub mod nr {
    pub const GETPID: usize = 20;
    pub const RT_SIGACTION: usize = 174;
    pub const WAIT4: usize = 114;
    pub const PAUSE: usize = 29;
    pub const POLL: usize = 168;
    pub const WRITE: usize = 4;
    pub const EXIT: usize = 1;
}

// LLVM keeps r7 from inline assembly in Thumb code, so it is borrowed for each call.
define_system_calls! {
    instructions: "mov r12, r7", "mov r7, r4", "svc 0", "mov r7, r12";
    number: "r4";
    arguments: "r0", "r1", "r2", "r3";
    lost: ["r12"];
}

/// C's `int` in a system call: the register.
pub type Int = usize;

/// A type aligned as the stack is.
pub type StackAligned = u64;

pub const WAITING: Waiting = Waiting::PauseAndPoll { pause: nr::PAUSE, poll: nr::POLL };

/// The flags every signal handler needs here: none.
pub const HANDLER_FLAGS: usize = 0;

/// `struct sigaction` has a restorer.
pub type Restorer = Unset;
pub const RESTORER: Restorer = Restorer::uninit();

define_trap!("udf #0"); // SIGILL

define_main!("C");

define_elf!(machine: "40", flags: "0x5000400"); // EM_ARM; EF_ARM_EABI_VER5 | EF_ARM_ABI_FLOAT_HARD

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", %progbits"#,
    ".globl _start",
    ".type _start, %function", // by which its address says that it is Thumb
    ".thumb",
    "_start:",
    "ldr r0, [sp]",   // argc
    "add r1, sp, #4", // argv
);
