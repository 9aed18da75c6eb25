// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! fs-verity digests.

use core::fmt;

use super::bytes::array;

/// A hash algorithm of fs-verity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Algorithm {
    /// SHA-256, digests of 32 bytes.
    Sha256 = 1,
    /// SHA-512, digests of 64 bytes.
    Sha512 = 2,
}

impl Algorithm {
    /// The algorithm with number `id`, one of `FS_VERITY_HASH_ALG_*` in `linux/fsverity.h`.
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The reverse of [`from_id`](Self::from_id).
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name that digests are prefixed with: `sha256` or `sha512`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Size of a digest in bytes.
    pub fn digest_size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The fs-verity digest of a file. It is shown as lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Bytes);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Bytes {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// Why a text is not a digest; see [`reason`](Self::reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDigest(&'static str);

impl InvalidDigest {
    /// What is wrong, such as "digest contains a character that is no hex digit".
    pub fn reason(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for InvalidDigest {}

impl Digest {
    /// The digest by `algorithm` with these bytes, if they are as many as it has.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != algorithm.digest_size() {
            return None;
        }
        Some(Self(match algorithm {
            Algorithm::Sha256 => Bytes::Sha256(array(bytes, 0)?),
            Algorithm::Sha512 => Bytes::Sha512(array(bytes, 0)?),
        }))
    }

    /// Reads a digest from hex digits of either case: 64 are SHA-256, 128 are SHA-512; `sha256:` or
    /// `sha512:` before them says which is wanted.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] for every other text.
    pub fn parse_hex(text: &[u8]) -> Result<Self, InvalidDigest> {
        let (algorithm, digits) = if let Some(digits) = text.strip_prefix(b"sha256:") {
            (Algorithm::Sha256, digits)
        } else if let Some(digits) = text.strip_prefix(b"sha512:") {
            (Algorithm::Sha512, digits)
        } else if text.contains(&b':') {
            return Err(InvalidDigest(
                "digest algorithm is neither sha256 nor sha512",
            ));
        } else if text.len() == 128 {
            (Algorithm::Sha512, text)
        } else {
            (Algorithm::Sha256, text)
        };
        Ok(Self(match algorithm {
            Algorithm::Sha256 => Bytes::Sha256(parse(digits)?),
            Algorithm::Sha512 => Bytes::Sha512(parse(digits)?),
        }))
    }

    /// The algorithm that made it.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Bytes::Sha256(_) => Algorithm::Sha256,
            Bytes::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Its 32 or 64 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Sha256(bytes) => bytes,
            Bytes::Sha512(bytes) => bytes,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;

        for byte in self.as_bytes() {
            f.write_char(hex_digit(byte >> 4))?;
            f.write_char(hex_digit(byte & 0xf))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm().name())?;
        f.write_str(":")?;
        fmt::Display::fmt(self, f)
    }
}

/// `N` bytes from `2 * N` hex digits.
fn parse<const N: usize>(digits: &[u8]) -> Result<[u8; N], InvalidDigest> {
    const LENGTH: InvalidDigest = InvalidDigest("digest has the wrong number of hex digits");

    let mut bytes = [0; N];
    let mut rest = digits;
    for byte in &mut bytes {
        let [high, low, after @ ..] = rest else {
            return Err(LENGTH);
        };
        *byte = (hex_value(*high)? << 4) | hex_value(*low)?;
        rest = after;
    }
    if rest.is_empty() {
        Ok(bytes)
    } else {
        Err(LENGTH)
    }
}

/// The lowercase digit of a value below 16.
pub(super) fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('?')
}

fn hex_value(digit: u8) -> Result<u8, InvalidDigest> {
    match char::from(digit).to_digit(16) {
        Some(value) => Ok(value as u8),
        None => Err(InvalidDigest(
            "digest contains a character that is no hex digit",
        )),
    }
}
