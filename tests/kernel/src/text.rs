//! Text without a heap: what fits is kept, the rest is cut off.

use core::ffi::CStr;
use core::fmt;

#[derive(Clone)]
pub struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    pub const fn new() -> Self {
        Self { bytes: [0; SIZE], length: 0 }
    }

    pub fn of(arguments: fmt::Arguments) -> Self {
        let mut text = Self::new();
        fmt::Write::write_fmt(&mut text, arguments).ok();
        text
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Takes in what was written to the beginning of the room.
    pub fn grow(&mut self, by: usize) {
        self.length += by;
    }

    /// For a text that ends with a zero byte.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(self.bytes()).expect("a zero byte at the end and nowhere else")
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or("(no UTF-8)")
    }
}

impl<const SIZE: usize> fmt::Write for Text<SIZE> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.room();
        let fitting = text.len().min(room.len());
        room[..fitting].copy_from_slice(&text.as_bytes()[..fitting]);
        self.grow(fitting);
        Ok(())
    }
}

/// A text the kernel takes: it ends with a zero byte.
pub fn path(arguments: fmt::Arguments) -> Text<64> {
    let mut text = Text::of(arguments);
    *text.room().first_mut().expect("a path shorter than the room for it") = 0;
    text.grow(1);
    text
}
