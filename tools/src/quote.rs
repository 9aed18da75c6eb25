// SPDX-License-Identifier: GPL-2.0-only
//! File names in messages, and messages: whatever bytes they hold, a message stays one line.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A message longer than twice this is cut in the middle: in front is what it is about, and the cause
/// at the end.
const HALF_MAX: usize = 4096;

/// A message on one line, and not an endless one, though what it tells of may have been said by others.
pub fn line(message: &str) -> String {
    let mut line = String::new();
    let mut add = |text: &str| {
        for c in text.chars() {
            match c.is_control() {
                true => line.extend(c.escape_default()),
                false => line.push(c),
            }
        }
    };
    let boundary = |at: usize| (0..=at).rev().find(|&at| message.is_char_boundary(at));
    let tail = message.len().checked_sub(HALF_MAX);
    let ends = boundary(HALF_MAX).zip(tail.and_then(boundary));
    match ends.filter(|(head, tail)| head < tail) {
        Some((head, tail)) => {
            add(message.get(..head).unwrap_or_default());
            add(" [...] ");
            add(message.get(tail..).unwrap_or_default());
        }
        None => add(message),
    }
    line
}

/// Displays a file name between quotes, control characters escaped.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a [u8]);

/// Quotes a name given as bytes.
pub fn bytes(name: &[u8]) -> Quoted<'_> {
    Quoted(name)
}

/// Quotes a path.
pub fn path(path: &Path) -> Quoted<'_> {
    Quoted(path.as_os_str().as_bytes())
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_str("'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(line("a\nb\x1b[1m\u{85}ü"), "a\\nb\\u{1b}[1m\\u{85}ü");
        let short = "ü".repeat(HALF_MAX);
        assert_eq!(line(&short), short);
        for shift in ["", "a"] {
            let long = line(&format!("{shift}{}: cause", "ü".repeat(1 << 20)));
            assert!(long.len() <= 2 * HALF_MAX + 10, "{}", long.len());
            assert!(long.starts_with(&format!("{shift}üü")) && long.ends_with("üü: cause"));
        }
    }
}
