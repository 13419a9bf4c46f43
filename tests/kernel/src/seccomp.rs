//! Makes a system call fail, as a seccomp profile would, or holds it up: a filter in classic BPF, built by hand.

use crate::sys::{self, File};

/// A system call that is to fail, and how.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Its number.
    pub call: usize,
    /// The place of an argument and the value it must have, to tell one use of the call from another.
    pub argument: Option<(u32, u32)>,
    /// [`HELD_UP`], or the number of an error.
    pub error: u32,
}

/// Instead of an error: somebody else says what becomes of the call.
pub const HELD_UP: u32 = u32::MAX;

/// `struct sock_filter` (the kernel's include/uapi/linux/filter.h).
#[repr(C)]
pub struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

// The kernel's include/uapi/linux/bpf_common.h and seccomp.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const SKIP_UNLESS_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const SKIP: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
const FAIL: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
const HOLD_UP: u32 = 0x7fc0_0000; // SECCOMP_RET_USER_NOTIF

/// Where `struct seccomp_data` has the number of the call, and the lower half of an argument.
const NUMBER: u32 = 0;
const fn lower_half_of_argument(place: u32) -> u32 {
    16 + 8 * place + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// Whether the kernel can do it at all.
pub fn is_there() -> Result<(), isize> {
    sys::seccomp_takes(FAIL)
}

/// Puts this process and what it executes under a filter with one fault. It need not look at the architecture: what
/// runs under it makes system calls of one kind only. For calls that are held up there is a file to receive them from.
pub fn inject(fault: Fault) -> Result<Option<File>, isize> {
    let action = if fault.error == HELD_UP { HOLD_UP } else { FAIL | fault.error };
    let load = |operand| Instruction { code: LOAD, if_true: 0, if_false: 0, operand };
    let skip_unless_equal = |operand, by| Instruction { code: SKIP_UNLESS_EQUAL, if_true: 0, if_false: by, operand };
    let give = |operand| Instruction { code: RETURN, if_true: 0, if_false: 0, operand };
    let (look_at_argument, by) = match fault.argument {
        Some((place, value)) => (load(lower_half_of_argument(place)), skip_unless_equal(value, 1)),
        // Nothing to look at: skips nothing.
        None => (load(NUMBER), Instruction { code: SKIP, if_true: 0, if_false: 0, operand: 0 }),
    };
    let filter =
        [load(NUMBER), skip_unless_equal(fault.call as u32, 3), look_at_argument, by, give(action), give(ALLOW)];
    sys::seccomp(&filter, fault.error == HELD_UP)
}
