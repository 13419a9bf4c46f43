//! x86_64, by the System V ABI (AMD64 supplement, 3.4.1 "Initial Stack and Register State") and syscall(2).
//!
//! - system call: number in rax, arguments in rdi, rsi, rdx, r10; `syscall`; result in rax; rcx and r11 lost
//! - at the start: rsp points at argc, argv follows, rsp is 16-byte aligned
//! - a function: arguments in rdi, rsi; rsp is 8 short of 16-byte alignment, for `call` has pushed an address
//! - a signal handler: entered as a function, the signal number in rdi; `SA_RESTORER` is compulsory (`x64_setup_rt_frame`
//!   in the kernel's arch/x86/kernel/signal_64.c fails without it), though only a handler that returns uses the restorer

use super::{Unset, Waiting, define_elf, define_main, define_trap};

pub use sc::{nr, syscall0, syscall1, syscall3, syscall4};

/// C's `int` in a system call: 32 bits, which saves a REX prefix.
pub type Int = u32;

/// A type aligned as the stack is.
pub type StackAligned = u128;

pub const WAITING: Waiting = Waiting::PauseAndPoll { pause: nr::PAUSE, poll: nr::POLL };

/// The flags every signal handler needs here: SA_RESTORER (arch/x86/include/uapi/asm/signal.h).
pub const HANDLER_FLAGS: usize = 0x0400_0000;

/// `struct sigaction` has a restorer.
pub type Restorer = Unset;
pub const RESTORER: Restorer = Restorer::uninit();

define_trap!("hlt"); // SIGSEGV, the shortest such instruction, for it is privileged

define_main!("C");

define_elf!(machine: "62", flags: "0x0"); // EM_X86_64

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "pop rdi",  // argc; and rsp is as a function expects it
    "push rsp", // argv, one byte shorter than a move
    "pop rsi",
);
