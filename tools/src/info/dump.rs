// SPDX-License-Identifier: GPL-2.0-only
//! Printing an image as a dump.

use std::io::Write;

use anyhow::{Context, Result};

use crate::contents::Opened;
use crate::contents::{visit, Entry, Filter};
use crate::dump::{append_hex, Escape};

const PLAIN: Escape = Escape {
    keep_space: false,
    equal: false,
    lone_dash: false,
};
const OPTIONAL: Escape = Escape {
    lone_dash: true,
    ..PLAIN
};
const XATTR: Escape = Escape {
    equal: true,
    ..PLAIN
};

/// Prints every entry of an image as a line.
///
/// # Errors
/// If the image is damaged, or writing fails.
pub fn print(image: &Opened, filter: &Filter, out: &mut dyn Write) -> Result<()> {
    let mut line = Vec::new();
    visit(image, filter, true, &mut |entry| {
        line.clear();
        append(&mut line, entry);
        out.write_all(&line).context("cannot write")
    })
}

fn append(line: &mut Vec<u8>, entry: &Entry) {
    let record = entry.record;
    let inode = record.inode();
    let path = if entry.path.is_empty() {
        b"/"
    } else {
        entry.path
    };
    PLAIN.append(line, path);
    let mark = if entry.hard_link.is_some() { "@" } else { "" };
    append_fmt(
        line,
        format_args!(
            " {} {mark}{:o} {} {} {} {} {}.{} ",
            record.size,
            record.mode(),
            inode.nlink,
            inode.uid,
            inode.gid,
            inode.rdev,
            inode.mtime.sec,
            inode.mtime.nsec
        ),
    );
    append_optional(line, entry.hard_link.or(record.payload()));
    line.push(b' ');
    append_optional(line, record.content());
    line.push(b' ');
    match &record.digest {
        Some(digest) => append_hex(line, digest.as_bytes()),
        None => line.push(b'-'),
    }
    for (name, value) in record.xattrs() {
        line.push(b' ');
        XATTR.append(line, name);
        line.push(b'=');
        XATTR.append(line, value);
    }
    line.push(b'\n');
}

fn append_fmt(line: &mut Vec<u8>, arguments: std::fmt::Arguments) {
    // Writing to a vector cannot fail.
    let _ = line.write_fmt(arguments);
}

fn append_optional(line: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(field) => OPTIONAL.append(line, field),
        None => line.push(b'-'),
    }
}
