// SPDX-License-Identifier: GPL-2.0-only
//! Random dumps, valid and not.

use std::collections::BTreeSet;

use composefs_tools::dump::{append_hex, Escape};

use crate::rng::Rng;

const PLAIN: Escape = Escape {
    keep_space: false,
    equal: false,
    lone_dash: true,
};
const XATTR: Escape = Escape {
    equal: true,
    ..PLAIN
};

/// Who is to read a dump.
#[derive(Clone, Copy)]
enum Reader {
    C,
    /// It takes less, and finds objects by their digests, which have this size.
    Rs {
        digest_size: usize,
    },
}

struct Dump<'a> {
    rng: &'a mut Rng,
    reader: Reader,
    text: Vec<u8>,
    /// What may be linked to.
    paths: Vec<Vec<u8>>,
    /// Entries that may still be added.
    budget: usize,
}

/// A dump that the C tool accepts.
pub fn random(rng: &mut Rng) -> Vec<u8> {
    random_for(Reader::C, rng)
}

/// A dump that composefs-rs accepts, with digests of this size.
pub fn random_for_rs(digest_size: usize, rng: &mut Rng) -> Vec<u8> {
    random_for(Reader::Rs { digest_size }, rng)
}

fn random_for(reader: Reader, rng: &mut Rng) -> Vec<u8> {
    let budget = rng.pick(&[0, 3, 20, 20, 60, 400]);
    let mut dump = Dump {
        rng,
        reader,
        text: Vec::new(),
        paths: Vec::new(),
        budget,
    };
    dump.directory(b"");
    dump.text
}

