// SPDX-License-Identifier: GPL-2.0-only
//! Changes to splitstreams that know where their tables are, and what is in them.

use crate::compression::{self, Compression};
use crate::fields::number;
use crate::mutate;
use crate::mutate::archive;
use crate::random::Random;

const MAGIC: &[u8] = b"SplitStream\0\0\0\x01\x0c";
/// Where the info is that the header leads to, and where it ends.
const HEADER: usize = 32;
const INFO: usize = HEADER + 80;
const DIGEST: usize = 32;
/// Numbers in front of chunks.
const CHUNKS: &[i64] = &[0, 1, -1, -64, -512, -513, i64::MIN, i64::MAX, 1 << 32];

/// What a stream consists of, not compressed.
struct Parts {
    named: Vec<u8>,
    objects: Vec<u8>,
    content: Vec<u8>,
    names: Vec<u8>,
    /// What it is of, and its size.
    rest: Vec<u8>,
}

/// Changes a stream.
pub fn stream(bytes: &mut Vec<u8>, random: &mut Random) {
    let parts = Parts::read(bytes).filter(|_| random.index(8) != 0);
    let Some(mut parts) = parts else {
        return header(bytes, random);
    };
    for _ in 0..1 + random.index(3) {
        match random.index(8) {
            0 => table(&mut parts.named, random),
            1 => table(&mut parts.objects, random),
            2 => names(&mut parts.names, random),
            3 => mutate::bytes(&mut parts.rest, random),
            _ => content(&mut parts.content, random),
        }
    }
    *bytes = parts.write();
    if random.index(8) == 0 {
        header(bytes, random);
    }
}

impl Parts {
    fn read(bytes: &[u8]) -> Option<Self> {
        let start = usize::try_from(number(bytes, 16, 8)).ok()?;
        let info = bytes.get(start..start.checked_add(INFO - HEADER)?)?;
        let part = |at| {
            let (start, end) = (number(info, at, 8), number(info, at + 8, 8));
            bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        };
        let plain = |at| compression::decompress(Compression::Zstd, part(at)?);
        Some(Self {
            named: part(0)?.to_vec(),
            objects: part(16)?.to_vec(),
            content: plain(32)?,
            names: plain(48)?,
            rest: info[64..].to_vec(),
        })
    }

    fn write(&self) -> Vec<u8> {
        let zstd = |plain: &[u8]| compression::compress(Compression::Zstd, plain);
        let (names, content) = (zstd(&self.names), zstd(&self.content));
        let mut head = MAGIC.to_vec();
        let mut end = HEADER;
        let mut range = |len: usize| {
            let start = end as u64;
            end += len;
            [start.to_le_bytes(), (end as u64).to_le_bytes()].concat()
        };
        head.extend(range(INFO - HEADER));
        let (named, objects) = (range(self.named.len()), range(self.objects.len()));
        let names_range = range(names.len());
        head.extend([named, objects, range(content.len()), names_range].concat());
        let mut rest = self.rest.clone();
        rest.resize(16, 0);
        head.extend(rest);
        [&head, &self.named, &self.objects, &names, &content]
            .map(Vec::as_slice)
            .concat()
    }
}

/// Changes a number of the header or of the info, or any byte.
fn header(bytes: &mut Vec<u8>, random: &mut Random) {
    if random.index(3) == 0 || bytes.len() < INFO {
        return mutate::bytes(bytes, random);
    }
    let at = 16 + 8 * random.index((INFO - 16) / 8);
    let old = number(bytes, at, 8);
    let near = random.index(40) as u64;
    let new = match random.index(5) {
        0 => old.wrapping_add(near),
        1 => old.wrapping_sub(near),
        2 => random.index(bytes.len() + 2) as u64,
        3 => number(bytes, 16 + 8 * random.index((INFO - 16) / 8), 8),
        _ => random.of(&[0, u64::MAX, u64::MAX - 31, 1 << 63, 1 << 32]),
    };
    bytes[at..at + 8].copy_from_slice(&new.to_le_bytes());
}

/// Repeats, takes away or changes digests.
fn table(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.index(bytes.len() / DIGEST + 1) * DIGEST;
    match random.index(4) {
        0 => drop(bytes.splice(at..at, random.bytes(DIGEST))),
        1 if bytes.len() >= at + DIGEST => drop(bytes.drain(at..at + DIGEST)),
        2 if bytes.len() >= at + DIGEST => bytes.extend_from_within(at..at + DIGEST),
        _ => mutate::bytes(bytes, random),
    }
}

/// Changes names, and the numbers of what they are for.
fn names(bytes: &mut Vec<u8>, random: &mut Random) {
    let new = random.of::<&[u8]>(&[
        b"0:sparse:0\0",
        b"0:sparse:1\0",
        b"1:a\0",
        b"99999999999999999999:a\0",
        b"-1:a\0",
        b"0:\0",
        b":\0",
        b"\0",
        b"0:a",
    ]);
    match random.index(3) {
        0 => mutate::bytes(bytes, random),
        1 => bytes.splice(0..0, new.iter().copied()).for_each(drop),
        _ => bytes.extend(new),
    }
}

/// Where chunks begin and end.
fn chunks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let value = number(bytes, at, 8) as i64;
        let inline = usize::try_from(value.unsigned_abs()).ok();
        let inline = inline.filter(|_| value < 0).unwrap_or(0);
        let end = (at + 8).saturating_add(inline).min(bytes.len());
        chunks.push((at, end));
        at = end;
    }
    chunks
}

fn content(bytes: &mut Vec<u8>, random: &mut Random) {
    let chunks = chunks(bytes);
    if chunks.is_empty() || random.index(12) == 0 {
        return mutate::bytes(bytes, random);
    }
    let (at, end) = random.of(&chunks);
    let chunk = bytes[at..end].to_vec();
    match random.index(8) {
        0 => {
            let old = number(bytes, at, 8) as i64;
            let near = random.index(9) as i64 - 4;
            let known = random.of(CHUNKS);
            let value = random.of(&[known, old.wrapping_add(near)]);
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        1 => drop(bytes.drain(at..end)),
        2 => {
            let (to, _) = random.of(&chunks);
            bytes.splice(to..to, chunk);
        }
        3 => {
            let to = random.index(chunk.len());
            bytes.splice(at + to..at + to, random.of(CHUNKS).to_le_bytes());
        }
        // Most of it is headers of an archive; the number in front is that of its bytes.
        _ => {
            let mut inline = chunk[8..].to_vec();
            if inline.is_empty() {
                return;
            }
            archive::headers(&mut inline, random);
            let len = -(inline.len() as i64);
            bytes.splice(at..end, [&len.to_le_bytes()[..], &inline].concat());
        }
    }
}
