//! x86, by the System V ABI (Intel386 supplement, "Process Stack") and syscall(2).
//!
//! - system call: number in eax, arguments in ebx, ecx, edx, esi; `int 0x80`; result in eax; nothing else lost
//! - at the start: esp points at argc, argv follows, esp is 16-byte aligned
//! - a function: esp points at the return address, the arguments follow, aligned to 16 bytes; as "fastcall" the first two
//!   arguments are in ecx and edx
//! - a signal handler: entered as a function, the signal number its first argument

use super::{Unset, Waiting, define_elf, define_main, define_trap};
use core::arch::asm;

/// From the kernel's arch/x86/entry/syscalls/syscall_32.tbl.
pub mod nr {
    pub const GETPID: usize = 20;
    pub const RT_SIGACTION: usize = 174;
    pub const WAIT4: usize = 114;
    pub const PAUSE: usize = 29;
    pub const POLL: usize = 168;
    pub const WRITE: usize = 4;
    pub const EXIT: usize = 1;
}

/// # Safety
/// That of the system call.
#[inline(always)]
pub unsafe fn syscall0(n: usize) -> usize {
    let result;
    // SAFETY: as promised to this function; every register the kernel changes is named.
    unsafe { asm!("int 0x80", inlateout("eax") n => result, options(nostack)) };
    result
}

/// # Safety
/// That of the system call.
#[inline(always)]
pub unsafe fn syscall1(n: usize, a1: usize) {
    // SAFETY: as promised to this function; every register the kernel changes is named.
    unsafe { asm!("int 0x80", inlateout("eax") n => _, in("ebx") a1, options(nostack)) };
}

/// # Safety
/// That of the system call.
#[inline(always)]
pub unsafe fn syscall3(n: usize, a1: usize, a2: usize, a3: usize) {
    // SAFETY: as promised to this function; every register the kernel changes is named.
    unsafe { asm!("int 0x80", inlateout("eax") n => _, in("ebx") a1, in("ecx") a2, in("edx") a3, options(nostack)) };
}

/// # Safety
/// That of the system call.
#[inline(always)]
pub unsafe fn syscall4(n: usize, a1: usize, a2: usize, a3: usize, a4: usize) -> usize {
    let result;
    // SAFETY: as promised to this function; every register the kernel changes is named, and esi has its value again. It
    // cannot be named for an operand, yet is what LLVM takes for the fourth: then there is nothing to exchange (16 bytes).
    unsafe {
        asm!(
            ".ifnc {a4}, esi",
            "xchg esi, {a4}",
            ".endif",
            "int 0x80",
            ".ifnc {a4}, esi",
            "xchg esi, {a4}",
            ".endif",
            a4 = in(reg) a4,
            inlateout("eax") n => result,
            in("ebx") a1,
            in("ecx") a2,
            in("edx") a3,
            options(nostack)
        )
    };
    result
}

/// C's `int` in a system call: the register.
pub type Int = usize;

/// A type aligned as the stack is.
pub type StackAligned = u128;

pub const WAITING: Waiting = Waiting::PauseAndPoll { pause: nr::PAUSE, poll: nr::POLL };

/// The flags every signal handler needs here: none.
pub const HANDLER_FLAGS: usize = 0;

/// `struct sigaction` has a restorer.
pub type Restorer = Unset;
pub const RESTORER: Restorer = Restorer::uninit();

define_trap!("hlt"); // SIGSEGV, the shortest such instruction, for it is privileged

define_main!("fastcall");

define_elf!(machine: "3", flags: "0x0"); // EM_386

// Calls `main(argc, argv)`: linker.ld puts `main` right behind, so that no jump is needed.
core::arch::global_asm!(
    r#".section .text.start, "ax", @progbits"#,
    ".globl _start",
    "_start:",
    "pop ecx",      // argc
    "mov edx, esp", // argv
    "push eax",     // two words, so that esp is as a function expects it: one for argc, which was popped, and one in
    "push eax",     // the place of a return address, which main does not use
);
