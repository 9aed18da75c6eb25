// SPDX-License-Identifier: GPL-2.0-only
//! Changes to tar archives, compressed or not, that know where the fields of a header are.

use crate::compression::{self, Compression};
use crate::mutate;
use crate::random::Random;

const BLOCK: usize = 512;
/// Entries that are looked at: enough for variety, and quick.
const ENTRIES_MAX: usize = 256;

/// Numbers: where they are, and their length.
const NUMBERS: &[(usize, usize)] = &[
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (329, 8),
    (337, 8),
    // Files with holes as GNU has them: parts, whether there are more, and the size.
    (386, 12),
    (398, 12),
    (410, 12),
    (422, 12),
    (434, 12),
    (482, 1),
    (483, 12),
];
const SIZE: (usize, usize) = (124, 12);
/// Texts.
const TEXTS: &[(usize, usize)] = &[(0, 100), (157, 100), (265, 32), (297, 32), (345, 155)];
const SUM: usize = 148;
const TYPE: usize = 156;
const MAGIC: (usize, usize) = (257, 8);

const TYPES: &[u8] = b"\x0001234567xgLKSDVMNAX\xff";
const MAGICS: &[&[u8]] = &[
    b"ustar\x0000",
    b"ustar  \0",
    b"\0\0\0\0\0\0\0\0",
    b"ustar\0  ",
];
const NAMES: &[&[u8]] = &[
    b"",
    b".",
    b"..",
    b"/",
    b"a/../b",
    b"/usr",
    b"usr",
    b"usr/",
    b"run",
    b".wh.a",
    b".wh..wh..opq",
    b".wh.",
    b"a",
    b"a/b",
    b"./a//b",
    b"a\n",
];
const KEYS: &[&[u8]] = &[
    b"path",
    b"linkpath",
    b"size",
    b"mtime",
    b"uid",
    b"gid",
    b"uname",
    b"comment",
    b"SCHILY.xattr.security.capability",
    b"SCHILY.xattr.user.a",
    b"LIBARCHIVE.xattr.user.a",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.name",
    b"GNU.sparse.realsize",
    b"GNU.sparse.size",
    b"GNU.sparse.numblocks",
    b"GNU.sparse.offset",
    b"GNU.sparse.numbytes",
    b"GNU.sparse.map",
];
const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"0.5",
    b"512",
    b"64",
    b"65",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1.9999999999",
    b"0,1,2,3",
    b"0,0",
    b"..",
    b"a/b",
    b"usr/../..",
    b"x=y",
    b"\0",
];

/// Changes an archive, or what one is when it is compressed.
pub fn archive(bytes: &mut Vec<u8>, random: &mut Random) {
    if random.index(12) == 0 {
        return mutate::bytes(bytes, random);
    }
    let compression = compression::of(bytes);
    let Some(mut plain) = compression::decompress(compression, bytes) else {
        return mutate::bytes(bytes, random);
    };
    headers(&mut plain, random);
    let compression = match random.index(24) {
        0 => random.of(&[Compression::None, Compression::Gzip, Compression::Zstd]),
        _ => compression,
    };
    *bytes = compression::compress(compression, &plain);
}

/// Changes one to three things of an archive that is not compressed, and makes the sums right.
pub(super) fn headers(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.index(3) {
        let entries = entries(bytes);
        if entries.is_empty() {
            mutate::bytes(bytes, random);
            continue;
        }
        let (at, end) = random.of(&entries);
        match random.index(12) {
            0 => mutate::bytes(bytes, random),
            1 => order(bytes, random, &entries),
            2 => records(bytes, random, (at, end)),
            3 => bytes[at + TYPE] = random.of(TYPES),
            4 => put(bytes, at + MAGIC.0, MAGIC.1, random.of(MAGICS)),
            5 | 6 => text(bytes, random, at, &entries),
            _ => number(bytes, random, at),
        }
    }
    // Else nothing gets past the first check.
    if random.index(16) != 0 {
        let entries = entries(bytes);
        entries.iter().for_each(|&(at, _)| set_sum(bytes, at));
    }
}

/// Where entries begin and end, as their headers say; one that says nothing of use is its header.
fn entries(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + BLOCK) {
        let digits = &header[SIZE.0..SIZE.0 + SIZE.1];
        let digits = digits.iter().filter(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0_usize, |size, byte| {
            size.saturating_mul(8)
                .saturating_add(usize::from(byte - b'0'))
        });
        let end = (at + BLOCK).saturating_add(size).saturating_add(BLOCK - 1) / BLOCK * BLOCK;
        let end = if end <= bytes.len() { end } else { at + BLOCK };
        if header.iter().any(|&byte| byte != 0) {
            entries.push((at, end));
        }
        if entries.len() == ENTRIES_MAX {
            break;
        }
        at = end;
    }
    entries
}

/// The sum in the header at `at` is that of its bytes.
fn set_sum(bytes: &mut [u8], at: usize) {
    bytes[at + SUM..at + SUM + 8].fill(b' ');
    let sum: u32 = bytes[at..at + BLOCK]
        .iter()
        .map(|&byte| u32::from(byte))
        .sum();
    put(bytes, at + SUM, 8, format!("{sum:06o}\0 ").as_bytes());
}

