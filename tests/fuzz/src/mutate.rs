// SPDX-License-Identifier: GPL-2.0-only
//! Changes to inputs that leave most of their structure as it is.

#[cfg(feature = "repository")]
mod archive;
#[cfg(feature = "repository")]
mod stream;

#[cfg(feature = "repository")]
pub use archive::archive;
#[cfg(feature = "repository")]
pub use stream::stream;

use crate::fields::{fields, number, Field, Kind};
use crate::random::Random;

const BLOCK: usize = 4096;

/// Changes one to four fields of an image, or the order or number of its blocks.
pub fn image(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.index(4) {
        match random.index(16) {
            0 => {
                self::bytes(bytes, random);
                continue;
            }
            1 => {
                blocks(bytes, random);
                continue;
            }
            _ => {}
        }
        // A change may lead to other fields, so they are looked for each time.
        let all = fields(bytes);
        if all.is_empty() {
            return self::bytes(bytes, random);
        }
        field(bytes, random, &all);
    }
}

/// Changes one of the fields.
fn field(bytes: &mut [u8], random: &mut Random, all: &[Field]) {
    let Field { at, len, kind } = random.of(all);
    if kind == Kind::Text {
        let at = at + random.index(len);
        bytes[at] = random.of(&[
            0,
            b'/',
            b'.',
            b'a',
            0xff,
            bytes[at] ^ 1,
            bytes[at].wrapping_add(1),
        ]);
        return;
    }
    let old = number(bytes, at, len);
    let size = bytes.len() as u64;
    let near = random.index(8) as u64;
    let limit = match kind {
        Kind::Inode => size / 32,
        Kind::Block => size / BLOCK as u64,
        Kind::Offset => BLOCK as u64,
        _ => size,
    };
    let same = all
        .iter()
        .filter(|other| other.kind == kind && other.len == len);
    let same: Vec<_> = same.collect();
    let new = match random.index(8) {
        0 => old.wrapping_add(near),
        1 => old.wrapping_sub(near),
        2 => old ^ 1 << random.index(8 * len),
        3 => limit.wrapping_add(near).wrapping_sub(4),
        4 => random.of(&[
            0,
            1,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0xffff,
            0x7fff_ffff,
            u64::MAX,
        ]),
        5 => random.index(limit as usize) as u64,
        6 => number(bytes, random.of(&same).at, len),
        _ => random.number(),
    };
    bytes[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
}

/// Moves, repeats, adds or takes away blocks.
fn blocks(bytes: &mut Vec<u8>, random: &mut Random) {
    let count = bytes.len() / BLOCK;
    if count < 2 {
        return;
    }
    let (from, to) = (random.index(count) * BLOCK, random.index(count) * BLOCK);
    match random.index(3) {
        0 => bytes.copy_within(from..from + BLOCK, to),
        1 => {
            bytes.extend_from_within(from..from + BLOCK);
            set_blocks(bytes);
        }
        _ => {
            bytes.truncate(from.max(BLOCK));
            if random.index(2) == 0 {
                set_blocks(bytes);
            }
        }
    }
}

/// Has the superblock count the blocks that there are.
fn set_blocks(bytes: &mut [u8]) {
    let count = (bytes.len() / BLOCK) as u32;
    if let Some(field) = bytes.get_mut(1024 + 36..1024 + 40) {
        field.copy_from_slice(&count.to_le_bytes());
    }
}

/// Changes bytes of anything.
pub fn bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.number() as u8);
        return;
    }
    let at = random.index(bytes.len());
    let len = random.index(8).min(bytes.len() - at);
    match random.index(6) {
        0 => bytes[at] ^= 1 << random.index(8),
        1 => bytes[at] = random.of(&[0, 1, 0x7f, 0x80, 0x81, 0x82, 0xa0, 0xff, b'0', b'-']),
        2 => bytes[at] = random.number() as u8,
        3 => bytes.truncate(at),
        4 => {
            bytes.drain(at..at + len);
        }
        _ => {
            let from = random.index(bytes.len() - len + 1);
            bytes.copy_within(from..from + len, at);
        }
    }
}

/// Changes fields and lines of a dump.
pub fn text(text: &mut Vec<u8>, random: &mut Random) {
    const FIELDS: &[&[u8]] = &[
        b"-",
        b"0",
        b"-1",
        b"@100644",
        b"120777",
        b"40755",
        b"20000",
        b"18446744073709551615",
        b"4294967296",
        b"0.0",
        b"0.999999999999",
        b"\\x00",
        b"\\x2f",
        b"\\xff\\x0a",
        b"/",
        b"..",
        b"user.a=",
        b"trusted.overlay.opaque=y",
        b"=",
        b"security.selinux=\\x00",
    ];
    let split = |text: &[u8], by: u8| -> Vec<Vec<u8>> {
        text.split(|&byte| byte == by).map(<[u8]>::to_vec).collect()
    };

    let mut lines = split(text, b'\n');
    let at = random.index(lines.len());
    match random.index(6) {
        0 => return bytes(text, random),
        1 => {
            let line = lines[random.index(lines.len())].clone();
            lines.insert(at, line);
        }
        2 => {
            lines.remove(at);
        }
        3 => {
            let other = random.index(lines.len());
            lines.swap(at, other);
        }
        _ => {
            let other = split(&lines[random.index(lines.len())], b' ');
            let mut fields = split(&lines[at], b' ');
            let which = random.index(fields.len());
            fields[which] = match random.index(3) {
                0 => random.of(FIELDS).to_vec(),
                1 => other.get(which).cloned().unwrap_or_default(),
                _ => other[random.index(other.len())].clone(),
            };
            if random.index(8) == 0 {
                fields.push(random.of(FIELDS).to_vec());
            }
            lines[at] = fields.join(&b' ');
        }
    }
    *text = lines.join(&b'\n');
}
