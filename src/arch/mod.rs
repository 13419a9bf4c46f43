//! What differs between architectures, one file each, the same parts in the same order: the system-call numbers and
//! instruction, two types that save bytes, how to wait, the signal ABI, `_start`. Nothing outside this folder knows an
//! architecture.

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
/// the register of the first argument.
#[allow(unused_macros, reason = "not needed where sc builds")]
macro_rules! define_system_calls {
    (
        instructions: $($instruction:tt),+;
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
                core::arch::asm!($($instruction),+, in($number) n, lateout($a1) result,
                    $(lateout($lost) _,)* options(nostack));
            }
            result
        }

        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall1(n: usize, a1: usize) -> usize {
            let result;
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction),+, in($number) n, inlateout($a1) a1 => result,
                    $(lateout($lost) _,)* options(nostack));
            }
            result
        }

        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall3(n: usize, a1: usize, a2: usize, a3: usize) -> usize {
            let result;
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction),+, in($number) n, inlateout($a1) a1 => result, in($a2) a2, in($a3) a3,
                    $(lateout($lost) _,)* options(nostack));
            }
            result
        }

        /// # Safety
        /// That of the system call.
        #[inline(always)]
        pub unsafe fn syscall4(n: usize, a1: usize, a2: usize, a3: usize, a4: usize) -> usize {
            let result;
            // SAFETY: as promised to this function; every register the kernel changes is named.
            unsafe {
                core::arch::asm!($($instruction),+, in($number) n, inlateout($a1) a1 => result, in($a2) a2, in($a3) a3,
                    in($a4) a4, $(lateout($lost) _,)* options(nostack));
            }
            result
        }
    };
}
#[allow(unused_imports, reason = "not needed where sc builds")]
use define_system_calls;
