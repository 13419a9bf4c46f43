//! The system calls of the test, typed. A negative number is an error, as the kernel returns it.

use crate::arch::{WAITING, Waiting, nr, syscall1, syscall4};
use crate::numbers::{self, syscall5};
use crate::seccomp::Instruction;
use core::ffi::CStr;

/// As in `src/arch`, whose own returns nothing where pause asks for nothing.
///
/// # Safety
/// That of the system call.
unsafe fn syscall3(n: usize, a1: usize, a2: usize, a3: usize) -> usize {
    // SAFETY: as promised to this function.
    unsafe { syscall5(n, a1, a2, a3, 0, 0) }
}

/// A file descriptor that is closed when it is dropped.
pub struct File(usize);

/// Error numbers (the kernel's include/uapi/asm-generic/errno-base.h).
pub const EINTR: u32 = 4;
pub const EAGAIN: u32 = 11;

/// Signal numbers, the same on every architecture (signal(7)).
pub const SIGINT: u32 = 2;
pub const SIGILL: u32 = 4;
pub const SIGTRAP: u32 = 5;
pub const SIGKILL: u32 = 9;
pub const SIGSEGV: u32 = 11;
pub const SIGPIPE: u32 = 13;
pub const SIGTERM: u32 = 15;
pub const SIGCHLD: u32 = 17;
pub const SIGCONT: u32 = 18;
pub const SIGSTOP: u32 = 19;

/// Namespaces (the kernel's include/uapi/linux/sched.h).
pub const NEW_MOUNT: usize = 0x0002_0000;
pub const NEW_UTS: usize = 0x0400_0000;
pub const NEW_IPC: usize = 0x0800_0000;
pub const NEW_PID: usize = 0x2000_0000;
pub const NEW_NET: usize = 0x4000_0000;

/// ptrace(2) requests (the kernel's include/uapi/linux/ptrace.h).
pub const PTRACE_TRACEME: usize = 0;
pub const PTRACE_POKEDATA: usize = 5;
pub const PTRACE_DETACH: usize = 17;
pub const PTRACE_SEIZE: usize = 0x4206;
pub const PTRACE_INTERRUPT: usize = 0x4207;

/// The kernel's include/uapi/asm-generic/fcntl.h; the same on every architecture here.
const O_NONBLOCK: usize = 0o4000;
const O_CLOEXEC: usize = 0o2_000_000;
const F_SETFL: usize = 4;
const AT_FDCWD: usize = -100isize as usize;

fn checked(result: usize) -> Result<usize, isize> {
    let result = result as isize;
    // The kernel's include/linux/err.h: these are errors.
    if (-4095..0).contains(&result) { Err(result) } else { Ok(result as usize) }
}

/// Makes a process that goes on from here with a copy of the memory, in new namespaces if asked for: 0 in the new
/// process, its PID here.
pub fn clone(namespaces: usize) -> Result<u32, isize> {
    let flags = namespaces | SIGCHLD as usize;
    let same_stack = 0;
    let (first, second) = if numbers::CLONE_TAKES_STACK_FIRST { (same_stack, flags) } else { (flags, same_stack) };
    // SAFETY: without CLONE_VM the new process has memory of its own, and nothing else in this one changes.
    checked(unsafe { syscall4(numbers::CLONE, first, second, 0, 0) }).map(|pid| pid as u32)
}

/// Returns only if it fails.
pub fn execve(program: &CStr, arguments: &[*const u8]) -> isize {
    assert!(arguments.last().is_some_and(|last| last.is_null()));
    let environment = [core::ptr::null::<u8>()];
    // SAFETY: the kernel only reads: strings that end with a zero byte, from lists that end with null. What it cannot
    // read is an error.
    unsafe {
        syscall3(numbers::EXECVE, program.as_ptr() as usize, arguments.as_ptr() as usize, environment.as_ptr() as usize)
            as isize
    }
}

pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: touches no memory.
        unsafe { syscall1(nr::EXIT, status as usize) };
    }
}

pub const WNOHANG: usize = 1;
/// For children and traced processes of either kind (the kernel's include/uapi/linux/wait.h).
pub const WALL: usize = 0x4000_0000;

/// wait4(2) for one process: its PID and status, or 0 if it has nothing to tell yet.
pub fn wait(pid: u32, options: usize) -> Result<(u32, u32), isize> {
    let mut status = 0u32;
    // SAFETY: the kernel writes one status.
    let pid = checked(unsafe { syscall4(nr::WAIT4, pid as usize, &raw mut status as usize, options, 0) })?;
    Ok((pid as u32, status))
}

pub fn kill(pid: u32, signal: u32) -> Result<(), isize> {
    // SAFETY: touches no memory; a signal that kills this process ends its memory with it.
    checked(unsafe { syscall3(numbers::KILL, pid as usize, signal as usize, 0) }).map(drop)
}

