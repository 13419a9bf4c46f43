//! What the test needs of an architecture beyond `src/arch`: more system-call numbers, and one call with five
//! arguments. The numbers are those of the kernel's tables, named below.

/// Which column of a row counts.
const COLUMN: usize = if cfg!(target_arch = "x86_64") {
    0 // arch/x86/entry/syscalls/syscall_64.tbl
} else if cfg!(target_arch = "x86") {
    1 // arch/x86/entry/syscalls/syscall_32.tbl
} else if cfg!(target_arch = "arm") {
    2 // arch/arm/tools/syscall.tbl
} else if cfg!(target_arch = "powerpc64") {
    3 // arch/powerpc/kernel/syscalls/syscall.tbl
} else if cfg!(target_arch = "s390x") {
    4 // arch/s390/kernel/syscalls/syscall.tbl
} else {
    5 // include/uapi/asm-generic/unistd.h: aarch64, riscv64, loongarch64
};

pub const CLONE: usize = [56, 120, 120, 120, 120, 220][COLUMN];
pub const CLOSE: usize = [3, 6, 6, 6, 6, 57][COLUMN];
pub const DUP3: usize = [292, 330, 358, 316, 326, 24][COLUMN];
pub const EXECVE: usize = [59, 11, 11, 11, 11, 221][COLUMN];
pub const FCNTL: usize = [72, 55, 55, 55, 55, 25][COLUMN];
pub const IOCTL: usize = [16, 54, 54, 54, 54, 29][COLUMN];
pub const KILL: usize = [62, 37, 37, 37, 37, 129][COLUMN];
pub const MKDIRAT: usize = [258, 296, 323, 287, 289, 34][COLUMN];
pub const MOUNT: usize = [165, 21, 21, 21, 21, 40][COLUMN];
pub const NANOSLEEP: usize = [35, 162, 162, 162, 162, 101][COLUMN];
pub const OPENAT: usize = [257, 295, 322, 286, 288, 56][COLUMN];
pub const PIPE2: usize = [293, 331, 359, 317, 325, 59][COLUMN];
pub const PRLIMIT64: usize = [302, 340, 369, 325, 334, 261][COLUMN];
pub const PTRACE: usize = [101, 26, 26, 26, 26, 117][COLUMN];
pub const READ: usize = [0, 3, 3, 3, 3, 63][COLUMN];
pub const REBOOT: usize = [169, 88, 88, 88, 88, 142][COLUMN];
pub const SECCOMP: usize = [317, 354, 383, 358, 348, 277][COLUMN];
pub const SETHOSTNAME: usize = [170, 74, 74, 74, 74, 161][COLUMN];
pub const SETNS: usize = [308, 346, 375, 350, 339, 268][COLUMN];
pub const UNAME: usize = [63, 122, 122, 122, 122, 160][COLUMN];
// Of the newer calls, which have the same number everywhere.
pub const PIDFD_OPEN: usize = 434;
pub const PIDFD_GETFD: usize = 438;

/// Where clone(2) takes its flags: s390x has the stack first (its CONFIG_CLONE_BACKWARDS2).
pub const CLONE_TAKES_STACK_FIRST: bool = cfg!(target_arch = "s390x");

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub use sc::syscall5;

/// As `syscall4` in `src/arch`, with one argument more.
///
/// # Safety
/// That of the system call.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub unsafe fn syscall5(n: usize, a1: usize, a2: usize, a3: usize, a4: usize, a5: usize) -> usize {
    let result;
    #[cfg(target_arch = "x86")]
    let last = [a4, a5];
    // SAFETY: as promised to this function; every register the kernel changes is named. On x86 LLVM may keep
    // something in esi, even the address of the last arguments, and gets it back.
    unsafe {
        #[cfg(target_arch = "x86")]
        core::arch::asm!("push esi", "mov edi, [{more} + 4]", "mov esi, [{more}]", "int 0x80", "pop esi",
            more = in(reg) &raw const last, inlateout("eax") n => result, in("ebx") a1, in("ecx") a2, in("edx") a3,
            out("edi") _);
        #[cfg(target_arch = "arm")]
        core::arch::asm!("mov r12, r7", "mov r7, r5", "svc 0", "mov r7, r12", in("r5") n, inlateout("r0") a1 => result,
            in("r1") a2, in("r2") a3, in("r3") a4, in("r4") a5, lateout("r12") _, options(nostack));
        #[cfg(target_arch = "powerpc64")]
        core::arch::asm!("sc", "bns+ 1f", "neg 3, 3", "1:", inlateout("r0") n => _, inlateout("r3") a1 => result,
            inlateout("r4") a2 => _, inlateout("r5") a3 => _, inlateout("r6") a4 => _, inlateout("r7") a5 => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _, lateout("cr0") _,
            lateout("ctr") _, options(nostack));
        #[cfg(target_arch = "s390x")]
        core::arch::asm!("svc 0", in("r1") n, inlateout("r2") a1 => result, in("r3") a2, in("r4") a3, in("r5") a4,
            in("r6") a5, options(nostack));
        #[cfg(target_arch = "loongarch64")]
        core::arch::asm!("syscall 0", in("$a7") n, inlateout("$a0") a1 => result, in("$a1") a2, in("$a2") a3,
            in("$a3") a4, in("$a4") a5, out("$t0") _, out("$t1") _, out("$t2") _, out("$t3") _, out("$t4") _,
            out("$t5") _, out("$t6") _, out("$t7") _, out("$t8") _, options(nostack));
    }
    result
}
