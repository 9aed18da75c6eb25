// SPDX-License-Identifier: GPL-2.0-only
//! Escapes in dumps: `\\`, `\n`, `\r`, `\t`, and `\xHH` for any byte.

use anyhow::{anyhow, Result};

use crate::quote;

/// Undoes the escapes of `text`; `out` is overwritten.
///
/// # Errors
/// If there is a backslash that none of the escapes begins with.
pub(super) fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    let mut rest = text;
    while let Some(position) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(position);
        out.extend_from_slice(plain);
        let (byte, len) = match escape {
            [_, b'\\', ..] => (b'\\', 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'x', high, low, ..] => {
                let byte = hex_byte(*high, *low);
                let invalid = || anyhow!("invalid hex escape in {}", quote::bytes(text));
                (byte.ok_or_else(invalid)?, 4)
            }
            _ => return Err(anyhow!("invalid escape in {}", quote::bytes(text))),
        };
        out.push(byte);
        rest = escape.get(len..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The byte that two hex digits stand for.
pub(super) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// What of `text` comes before a zero byte. Names, targets and keys end there, if one was smuggled
/// in by an escape.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Appends bytes as hex digits.
pub fn append_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        bytes
            .iter()
            .flat_map(|&byte| [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)])),
    );
}

/// What to escape besides bytes that no one can read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Escape {
    /// Leave spaces as they are.
    pub keep_space: bool,
    /// Escape `=`, which ends the name of an xattr.
    pub equal: bool,
    /// Escape a dash that is all there is: it would say that the field is not set.
    pub lone_dash: bool,
}

impl Escape {
    /// Appends `text` with its escapes.
    pub fn append(self, out: &mut Vec<u8>, text: &[u8]) {
        if self.lone_dash && text == b"-" {
            out.extend_from_slice(b"\\x2d");
            return;
        }
        let mut rest = text;
        loop {
            let plain = rest.iter().position(|&byte| !self.is_plain(byte));
            let (head, tail) = rest.split_at(plain.unwrap_or(rest.len()));
            out.extend_from_slice(head);
            let Some((&byte, tail)) = tail.split_first() else {
                return;
            };
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => {
                    out.extend_from_slice(b"\\x");
                    append_hex(out, &[byte]);
                }
            }
            rest = tail;
        }
    }

    fn is_plain(self, byte: u8) -> bool {
        match byte {
            b'\\' => false,
            b' ' => self.keep_space,
            b'=' => !self.equal,
            _ => byte.is_ascii_graphic(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescapes() {
        let ok = |text: &str| {
            let mut out = b"old".to_vec();
            unescape(text.as_bytes(), &mut out).ok().map(|()| out)
        };
        assert_eq!(ok(r"plain").as_deref(), Some(&b"plain"[..]));
        assert_eq!(ok(r"\\\n\r\t").as_deref(), Some(&b"\\\n\r\t"[..]));
        assert_eq!(ok(r"a\x00\xFfb").as_deref(), Some(&b"a\0\xffb"[..]));
        for text in [r"\", r"\x", r"\x1", r"\xg0", r"\x0g", r"\a", r"\0", r"x\"] {
            assert_eq!(ok(text), None, "{text}");
        }
    }
}