impl Dump<'_> {
    fn directory(&mut self, path: &[u8]) {
        self.line(path, 0o040_000, 4096, 0, None, None, None);
        let count = match self.rng.below(10) {
            0 => 0,
            1 => self.budget,
            _ => self.rng.below(12),
        };
        let mut names = BTreeSet::new();
        for _ in 0..count.min(self.budget) {
            let name = self.name();
            names.insert(name);
        }
        self.budget -= names.len();
        let mut names: Vec<_> = names.into_iter().collect();
        if self.rng.one_in(4) {
            names.reverse();
        }
        for name in names {
            let path = [path, b"/", &name].concat();
            self.entry(&path);
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let rng = &mut *self.rng;
        let len = match rng.below(12) {
            0 => 255,
            1 => 1 + rng.below(255),
            _ => 1 + rng.below(12),
        };
        let mut name = match rng.below(6) {
            0 => format!("{:02x}", rng.below(256)).into_bytes(),
            1 => rng
                .pick(&["etc", "a", "d", "!", "-", ".a", "..a", "...", "0", " "])
                .into(),
            2 => rng.bytes(len),
            _ => (0..len)
                .map(|_| rng.pick(b"abcdefghijklmnopqrstuvwxyz0123456789_."))
                .collect(),
        };
        for byte in &mut name {
            if matches!(byte, 0 | b'/') {
                *byte = b'x';
            }
        }
        if name == b"." || name == b".." {
            name.push(b'x');
        }
        name
    }

    fn entry(&mut self, path: &[u8]) {
        match self.rng.below(20) {
            0..=4 => return self.directory(path),
            5..=8 => self.external(path),
            9..=11 => self.inline(path),
            12..=13 => {
                let lens: &[usize] = match self.reader {
                    Reader::C => &[1, 2, 31, 32, 60, 100, 2000, 4000, 4030, 4064, 4095],
                    Reader::Rs { .. } => &[1, 2, 31, 32, 60, 100, 1000, 1024],
                };
                let len = self.rng.pick(lens);
                let target: Vec<u8> = self.rng.bytes(len).iter().map(|b| b | 1).collect();
                self.line(path, 0o120_000, len as u64, 0, Some(&target), None, None);
            }
            14 => {
                let mode = self.rng.pick(&[0o020_000, 0o060_000]);
                let rdev = self.rng.pick(&[1, 0x501, 0xfff0_0fff, 0xffff_ffff]);
                let size = self.rng.pick(&[0, 0, 5]);
                self.line(path, mode, size, rdev, None, None, None);
            }
            // A whiteout can have one name only.
            15 => return self.line(path, 0o020_000, 0, 0, None, None, None),
            16 => {
                let mode = self.rng.pick(&[0o010_000, 0o140_000]);
                self.line(path, mode, 0, 0, None, None, None);
            }
            17..=18 if !self.paths.is_empty() => {
                let target = self.paths[self.rng.below(self.paths.len())].clone();
                self.hard_link(path, &target);
                return;
            }
            _ => self.line(path, 0o100_000, 0, 0, None, None, None),
        }
        self.paths.push(path.to_vec());
    }

    fn external(&mut self, path: &[u8]) {
        let reader = self.reader;
        let rng = &mut *self.rng;
        let size = match rng.below(12) {
            0 => 1,
            1 => 1 << rng.below(54),
            2 => (1 << rng.below(53)) + 1,
            3 => rng.next() >> (11 + rng.below(50)),
            4 => (1 << 53) - 2048_u64.wrapping_mul(rng.next()) % (1 << 50),
            _ => 65 + rng.next() % 100_000,
        };
        let digest_size = match reader {
            Reader::C => 32,
            Reader::Rs { digest_size } => digest_size,
        };
        let mut digest = vec![7; digest_size];
        if !rng.one_in(3) {
            digest = rng.bytes(digest_size);
        }
        let mut hex = Vec::new();
        append_hex(&mut hex, &digest);
        let object = [&hex[..2], b"/", &hex[2..]].concat();
        // The C tool reads beyond the end of payloads of some lengths when it lists an image.
        let payload = match (rng.below(5), reader) {
            (0, _) => None,
            (1, Reader::C) => Some(vec![b'p'; 4 * (1 + rng.below(200))]),
            _ => Some(object),
        };
        let may_have_digest = matches!(reader, Reader::C) || payload.is_some();
        let digest = (may_have_digest && !rng.one_in(5)).then_some(hex);
        self.line(
            path,
            0o100_000,
            size.max(1),
            0,
            payload.as_deref(),
            None,
            digest.as_deref(),
        );
    }

    fn inline(&mut self, path: &[u8]) {
        let lens: &[usize] = match self.reader {
            Reader::C => &[
                0, 1, 1, 10, 64, 65, 2047, 2048, 2049, 4095, 4096, 4097, 4999, 5000,
            ],
            Reader::Rs { .. } => &[0, 1, 1, 10, 64, 65, 500, 512],
        };
        let len = self.rng.pick(lens);
        let content = self.rng.bytes(len);
        self.line(path, 0o100_000, len as u64, 0, None, Some(&content), None);
    }

    #[allow(clippy::too_many_arguments)] // These are the fields of a line.
    fn line(
        &mut self,
        path: &[u8],
        file_type: u32,
        size: u64,
        rdev: u64,
        payload: Option<&[u8]>,
        content: Option<&[u8]>,
        digest: Option<&[u8]>,
    ) {
        let is_rs = matches!(self.reader, Reader::Rs { .. });
        let rng = &mut *self.rng;
        let mode = file_type | rng.pick(&[0o755, 0o644, 0, 0o7777]);
        let nlink = match (file_type, rdev) {
            (0o020_000, 0) => 1,
            _ => rng.pick(&[1, 1, 1, 2, 65535, 65536]),
        };
        let uid = rng.pick(&[0, 0, 1000, 65535, 65536, 4_294_967_295_u32]);
        let gid = rng.pick(&[0, 0, 1000, 65535, 65536, 4_294_967_295_u32]);
        let sec = rng.pick(&[0, 0, 0, 1_700_000_000, -1, -5_000_000_000, 1_i64 << 40]);
        let nsec = rng.pick(&[0, 0, 0, 0, 1, 999_999_999, 1_000_000_000, u32::MAX]);
        let (sec, nsec) = match is_rs {
            true => (sec.max(0), nsec % 1_000_000_000),
            false => (sec, nsec),
        };
        let out = &mut self.text;
        PLAIN.append(out, if path.is_empty() { b"/" } else { path });
        out.extend_from_slice(
            format!(" {size} {mode:o} {nlink} {uid} {gid} {rdev} {sec}.{nsec}").as_bytes(),
        );
        for field in [payload, content, digest] {
            out.push(b' ');
            match field {
                Some(field) => PLAIN.append(out, field),
                None => out.push(b'-'),
            }
        }
        self.xattrs();
        self.text.push(b'\n');
    }

    fn xattrs(&mut self) {
        let is_rs = matches!(self.reader, Reader::Rs { .. });
        let mut keys = BTreeSet::new();
        let rng = &mut *self.rng;
        let count = match rng.below(40) {
            0 => 140,
            1..=20 => rng.below(5),
            _ => 0,
        };
        for _ in 0..count {
            let prefix = rng.pick(&[
                "user.",
                "user.",
                "trusted.",
                "security.",
                "lustre.",
                "",
                "trusted.overlay.",
                "trusted.overlay.overlay.",
                "user.overlay.",
                "system.posix_acl_access",
                "system.posix_acl_default",
            ]);
            let mut key = prefix.as_bytes().to_vec();
            match rng.below(5) {
                // More than an inode may refer to; there is room for short ones only.
                _ if count > 100 => {
                    key.extend_from_slice(format!("k{}", rng.below(200)).as_bytes())
                }
                0 if prefix.starts_with("system") => {}
                0 => {
                    let len = 1 + rng.below(255 - prefix.len());
                    key.extend(rng.bytes(len).iter().map(|b| b | 1));
                }
                1 => key.extend_from_slice(
                    rng.pick(&["opaque", "whiteout", "whiteouts", "redirect", "selinux"])
                        .as_bytes(),
                ),
                _ => key.extend_from_slice(format!("k{}", rng.below(200)).as_bytes()),
            }
            let len = rng.pick(&[0, 0, 1, 3, 4, 20, 100]);
            let value = match rng.below(60) {
                _ if count > 100 => format!("value {}", rng.below(3)).into_bytes(),
                0 => rng.bytes(4000),
                1..=20 => rng.bytes(len),
                _ => format!("value {}", rng.below(3)).into_bytes(),
            };
            // The C tool does not list one that takes no more than its header.
            if value.is_empty() && key.starts_with(b"system.") {
                continue;
            }
            // These are set by the tool itself, and some replacements are refused by it.
            if key.starts_with(b"user.overlay.") || key.starts_with(b"trusted.overlay.") {
                let last = key.rsplit(|&b| b == b'.').next().unwrap_or_default();
                if matches!(last, b"opaque" | b"whiteout" | b"whiteouts") {
                    continue;
                }
            }
            // Which of several of the same name counts is another thing with each.
            if is_rs && !keys.insert(key.clone()) {
                continue;
            }
            self.text.push(b' ');
            XATTR.append(&mut self.text, &key);
            self.text.push(b'=');
            XATTR.append(&mut self.text, &value);
        }
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8]) {
        PLAIN.append(&mut self.text, path);
        self.text.extend_from_slice(b" 0 @100644 1 0 0 0 0.0 ");
        PLAIN.append(&mut self.text, target);
        self.text.extend_from_slice(b" - -\n");
    }
}

