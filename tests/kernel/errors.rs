//! What each system call of pause can fail with: the errors that its page in section 2 of the Linux manual lists, and
//! those a seccomp profile denies any call with. For the tests here and for the init on real kernels.

// The numbers are those of the kernel's include/uapi/asm-generic/errno-base.h and errno.h, which hold on every
// architecture pause is built for.
pub const EPERM: u32 = 1;
const ESRCH: u32 = 3;
const EINTR: u32 = 4;
const EIO: u32 = 5;
const EBADF: u32 = 9;
const ECHILD: u32 = 10;
const EAGAIN: u32 = 11;
const ENOMEM: u32 = 12;
const EACCES: u32 = 13;
const EFAULT: u32 = 14;
const EINVAL: u32 = 22;
const EFBIG: u32 = 27;
const ENOSPC: u32 = 28;
const EPIPE: u32 = 32;
const ENOSYS: u32 = 38;
const EDESTADDRREQ: u32 = 89;
const EDQUOT: u32 = 122;

/// What a call that cannot fail is denied with: getpid(2), _exit(2).
pub const ANY: &[u32] = &[EPERM, EACCES, ENOSYS];
pub const RT_SIGACTION: &[u32] = &[EPERM, EACCES, ENOSYS, EFAULT, EINVAL];
/// As waitpid(2) lists them.
pub const WAIT4: &[u32] = &[EPERM, EACCES, ENOSYS, EAGAIN, ECHILD, EINTR, EINVAL, ESRCH];
/// Without EINTR, after which pause sleeps on.
pub const PAUSE: &[u32] = &[EPERM, EACCES, ENOSYS];
/// For ppoll(2) too.
pub const POLL: &[u32] = &[EPERM, EACCES, ENOSYS, EFAULT, EINTR, EINVAL, ENOMEM];
#[rustfmt::skip]
pub const WRITE: &[u32] = &[
    EPERM, EACCES, ENOSYS, EAGAIN, EBADF, EDESTADDRREQ, EDQUOT, EFAULT, EFBIG, EINTR, EINVAL, EIO, ENOSPC, EPIPE,
];
