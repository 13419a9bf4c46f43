//! Makes system calls fail, as a seccomp profile would: filters in classic BPF (the kernel's
//! Documentation/userspace-api/seccomp_filter.rst), for there is no library that knows all eight architectures.

use nix::libc::{self, c_long, sock_filter};
use std::io;
use std::str::FromStr;
use syscalls::Sysno;

/// Some calls, and what becomes of them or of all others.
#[derive(Clone)]
pub struct Filter(Vec<sock_filter>);

/// A system call, and perhaps an argument by its place and the value of its lower half: what tells one use of the call from
/// another.
pub type Call = (&'static str, Option<(u32, u32)>);

/// What pause sleeps in, and what it asks for room with. Newer architectures have neither pause(2) nor poll(2), and ppoll(2)
/// is both: of no descriptor, and of one.
pub fn sleep() -> Call {
    if Sysno::from_str("pause").is_ok() { ("pause", None) } else { ("ppoll", Some((1, 0))) }
}

pub fn poll() -> Call {
    if Sysno::from_str("poll").is_ok() { ("poll", None) } else { ("ppoll", Some((1, 1))) }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const SKIP_UNLESS_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Where `struct seccomp_data` has the number of the call, and the lower half of an argument.
const NUMBER: u32 = 0;
const fn lower_half_of_argument(place: u32) -> u32 {
    16 + 8 * place + if cfg!(target_endian = "big") { 4 } else { 0 }
}

fn statement(code: u32, operand: u32, if_false: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: if_false, k: operand }
}

impl Filter {
    /// One call fails with this error.
    pub fn failing((name, argument): Call, error: i32) -> Self {
        let failure = libc::SECCOMP_RET_ERRNO | error as u32;
        let mut statements = vec![statement(LOAD, NUMBER, 0)];
        match argument {
            Some((place, value)) => statements.extend([
                statement(SKIP_UNLESS_EQUAL, number(name), 3),
                statement(LOAD, lower_half_of_argument(place), 0),
                statement(SKIP_UNLESS_EQUAL, value, 1),
            ]),
            None => statements.push(statement(SKIP_UNLESS_EQUAL, number(name), 1)),
        }
        statements.extend([statement(RETURN, failure, 0), statement(RETURN, libc::SECCOMP_RET_ALLOW, 0)]);
        Self(statements)
    }

    /// Any other call than these kills.
    pub fn only(names: &[&str]) -> Self {
        let allowed = names.iter().flat_map(|name| {
            [statement(SKIP_UNLESS_EQUAL, number(name), 1), statement(RETURN, libc::SECCOMP_RET_ALLOW, 0)]
        });
        let first = [statement(LOAD, NUMBER, 0)];
        let last = [statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0)];
        Self(first.into_iter().chain(allowed).chain(last).collect())
    }

    /// Puts this process and what it executes under the filter. It need not look at the architecture: what runs under it
    /// makes system calls of one kind only.
    pub fn apply(&self) -> io::Result<()> {
        let program = libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the kernel reads the program, which lives as long as the call.
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER as c_long, 0, &raw const program)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn number(name: &str) -> u32 {
    Sysno::from_str(name).unwrap_or_else(|_| panic!("no system call is called {name}")).id() as u32
}