/// Puts `data` into a field, which is filled up with zeros.
fn put(bytes: &mut [u8], at: usize, len: usize, data: &[u8]) {
    let data = &data[..data.len().min(len)];
    bytes[at..at + len].fill(0);
    bytes[at..at + data.len()].copy_from_slice(data);
}

fn number(bytes: &mut [u8], random: &mut Random, header: usize) {
    let (at, len) = random.of(NUMBERS);
    let at = header + at;
    let text: String = bytes[at..at + len]
        .iter()
        .map(|&byte| char::from(byte))
        .collect();
    let old = u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0);
    let near = random.index(8) as u64;
    let new = match random.index(6) {
        0 => old.wrapping_add(near),
        1 => old.wrapping_sub(near),
        2 => random.of(&[
            0,
            1,
            63,
            64,
            65,
            511,
            512,
            513,
            1 << 20,
            1 << 32,
            1 << 33,
            u64::MAX,
        ]),
        3 => random.index(bytes.len()) as u64,
        4 => old ^ 1 << random.index(33),
        _ => random.number() >> random.index(64),
    };
    let field = match random.index(8) {
        // As GNU writes what does not fit: in binary, perhaps with a sign.
        0 => {
            let mut field = vec![random.of(&[0, 0xff]); len];
            let count = len.min(8);
            field[len - count..].copy_from_slice(&new.to_be_bytes()[8 - count..]);
            field[0] = random.of(&[0x80, 0xff, 0x80 | field[0]]);
            field
        }
        1 => format!("{new:o}").into_bytes(),
        2 => format!(" {new:o} ").into_bytes(),
        3 => random.bytes(len),
        _ => format!("{new:0width$o}\0", width = len - 1).into_bytes(),
    };
    put(bytes, at, len, &field);
}

fn text(bytes: &mut [u8], random: &mut Random, header: usize, entries: &[(usize, usize)]) {
    let (at, len) = random.of(TEXTS);
    let (other, other_len) = random.of(TEXTS);
    let new = match random.index(4) {
        0 => {
            let len = random.index(len + 1);
            random.bytes(len)
        }
        1 => {
            let other = random.of(entries).0 + other;
            bytes[other..other + other_len].to_vec()
        }
        _ => random.of(NAMES).to_vec(),
    };
    put(bytes, header + at, len, &new);
}

/// Moves, repeats, takes away or cuts off entries.
fn order(bytes: &mut Vec<u8>, random: &mut Random, entries: &[(usize, usize)]) {
    let (from, end) = random.of(entries);
    let (to, _) = random.of(entries);
    let entry = bytes[from..end].to_vec();
    match random.index(5) {
        0 => drop(bytes.splice(to..to, entry)),
        1 => drop(bytes.drain(from..end)),
        2 => bytes.truncate(random.of(&[from, end, to + BLOCK, end - 1])),
        3 => drop(bytes.splice(to..to, vec![0; BLOCK])),
        _ => {
            bytes.drain(from..end);
            let to = to.min(bytes.len());
            bytes.splice(to..to, entry);
        }
    }
}

/// Changes the extensions that an entry holds, or puts some in front of it.
fn records(bytes: &mut Vec<u8>, random: &mut Random, (at, end): (usize, usize)) {
    let is_extension = matches!(bytes[at + TYPE], b'x' | b'g');
    let mut all = Vec::new();
    if is_extension {
        let data = &bytes[at + BLOCK..end];
        all.extend(data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
        all.retain(|record| record.contains(&b'='));
    }
    let key = random.of(KEYS);
    let mut value = random.of(VALUES).to_vec();
    if random.index(8) == 0 {
        let len = random.index(80);
        value = random.bytes(len);
    }
    let mut record = [b" ", key, b"=", &value].concat();
    // The length counts itself.
    let len = (record.len() + 2..).find(|len| len.to_string().len() + record.len() + 1 == *len);
    let len = match random.index(12) {
        0 => random.of(&[0, 1, 3, usize::MAX]),
        _ => len.unwrap_or_default(),
    };
    record.splice(0..0, len.to_string().into_bytes());
    let place = random.index(all.len() + 1);
    match random.index(3) {
        0 if place < all.len() => all[place] = record,
        1 if place < all.len() => drop(all.remove(place)),
        _ => all.insert(place, record),
    }
    let mut data = all.join(&b'\n');
    data.push(b'\n');
    let size = data.len();
    data.resize(size.next_multiple_of(BLOCK), 0);
    let mut header = bytes[at..at + BLOCK].to_vec();
    if !is_extension {
        header[TYPE] = random.of(b"xxxg");
    }
    put(
        &mut header,
        SIZE.0,
        SIZE.1,
        format!("{size:011o}\0").as_bytes(),
    );
    let place = if is_extension { at..end } else { at..at };
    bytes.splice(place, [header, data].concat());
}