/// Damages a dump in a few places.
pub fn mutate(rng: &mut Rng, mut dump: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + rng.below(3) {
        if dump.is_empty() {
            break;
        }
        let at = rng.below(dump.len());
        let line_start = dump[..at]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |n| n + 1);
        let line_end = dump[at..]
            .iter()
            .position(|&b| b == b'\n')
            .map_or(dump.len(), |n| at + n + 1);
        match rng.below(8) {
            0 => {
                dump.remove(at);
            }
            1 => dump.truncate(at),
            2 => {
                dump.drain(line_start..line_end);
            }
            3 => {
                let line = dump[line_start..line_end].to_vec();
                dump.splice(line_start..line_start, line);
            }
            4 => dump.insert(at, rng.pick(b" \n\\@-.=/x019aF\0\t")),
            5 => {
                // A field of the line becomes something else.
                let fields = [
                    "-",
                    "",
                    "0",
                    "-1",
                    "+5",
                    "\t7",
                    "99999999999999999999",
                    "1x",
                    "1.",
                    ".1",
                    "1.2.3",
                    "40755",
                    "@100644",
                    "100644",
                    "0",
                    "\\x00",
                    "\\x2f",
                    "\\",
                    "/",
                    "a=b",
                    "=b",
                    "=",
                ];
                let line = dump[line_start..line_end].to_vec();
                let mut parts: Vec<Vec<u8>> =
                    line.split(|&b| b == b' ').map(<[u8]>::to_vec).collect();
                let part = rng.below(parts.len());
                parts[part] = rng.pick(&fields).into();
                dump.splice(line_start..line_end, parts.join(&b' '));
            }
            _ => dump[at] = rng.pick(b" \n\\@-.=/x019aF\0\t"),
        }
    }
    dump
}
