// SPDX-License-Identifier: GPL-2.0-only
//! Numbers in dumps, as liberal as `strtoull` of the C library is.

use anyhow::{anyhow, Result};

use crate::quote;

/// Reads a number in base 10 or 8: white space, a sign, digits. A negative number wraps around,
/// one that is too large becomes the largest. That is what the C tool takes; dumps that rely on
/// it exist.
///
/// # Errors
/// If there is anything else in `text`, or no digit.
pub(super) fn parse(text: &[u8], base: u32) -> Result<u64> {
    let invalid = || anyhow!("{} is not a number", quote::bytes(text));
    let is_space = |&byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = text.iter().position(|byte| !is_space(byte));
    let mut digits = text.get(start.ok_or_else(invalid)?..).unwrap_or_default();
    let mut negative = false;
    if let [sign @ (b'+' | b'-'), rest @ ..] = digits {
        negative = *sign == b'-';
        digits = rest;
    }
    if digits.is_empty() {
        return Err(invalid());
    }
    let mut value = Some(0_u64);
    for &byte in digits {
        let digit = char::from(byte).to_digit(base).ok_or_else(invalid)?;
        value = value
            .and_then(|value| value.checked_mul(u64::from(base)))
            .and_then(|value| value.checked_add(u64::from(digit)));
    }
    Ok(match value {
        None => u64::MAX,
        Some(value) if negative => value.wrapping_neg(),
        Some(value) => value,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn as_strtoull() {
        let ok = |text: &str, base| parse(text.as_bytes(), base).ok();
        assert_eq!(ok("0", 10), Some(0));
        assert_eq!(ok("010", 10), Some(10));
        assert_eq!(ok("755", 8), Some(0o755));
        assert_eq!(ok("-1", 10), Some(u64::MAX));
        assert_eq!(ok("-0", 10), Some(0));
        assert_eq!(ok("+7", 10), Some(7));
        assert_eq!(ok("\t\r7", 10), Some(7));
        assert_eq!(ok("18446744073709551615", 10), Some(u64::MAX));
        assert_eq!(ok("18446744073709551616", 10), Some(u64::MAX));
        assert_eq!(ok("-18446744073709551616", 10), Some(u64::MAX));
        for text in ["", " ", "-", "+", "+-1", "1x", "0x1", "8e1", "1 ", "--1"] {
            assert_eq!(ok(text, 10), None, "{text:?}");
        }
        assert_eq!(ok("8", 8), None);
    }
}
