//! Makes system calls fail and pipes break.

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// An argument of a system call by its place, and its value: what tells a call of pause from one of `unshare`, which
/// is under the same filter.
pub type Argument = (u8, u64);

/// Makes one system call fail, as a seccomp profile would.
pub fn failing(mut command: Command, call: libc::c_long, argument: Option<Argument>, error: u32) -> Command {
    let conditions = argument
        .map(|(place, value)| SeccompCondition::new(place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap());
    let rules = conditions.map(|condition| SeccompRule::new(vec![condition]).unwrap()).into_iter().collect();
    let filter = SeccompFilter::new(
        [(call, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(error),
        std::env::consts::ARCH.try_into().expect("an architecture seccompiler knows"),
    );
    under(&mut command, filter.expect("a valid filter"));
    command
}

/// Puts a command under a seccomp filter.
pub fn under(command: &mut Command, filter: SeccompFilter) {
    let filter: BpfProgram = filter.try_into().expect("a valid filter");
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other)) };
}

/// A pipe nobody reads any more.
pub fn broken() -> PipeWriter {
    pipe().expect("a pipe").1
}

/// A pipe without room for a byte, and its other end.
pub fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    // SAFETY: fcntl(2) with a number touches no memory.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    writer.write_all(&vec![b'.'; size as usize]).expect("room for as much as it holds");
    (reader, writer)
}
