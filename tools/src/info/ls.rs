// SPDX-License-Identifier: GPL-2.0-only
//! Listing the files of an image.

use std::io::Write;

use anyhow::{Context, Result};
use composefs_format::FileType;

use crate::contents::Opened;
use crate::contents::{visit, Entry, Filter};
use crate::dump::Escape;

const PATH: Escape = Escape {
    keep_space: true,
    equal: false,
    lone_dash: false,
};
const PAYLOAD: Escape = Escape {
    keep_space: false,
    ..PATH
};

/// Prints every entry of an image but the root.
///
/// # Errors
/// If the image is damaged, or writing fails.
pub fn print(image: &Opened, filter: &Filter, out: &mut dyn Write) -> Result<()> {
    let mut line = Vec::new();
    visit(image, filter, false, &mut |entry| {
        if entry.path.is_empty() {
            return Ok(());
        }
        line.clear();
        append(&mut line, entry);
        out.write_all(&line).context("cannot write")
    })
}

fn append(line: &mut Vec<u8>, entry: &Entry) {
    PATH.append(line, entry.path);
    let record = entry.record;
    // Of a hard link only the name is told.
    if entry.hard_link.is_none() {
        match record.file_type() {
            FileType::Directory => line.extend_from_slice(b"/\t"),
            FileType::Symlink => {
                line.extend_from_slice(b"\t-> ");
                PAYLOAD.append(line, record.payload().unwrap_or_default());
            }
            _ => {
                if let Some(object) = record.object() {
                    line.extend_from_slice(b"\t@ ");
                    PAYLOAD.append(line, object);
                }
            }
        }
    }
    line.push(b'\n');
}
