// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel shows of a mount.

use std::fs;
use std::path::Path;

use anyhow::{bail, Result};

/// The line of /proc/self/mountinfo for a mount: (type, source, filesystem's options), unescaped.
pub fn mountinfo(target: &Path) -> Result<(String, String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        if left.split(' ').nth(4).map(unescape) != Some(target.to_string_lossy().into_owned()) {
            continue;
        }
        let fields: Vec<_> = right.split(' ').map(unescape).collect();
        if let [kind, source, options] = fields.as_slice() {
            return Ok((kind.clone(), source.clone(), options.clone()));
        }
    }
    bail!("{} is not in /proc/self/mountinfo", target.display())
}

/// Undoes the octal escapes that the kernel writes.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|o| u8::from_str_radix(o, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}
