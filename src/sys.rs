//! The system calls of pause, typed. There are no others: this list is its seccomp profile.

use crate::arch::{self, Int, Waiting, nr, syscall0, syscall1, syscall3, syscall4};

/// Signal numbers, the same on every architecture pause is built for (signal(7)).
pub const SIGINT: Int = 2;
pub const SIGTERM: Int = 15;
pub const SIGCHLD: Int = 17;

/// The `sa_handler` that ignores a signal (the kernel's uapi/asm-generic/signal-defs.h).
const SIG_IGN: usize = 1;

pub const STDOUT: usize = 1;
pub const STDERR: usize = 2;

/// A disposition as rt_sigaction(2) takes it: the kernel's `struct sigaction`, not libc's.
#[repr(C)]
pub struct Disposition {
    /// Aligned as the stack is, it lies at the stack pointer and needs no offset (2 bytes on x86_64).
    aligned: [arch::StackAligned; 0],
    handler: usize,
    flags: usize,
    restorer: arch::Restorer,
    /// Blocked while the handler runs: every signal, so that the first one to arrive is the only one told of.
    mask: SignalSet,
}

/// `sigset_t`: 64 signals in words of the machine, by which it is aligned.
type SignalSet = [usize; 64 / usize::BITS as usize];
const EVERY_SIGNAL: SignalSet = [!0; 64 / usize::BITS as usize];

impl Disposition {
    /// # Safety
    /// Once installed, `handler` may run between any two instructions: it must do nothing that code so interrupted cannot
    /// bear (signal-safety(7)). That it never returns is its type.
    #[inline(always)]
    pub unsafe fn handle(handler: extern "C" fn(Int) -> !) -> Self {
        Self {
            aligned: [],
            handler: handler as usize,
            flags: arch::HANDLER_FLAGS,
            restorer: arch::RESTORER,
            mask: EVERY_SIGNAL,
        }
    }

    /// Turns this disposition into the ignoring of a signal, for which flags and mask mean nothing.
    #[inline(always)]
    pub fn ignore(&mut self) {
        self.handler = SIG_IGN;
    }
}

/// getpid(2).
#[inline(always)]
pub fn getpid() -> Int {
    // SAFETY: takes no arguments and touches no memory.
    unsafe { syscall0(nr::GETPID) as Int }
}

/// rt_sigaction(2); 0, or something else on failure.
#[inline(always)]
pub fn rt_sigaction(signal: Int, disposition: &Disposition) -> Int {
    let no_old_disposition = 0;
    // SAFETY: the kernel reads one `struct sigaction` from a reference to one and, with a null third argument, writes
    // nothing. Whoever made the disposition vouched for the handler, which never returns and so needs no restorer.
    unsafe {
        syscall4(
            nr::RT_SIGACTION,
            signal as usize,
            &raw const *disposition as usize,
            no_old_disposition,
            size_of::<SignalSet>(),
        ) as Int
    }
}

/// wait4(2) for any child, without waiting: whether one was dead.
#[inline(always)]
pub fn wait4_any() -> bool {
    const ANY_CHILD: usize = -1isize as usize;
    const WNOHANG: usize = 1;
    // SAFETY: with null for the status and the usage the kernel writes nothing.
    let pid = unsafe { syscall4(nr::WAIT4, ANY_CHILD, 0, WNOHANG, 0) as Int };
    // 0 if none was dead, negative on failure.
    pid.cast_signed() > 0
}

/// pause(2), or what libc makes of it where there is none: whether it was interrupted. It returns after a handler has
/// returned, which ours never do, or if the call fails.
#[inline(always)]
pub fn pause_is_interrupted() -> bool {
    const EINTR: Int = 4;
    // SAFETY: without file descriptors and addresses the kernel touches no memory.
    let result = unsafe {
        match arch::WAITING {
            Waiting::PauseAndPoll { pause, .. } => syscall0(pause),
            Waiting::Ppoll { ppoll } => syscall4(ppoll, 0, 0, 0, 0),
        }
    };
    result as Int == EINTR.wrapping_neg()
}

/// Whether a write to `fd` would neither block nor fail, by poll(2) or ppoll(2): room, and somebody to read. Where the call
/// itself fails, as under a limit of no open files, the answer is no.
#[inline(always)]
pub fn is_writable(fd: usize) -> bool {
    /// `struct pollfd`. The events are 16 bits and those that can be reported lie in the lower eight, read alone.
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    const POLLOUT: i16 = 4;
    let mut poll = PollFd { fd: fd as i32, events: POLLOUT, revents: 0 };
    let no_time = [0usize; 2]; // struct timespec
    let (polls, one) = (&raw mut poll as usize, 1);
    // SAFETY: the kernel reads and writes the one `struct pollfd` it is given, which is ours alone, and only reads the
    // `struct timespec`.
    unsafe {
        match arch::WAITING {
            Waiting::PauseAndPoll { poll, .. } => _ = syscall3(poll, polls, one, 0),
            Waiting::Ppoll { ppoll } => _ = syscall4(ppoll, polls, one, &raw const no_time as usize, 0),
        }
    };
    // POLLERR beside POLLOUT is a pipe nobody reads any more. Comparing one byte is a byte shorter.
    poll.revents as u8 == POLLOUT as u8
}

/// write(2). What cannot be written is lost: there is nobody left to tell.
#[inline(always)]
pub fn write(fd: usize, bytes: &[u8]) {
    // SAFETY: the kernel only reads, within the slice.
    unsafe { syscall3(nr::WRITE, fd, bytes.as_ptr() as usize, bytes.len()) };
}

/// exit(2): this process has one thread, so the thread's end is the process's.
#[inline(always)]
pub fn exit(status: i32) -> ! {
    // SAFETY: touches no memory.
    unsafe { syscall1(nr::EXIT, status as usize) };
    // Reached only under a seccomp filter that denies even exit.
    arch::trap()
}