pub fn ptrace(request: usize, pid: u32) -> Result<(), isize> {
    ptrace_with(request, pid, 0, 0)
}

/// ptrace(2) for a request that takes an address in the traced process and a word.
pub fn ptrace_with(request: usize, pid: u32, address: usize, data: usize) -> Result<(), isize> {
    // SAFETY: the requests of this file touch no memory of this process.
    checked(unsafe { syscall4(numbers::PTRACE, request, pid as usize, address, data) }).map(drop)
}

/// Sets the limit of open files to none.
pub fn allow_no_open_files() -> Result<(), isize> {
    const RLIMIT_NOFILE: usize = 7;
    let (this_process, none) = (0, [0u64; 2]); // struct rlimit64
    // SAFETY: the kernel reads one `struct rlimit64`.
    checked(unsafe { syscall4(numbers::PRLIMIT64, this_process, RLIMIT_NOFILE, &raw const none as usize, 0) }).map(drop)
}

/// A copy of another process's file, by its number there.
pub fn file_of(pid: u32, descriptor: usize) -> Result<File, isize> {
    // SAFETY: touches no memory.
    let process = checked(unsafe { syscall3(numbers::PIDFD_OPEN, pid as usize, 0, 0) }).map(File)?;
    // SAFETY: touches no memory.
    checked(unsafe { syscall3(numbers::PIDFD_GETFD, process.0, descriptor, 0) }).map(File)
}

/// With `listens`, a file from which the calls can be received that the filter holds up.
pub fn seccomp(filter: &[Instruction], listens: bool) -> Result<Option<File>, isize> {
    /// `struct sock_fprog` (the kernel's include/uapi/linux/filter.h).
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    const SET_MODE_FILTER: usize = 1;
    const NEW_LISTENER: usize = 8;
    let program = Program { length: filter.len() as u16, instructions: filter.as_ptr() };
    let flags = if listens { NEW_LISTENER } else { 0 };
    // SAFETY: the kernel reads one `struct sock_fprog` and as many instructions as it says.
    let file = checked(unsafe { syscall3(numbers::SECCOMP, SET_MODE_FILTER, flags, &raw const program as usize) })?;
    Ok(listens.then_some(File(file)))
}

/// A call that is held up: `struct seccomp_notif` (the kernel's include/uapi/linux/seccomp.h).
#[derive(Default)]
#[repr(C)]
pub struct HeldUp {
    id: u64,
    pid: u32,
    flags: u32,
    number: u32,
    architecture: u32,
    instruction: u64,
    pub arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

// SECCOMP_IOCTL_NOTIF_RECV and SECCOMP_IOCTL_NOTIF_SEND: `_IOWR` of '!', a number, and the size.
const RECEIVE: usize = 0xc000_2100 | size_of::<HeldUp>() << 16;
const SEND: usize = 0xc000_2101 | size_of::<Answer>() << 16;

/// Whether the kernel has seccomp filters, and the action one may take.
pub fn seccomp_takes(action: u32) -> Result<(), isize> {
    const GET_ACTION_AVAIL: usize = 2;
    // SAFETY: the kernel reads one action.
    checked(unsafe { syscall3(numbers::SECCOMP, GET_ACTION_AVAIL, 0, &raw const action as usize) }).map(drop)
}

pub fn mount(kind: &CStr, place: &CStr) -> Result<(), isize> {
    let no_data = 0;
    // SAFETY: the kernel only reads strings.
    checked(unsafe {
        syscall5(numbers::MOUNT, kind.as_ptr() as usize, place.as_ptr() as usize, kind.as_ptr() as usize, 0, no_data)
    })
    .map(drop)
}

pub fn make_directory(path: &CStr) -> Result<(), isize> {
    // SAFETY: the kernel only reads a string.
    checked(unsafe { syscall3(numbers::MKDIRAT, AT_FDCWD, path.as_ptr() as usize, 0o755) }).map(drop)
}

/// Opens an existing file, for writing too if it may be written to.
pub fn open(path: &CStr, access: Access) -> Result<File, isize> {
    // SAFETY: the kernel only reads a string.
    checked(unsafe { syscall4(numbers::OPENAT, AT_FDCWD, path.as_ptr() as usize, access as usize | O_CLOEXEC, 0) })
        .map(File)
}

#[derive(Clone, Copy)]
pub enum Access {
    Read = 0,
    Write = 1,
}

/// A pipe: the end to read from and the end to write to.
pub fn pipe() -> Result<(File, File), isize> {
    let mut ends = [0u32; 2];
    // SAFETY: the kernel writes two descriptors.
    checked(unsafe { syscall3(numbers::PIPE2, &raw mut ends as usize, O_CLOEXEC, 0) })?;
    Ok((File(ends[0] as usize), File(ends[1] as usize)))
}

impl File {
    pub fn read(&self, into: &mut [u8]) -> Result<usize, isize> {
        // SAFETY: the kernel writes within the slice.
        checked(unsafe { syscall3(numbers::READ, self.0, into.as_mut_ptr() as usize, into.len()) })
    }

