//! The first process of a virtual machine, in which `/pause` is held to its contract on a real kernel. It reports
//! line by line on the console: `ok NAME` or `not ok NAME: what was seen`.

#![no_std]
#![no_main]
#![expect(clippy::result_large_err, reason = "there is no heap to box it in")]

#[allow(dead_code, unused_imports, reason = "it is pause's, and pause needs another part of it")]
#[path = "../../../src/arch/mod.rs"]
mod arch;
mod checks;
#[path = "../errors.rs"]
mod errors;
mod failure;
mod numbers;
mod process;
mod seccomp;
mod start;
mod sys;
mod text;

// Linked for the memory functions the compiler may call on its own.
extern crate cb as _;

use core::fmt::Arguments;
use sys::{Access, File};
use text::Text;

/// Called by the entry point in `arch`. Returns the status to exit with, should the machine not restart.
#[inline(never)] // Whatever is inlined into the entry point may want it aligned, and `_start` falls through into it.
unsafe fn main(_argc: isize, _argv: *const *const u8) -> i32 {
    sys::make_directory(c"/dev").ok();
    sys::make_directory(c"/proc").ok();
    sys::mount(c"devtmpfs", c"/dev").ok();
    match sys::mount(c"proc", c"/proc") {
        Ok(()) => report(),
        Err(error) => say(format_args!("cannot mount /proc: error {error}")),
    }
    sys::restart();
    1
}

fn report() {
    // From here on the console is ours: the kernel keeps to itself what is no emergency.
    if let Ok(level) = sys::open(c"/proc/sys/kernel/printk", Access::Write) {
        level.write(b"1\n").ok();
    }
    let mut failures = 0;
    for (name, check) in checks::CHECKS {
        match check() {
            Ok(()) => say(format_args!("ok {name}")),
            Err(seen) => {
                failures += 1;
                say(format_args!("not ok {name}: {}", seen.as_str()));
            }
        }
    }
    say(format_args!("{} checks, {failures} failures", checks::CHECKS.len()));
}

/// Writes a line to the console.
fn say(line: Arguments) {
    let line = Text::<1000>::of(format_args!("{line}\n"));
    let mut rest = line.bytes();
    let Ok(console) = console() else { return };
    while let Ok(written @ 1..) = console.write(rest) {
        rest = &rest[written..];
        if rest.is_empty() {
            break;
        }
    }
}

fn console() -> Result<File, isize> {
    sys::open(c"/dev/console", Access::Write)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    say(format_args!("the test itself failed: {info}"));
    sys::exit(1)
}
