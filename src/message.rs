//! What pause says, and how: one write a message. Those for stderr can neither block nor kill it; the version, which
//! somebody asked for, can do both, as anybody's output (pause.c's too).

use crate::arch::Int;
use crate::sys;
use core::mem::offset_of;

pub const VERSION: &[u8] = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();
const INTERRUPT: &[u8] = b"Shutting down, got signal: Interrupt\n";
const TERMINATED: &[u8] = b"Shutting down, got signal: Terminated\n";
const WARNING: &[u8] = b"Warning: pause should be the first process\n";
const ERROR: &[u8] = b"Error: infinite loop terminated\n";

/// The messages for stderr. One is named by the offset of its text, a small number that is loaded in three bytes
/// where an address needs seven (9 bytes in all on x86_64).
#[repr(C)]
struct Messages {
    warning: Message<{ WARNING.len() }>,
    interrupt: Message<{ INTERRUPT.len() }>,
    gap: [u8; GAP],
    terminated: Message<{ TERMINATED.len() }>,
    error: Message<{ ERROR.len() }>,
}

/// A text behind its length, so that one number names both.
#[repr(C)]
struct Message<const LENGTH: usize> {
    length: u8,
    text: [u8; LENGTH],
}

impl<const LENGTH: usize> Message<LENGTH> {
    const fn new(text: &[u8]) -> Self {
        assert!(LENGTH <= u8::MAX as usize);
        Self { length: LENGTH as u8, text: *text.first_chunk().unwrap() }
    }
}

static MESSAGES: Messages = Messages {
    warning: Message::new(WARNING),
    interrupt: Message::new(INTERRUPT),
    gap: [0; GAP],
    terminated: Message::new(TERMINATED),
    error: Message::new(ERROR),
};

/// The two shutdown messages lie `STEP` times as far apart as the numbers of their signals, so that a signal number is
/// turned into the message by a multiplication, without a comparison (7 bytes on x86_64).
const SIGNAL_DISTANCE: usize = (sys::SIGTERM - sys::SIGINT) as usize;
const GAP: usize = (1 + INTERRUPT.len()).next_multiple_of(SIGNAL_DISTANCE) - (1 + INTERRUPT.len());
const STEP: usize = (offset_of!(Messages, terminated) - offset_of!(Messages, interrupt)) / SIGNAL_DISTANCE;

/// Where offsets are counted from, so that nothing is left to add to the product (2 bytes on x86_64).
const ORIGIN: usize = offset_of!(Messages, interrupt.text) - sys::SIGINT as usize * STEP;

/// Names a message by the offset of its text from `ORIGIN` in `MESSAGES`.
#[derive(Clone, Copy)]
pub struct MessageId(usize);

pub const NOT_FIRST_PROCESS: MessageId = MessageId(offset_of!(Messages, warning.text).wrapping_sub(ORIGIN));
pub const LOOP_TERMINATED: MessageId = MessageId(offset_of!(Messages, error.text).wrapping_sub(ORIGIN));

/// The message for SIGINT or SIGTERM.
///
/// # Safety
/// There is none for another signal.
#[inline(always)]
pub unsafe fn shutting_down(signal: Int) -> MessageId {
    MessageId((signal * STEP as Int) as usize)
}

/// Writes a message to stderr, or drops it where a write would block (a full pipe) or raise SIGPIPE (a broken one).
#[inline(never)]
pub fn tell(message: MessageId) {
    if sys::is_writable(sys::STDERR) {
        let text = (&raw const MESSAGES).cast::<u8>().wrapping_add(ORIGIN).wrapping_add(message.0);
        // SAFETY: a `MessageId` is made only above, from the place of a text in `MESSAGES`, so the text lies in it and
        // the byte before is its length.
        let text = unsafe { core::slice::from_raw_parts(text, *text.sub(1) as usize) };
        sys::write(sys::STDERR, text);
    }
}