    pub fn write(&self, bytes: &[u8]) -> Result<usize, isize> {
        // SAFETY: the kernel reads within the slice.
        checked(unsafe { syscall3(nr::WRITE, self.0, bytes.as_ptr() as usize, bytes.len()) })
    }

    pub fn is_readable(&self) -> bool {
        /// `struct pollfd` (the kernel's include/uapi/asm-generic/poll.h).
        #[repr(C)]
        struct PollFd {
            file: u32,
            events: i16,
            found: i16,
        }
        const POLLIN: i16 = 1;
        let mut poll = PollFd { file: self.0 as u32, events: POLLIN, found: 0 };
        let (polls, no_time) = (&raw mut poll as usize, [0usize; 2]);
        // SAFETY: the kernel reads and writes one `struct pollfd` and only reads the `struct timespec`.
        unsafe {
            match WAITING {
                Waiting::PauseAndPoll { poll, .. } => syscall3(poll, polls, 1, 0),
                Waiting::Ppoll { ppoll } => syscall4(ppoll, polls, 1, &raw const no_time as usize, 0),
            }
        };
        poll.found & POLLIN != 0
    }

    /// For what a filter holds calls up with: waits for the next one.
    pub fn receive(&self) -> Result<HeldUp, isize> {
        let mut call = HeldUp::default();
        // SAFETY: the kernel writes one `struct seccomp_notif`.
        checked(unsafe { syscall3(numbers::IOCTL, self.0, RECEIVE, &raw mut call as usize) })?;
        Ok(call)
    }

    /// Has the call fail, or be made after all.
    pub fn answer(&self, call: &HeldUp, error: Option<u32>) -> Result<(), isize> {
        const CONTINUE: u32 = 1;
        let flags = if error.is_none() { CONTINUE } else { 0 };
        let answer = Answer { id: call.id, value: 0, error: -(error.unwrap_or(0) as i32), flags };
        // SAFETY: the kernel reads one `struct seccomp_notif_resp`.
        checked(unsafe { syscall3(numbers::IOCTL, self.0, SEND, &raw const answer as usize) }).map(drop)
    }

    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<(), isize> {
        let flags = if nonblocking { O_NONBLOCK } else { 0 };
        // SAFETY: touches no memory.
        checked(unsafe { syscall3(numbers::FCNTL, self.0, F_SETFL, flags) }).map(drop)
    }

    /// For a process that has got a file from its parent and must not keep it open.
    pub fn close_in_this_process(&self) {
        close(self.0);
    }

    /// Makes a standard stream of it, which execve(2) keeps open.
    pub fn become_stream(&self, stream: usize) -> Result<(), isize> {
        // SAFETY: touches no memory.
        checked(unsafe { syscall3(numbers::DUP3, self.0, stream, 0) }).map(drop)
    }

    /// Enters one of the namespaces of a process; the file is one in its /proc/PID/ns.
    pub fn enter(&self) -> Result<(), isize> {
        let any_kind = 0;
        // SAFETY: touches no memory.
        checked(unsafe { syscall3(numbers::SETNS, self.0, any_kind, 0) }).map(drop)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        close(self.0);
    }
}

pub fn close(descriptor: usize) {
    // SAFETY: touches no memory.
    unsafe { syscall1(numbers::CLOSE, descriptor) };
}

pub fn sleep_for_a_millisecond() {
    // `struct __kernel_old_timespec` (the kernel's include/uapi/linux/time_types.h).
    let time = [0usize, 1_000_000];
    // SAFETY: the kernel reads one `struct timespec` and, with null for the rest, writes nothing.
    unsafe { syscall3(numbers::NANOSLEEP, &raw const time as usize, 0, 0) };
}

pub fn set_hostname(name: &[u8]) -> Result<(), isize> {
    // SAFETY: the kernel reads within the slice.
    checked(unsafe { syscall3(numbers::SETHOSTNAME, name.as_ptr() as usize, name.len(), 0) }).map(drop)
}

pub fn hostname_is(name: &[u8]) -> bool {
    // `struct new_utsname` (the kernel's include/uapi/linux/utsname.h): six texts, of which the second is the name.
    let mut texts = [[0u8; 65]; 6];
    // SAFETY: the kernel writes one `struct new_utsname`.
    unsafe { syscall1(numbers::UNAME, &raw mut texts as usize) };
    texts[1].strip_prefix(name).is_some_and(|rest| rest[0] == 0)
}

/// Restarts the machine, on which qemu's `-no-reboot` ends.
pub fn restart() {
    // The kernel's include/uapi/linux/reboot.h.
    let (magic, magic_too, restart) = (0xfee1_dead, 672_274_793, 0x0123_4567);
    // SAFETY: nothing is left to run.
    unsafe { syscall4(numbers::REBOOT, magic, magic_too, restart, 0) };
}
