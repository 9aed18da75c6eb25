// SPDX-License-Identifier: GPL-2.0-only
//! File names in messages: whatever bytes they hold, a message stays one line.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
