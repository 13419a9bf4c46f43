//! The life of a pause process, top to bottom, as in Kubernetes' pause.c: it owns the Pod's namespaces, sleeps until
//! it is told to stop, and sees that no orphan stays a zombie.

#![no_std]
#![no_main]

mod arch;
mod message;
mod sys;

// Linked for the memory functions the compiler may call on its own; unused, they cost no byte.
extern crate cb as _;

use sys::Disposition;

/// Called by the entry point in `arch`. Returns the status to exit with; normally it sleeps for ever, and a signal
/// handler exits.
///
/// # Safety
/// `argv` must point at `argc` strings as the kernel lays them out for a new program.
#[inline(always)]
unsafe fn main(argc: isize, argv: *const *const u8) -> i32 {
    // SAFETY: as promised to this function.
    if unsafe { asks_for_version(argc, argv) } {
        sys::write(sys::STDOUT, message::VERSION);
        return 0;
    }

    if sys::getpid() != 1 {
        // Not an error: Pods with `hostPID: true` share the node's first process.
        message::tell(message::NOT_FIRST_PROCESS);
    }

    // SAFETY: `shut_down` makes system calls, changes nothing that other code reads, and never returns.
    let mut disposition = unsafe { Disposition::handle(shut_down) };
    if sys::rt_sigaction(sys::SIGINT, &disposition) != 0 {
        return 1;
    }
    if sys::rt_sigaction(sys::SIGTERM, &disposition) != 0 {
        return 2;
    }
    // With SIGCHLD ignored the kernel reaps every child that dies from here on, orphans included, and does not wake us.
    disposition.ignore();
    if sys::rt_sigaction(sys::SIGCHLD, &disposition) != 0 {
        return 3;
    }
    // What was already dead is swept only now, so that nothing can slip between.
    while sys::wait4_any() {}

    // No handler returns, and Linux restarts the call after a stop, a tracer or the freezer. Yet a tracer, a kernel that is
    // not Linux or a restored checkpoint may let the interruption show.
    while sys::pause_is_interrupted() {}
    message::tell(message::LOOP_TERMINATED);
    42
}

/// Whether any argument is `-v` or `-V`; the name of the program, `argv[0]`, is none.
#[inline(always)]
unsafe fn asks_for_version(argc: isize, argv: *const *const u8) -> bool {
    // Byte four is ignored, and so is 0x20, the bit between a capital letter and a small one.
    const MASK: u32 = u32::from_ne_bytes([0xff, !0x20, 0xff, 0]);
    const OPTION: u32 = u32::from_ne_bytes(*b"-V\0\0");
    let mut index = argc;
    loop {
        // Counted before it is compared, and compared as the `int` it is, which saves 3 bytes on x86_64. With `argc == 0`,
        // as before Linux 5.18, it ends at once.
        index -= 1;
        if (index as arch::Int).cast_signed() <= 0 {
            return false;
        }
        // SAFETY: `index` is that of an argument. Four bytes can be read from any of them, even from an empty one: above
        // the strings of arguments and environment the kernel puts the name of the file, and above that it leaves a
        // pointer's size to the end of the stack's pages (`bprm->p` in fs/exec.c, for every architecture; four bytes on
        // a 32-bit kernel). One comparison for three bytes saves 13 bytes on x86_64.
        let start = unsafe { argv.offset(index).read().cast::<u32>().read_unaligned() };
        if start & MASK == OPTION {
            return true;
        }
    }
}

/// Handles SIGINT and SIGTERM. It has a section of its own, so that linker.ld and not the compiler's version says where it
/// lies.
#[unsafe(link_section = ".text.shut_down")]
extern "C" fn shut_down(signal: arch::Int) -> ! {
    // SAFETY: it is installed for SIGINT and SIGTERM alone.
    message::tell(unsafe { message::shutting_down(signal) });
    sys::exit(0)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
