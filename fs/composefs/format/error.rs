// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Why an image is refused.

use core::fmt;

/// Why an image, or a part of it, was refused.
///
/// The text is one plain fragment of a sentence, for messages that name the image themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a composefs image at all.
    NotComposefs(&'static str),
    /// Valid as EROFS, but outside what composefs images use.
    Unsupported(&'static str),
    /// A composefs image, but damaged.
    Corrupt(&'static str),
}

impl Error {
    /// What is wrong, such as "directory entry name is empty".
    pub fn reason(&self) -> &'static str {
        match *self {
            Self::NotComposefs(reason) | Self::Unsupported(reason) | Self::Corrupt(reason) => {
                reason
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for Error {}
