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
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                    return Err(anyhow!("invalid hex escape in {}", quote::bytes(text)));
                };
                ((high << 4 | low) as u8, 4)
            }
            _ => return Err(anyhow!("invalid escape in {}", quote::bytes(text))),
        };
        out.push(byte);
        rest = escape.get(len..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// What of `text` comes before a zero byte. Names, targets and keys end there, if one was smuggled
/// in by an escape.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
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
