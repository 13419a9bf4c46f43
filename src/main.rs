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

/// Entered from `_start` in `arch`.
///
/// # Safety
/// `argv` must point at `argc` strings as the kernel lays them out for a new program.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.main")]
unsafe extern "C" fn main(argc: isize, argv: *const *const u8) -> ! {
    // SAFETY: as promised to this function.
    sys::exit(unsafe { run(argc, argv) })
}

/// Returns the status to exit with. It normally sleeps for ever, and a signal handler exits.
#[inline(always)]
unsafe fn run(argc: isize, argv: *const *const u8) -> i32 {
    // SAFETY: as promised to this function.
    if unsafe { asks_for_version(argc, argv) } {
        sys::write(sys::STDOUT, message::VERSION);
        return 0;
    }

    if sys::getpid() != 1 {
        // Not an error: Pods with `hostPID: true` share the node's first process.
        message::tell(message::NOT_FIRST_PROCESS);
    }

    let mut disposition = Disposition::handle(shut_down);
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

    // One call is enough: stopping, tracing and freezing restart it, and no handler returns.
    sys::pause();
    message::tell(message::LOOP_TERMINATED);
    42
}

/// Whether any argument is `-v` or `-V`.
#[inline(always)]
unsafe fn asks_for_version(mut argc: isize, argv: *const *const u8) -> bool {
    // The last byte is of no interest, and 0x20 is what tells a capital letter from a small one.
    const MASK: u32 = u32::from_ne_bytes([0xff, !0x20, 0xff, 0]);
    const OPTION: u32 = u32::from_ne_bytes(*b"-V\0\0");
    while argc > 1 {
        argc -= 1;
        // SAFETY: `argc` is now the index of an argument. Four bytes can be read from any of them, even an empty one,
        // for the kernel puts the file name and eight zero bytes behind the last (fs/exec.c, fs/binfmt_elf.c); that
        // saves three comparisons of a byte each (13 bytes on x86_64).
        let start = unsafe { argv.offset(argc).read().cast::<u32>().read_unaligned() };
        if start & MASK == OPTION {
            return true;
        }
    }
    false
}

/// Handles SIGINT and SIGTERM.
extern "C" fn shut_down(signal: arch::Int) -> ! {
    message::tell(message::shutting_down(signal));
    sys::exit(0)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
