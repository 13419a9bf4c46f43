//! What a check comes to, and how it gives up.

use crate::sys;
use crate::text::Text;

/// What was seen instead of what should have been.
pub type Failure = Text<800>;
pub type Checked<T = ()> = Result<T, Failure>;

macro_rules! fail {
    ($($message:tt)*) => { return Err($crate::text::Text::of(format_args!($($message)*))) };
}
pub(crate) use fail;

/// Names the step that a system call failed in.
pub fn step<T>(what: &str, result: Result<T, isize>) -> Checked<T> {
    result.map_err(|error| Text::of(format_args!("{what}: error {error}")))
}

/// Waits until `condition` holds. How often it looks, a millisecond apart and on a slow machine more, only bounds how
/// long a failure takes to be seen.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Checked {
    for _ in 0..10_000 {
        if condition() {
            return Ok(());
        }
        sys::sleep_for_a_millisecond();
    }
    fail!("waited in vain for {what}")
}
