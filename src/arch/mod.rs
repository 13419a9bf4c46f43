//! What differs between architectures, one file each, the same parts in the same order: the system-call numbers and
//! instruction, two types that save bytes, how to wait, the signal ABI, the trap, the entry point. Nothing outside this
//! directory knows an architecture.

use core::mem::MaybeUninit;

#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "loongarch64", path = "loongarch64.rs")]
#[cfg_attr(target_arch = "powerpc64", path = "powerpc64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "s390x.rs")]
#[cfg_attr(target_arch = "x86", path = "x86.rs")]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
mod current;

pub use current::*;

/// The system calls an architecture waits with: newer ones have neither pause(2) nor poll(2).
#[allow(dead_code, reason = "an architecture has one of the two")]
pub enum Waiting {
    PauseAndPoll { pause: usize, poll: usize },
    Ppoll { ppoll: usize },
}

/// What `struct sigaction` has between flags and mask where it has a restorer. No handler of ours returns, so it is
/// never used, and left unset it costs no instruction.
#[allow(dead_code, reason = "some architectures have no restorer")]
pub type Unset = MaybeUninit<usize>;

/// Defines `syscall0` to `syscall4` in the shape of sc's, for architectures it does not build for. The result comes in
/// the register of the first argument; `negative` makes an error negative where the kernel does not, and is left out of
/// `syscall1` and `syscall3`, whose results nobody asks for.
#[allow(unused_macros, reason = "not needed where sc builds")]
macro_rules! define_system_calls {
    (
        instructions: $($instruction:tt),+;
        $(negative: $($negative:tt),+;)?
        number: $number:tt;
        arguments: $a1:tt, $a2:tt, $a3:tt, $a4:tt;
        lost: [$($lost:tt),*];
    ) => {
        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall0(n: usize) -> usize {
            let result;
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction,)+ $($($negative,)+)? in($number) n, lateout($a1) result,
                    $(lateout($lost) _,)* options(nostack));
            }
            result
        }

        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall1(n: usize, a1: usize) {
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction,)+ in($number) n, inlateout($a1) a1 => _, $(lateout($lost) _,)*
                    options(nostack));
            }
        }

        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall3(n: usize, a1: usize, a2: usize, a3: usize) {
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction,)+ in($number) n, inlateout($a1) a1 => _, in($a2) a2, in($a3) a3,
                    $(lateout($lost) _,)* options(nostack));
            }
        }

        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall4(n: usize, a1: usize, a2: usize, a3: usize, a4: usize) -> usize {
            let result;
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction,)+ $($($negative,)+)? in($number) n, inlateout($a1) a1 => result,
                    in($a2) a2, in($a3) a3, in($a4) a4, $(lateout($lost) _,)* options(nostack));
            }
            result
        }
    };
}
#[allow(unused_imports, reason = "not needed where sc builds")]
use define_system_calls;

/// Defines `trap`, by an instruction for which the kernel ends any process, PID 1 too, with a signal that cannot be
/// ignored (`force_sig_info_to_task` in the kernel's kernel/signal.c).
macro_rules! define_trap {
    ($instruction:literal) => {
        #[inline(always)]
        pub fn trap() -> ! {
            // SAFETY: the process ends here, so nothing is touched and nothing follows.
            unsafe { core::arch::asm!($instruction, options(noreturn, nomem, nostack)) }
        }
    };
}
use define_trap;

/// Defines what the ELF header (elf64.ld, elf32.ld) says of the architecture: `e_machine` and `e_flags`.
macro_rules! define_elf {
    (machine: $machine:literal, flags: $flags:literal) => {
        core::arch::global_asm!(
            ".globl elf_machine, elf_flags",
            concat!(".set elf_machine, ", $machine),
            concat!(".set elf_flags, ", $flags),
        );
    };
}
use define_elf;

/// Defines what `_start` falls into, called as the ABI of that name says.
macro_rules! define_main {
    ($abi:literal) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.main")]
        unsafe extern $abi fn main(argc: isize, argv: *const *const u8) -> ! {
            // SAFETY: `_start` hands on what the kernel put on the stack.
            crate::sys::exit(unsafe { crate::main(argc, argv) })
        }
    };
}
use define_main;
