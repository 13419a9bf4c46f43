//! The contract with pause.c: its rows, in the order of README.md's, and what they start, watch and end pause with. They
//! hold natively, for an emulated pause, and in the first process of another kernel, which has nothing but this.

pub mod cgroup;
pub mod deny;
mod pause;
mod rows;

pub use pause::*;
pub use rows::{Needs, ROWS, Row};

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
pub const WARNING: &str = "Warning: pause should be the first process\n";
pub const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
pub const TERMINATED: &str = "Shutting down, got signal: Terminated\n";
pub const ERROR: &str = "Error: infinite loop terminated\n";

/// How long anything may take that should be immediate. It only bounds how long a failure takes to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long once something has been waited for in vain: what hangs will do so in row after row.
const LESS_PATIENCE: Duration = Duration::from_secs(5);

static WAITED_IN_VAIN: AtomicBool = AtomicBool::new(false);

fn patience() -> Duration {
    if WAITED_IN_VAIN.load(Ordering::Relaxed) { LESS_PATIENCE } else { PATIENCE }
}

/// Waits until `condition` holds, and fails if it does not in time.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(patience(), what, condition);
}

/// The same for what may take longer than what should be immediate.
#[track_caller]
pub fn within(patience: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(waited(patience, condition), "waited {patience:?} in vain for {what}");
}

/// Whether `condition` comes to hold in time.
fn waited(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() > deadline {
            WAITED_IN_VAIN.store(true, Ordering::Relaxed);
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
