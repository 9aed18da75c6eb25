// SPDX-License-Identifier: GPL-2.0-only
//! Arguments: mostly such that mean something, and now and then any.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use composefs_fuzz::random::Random;

/// Lengths and positions at which something changes.
const EDGES: &[u64] = &[
    0,
    1,
    63,
    64,
    4095,
    4096,
    4097,
    65535,
    65536,
    65537,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 44,
    i64::MAX as u64 - 1,
    i64::MAX as u64,
    u64::MAX,
];

/// The longest buffer.
const BUFFER_MAX: u64 = 200_000;

/// A position in a file.
pub fn position(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.of(EDGES),
        1 => random.below(1 << 22),
        2 => random.below(5000),
        _ => 0,
    }
}

/// The length of a buffer.
pub fn length(random: &mut Random) -> usize {
    let length = match random.below(3) {
        0 => random.of(EDGES).min(BUFFER_MAX),
        1 => random.below(300),
        _ => random.below(BUFFER_MAX),
    };
    length as usize
}

/// Some of these bits.
pub fn bits(random: &mut Random, all: &[u32]) -> u32 {
    let mut bits = 0;
    for _ in 0..random.below(4) {
        bits |= random.of(all);
    }
    bits
}

/// A path below one of the roots; one that is there, or something like it.
pub fn path(random: &mut Random, roots: &[&Path], names: &[&[u8]]) -> PathBuf {
    let root = random.of(roots);
    loop {
        let mut name = random.of(names).to_vec();
        match random.below(12) {
            0 => name.extend(random.of(&[&b"/"[..], b"/.", b"/..", b"//", b"/x", b"\xff", b"\n"])),
            1 => name.truncate(random.index(name.len() + 1)),
            2 => {
                let length = random.of(&[1, 254, 255, 256, 4000, 5000]);
                name.extend(vec![b'n'; length]);
            }
            3 => {
                let any = random.bytes(9);
                name = any.into_iter().filter(|byte| *byte != 0).collect();
            }
            4 => name.clear(),
            _ => {}
        }
        while name.first() == Some(&b'/') {
            name.remove(0);
        }
        let name = Path::new(OsStr::from_bytes(&name));
        if stays_below(name) {
            return root.join(name);
        }
    }
}

/// Whether a relative path leads to nothing above where it starts: there, a call may well change
/// something.
fn stays_below(name: &Path) -> bool {
    let mut depth = 0_usize;
    name.components().all(|component| match component {
        Component::ParentDir => match depth.checked_sub(1) {
            Some(less) => {
                depth = less;
                true
            }
            None => false,
        },
        Component::Normal(_) => {
            depth += 1;
            true
        }
        _ => true,
    })
}

/// The name of an attribute.
pub fn attribute(random: &mut Random) -> String {
    const NAMES: &[&str] = &[
        "user.one",
        "user.",
        "user",
        "trusted.overlay.metacopy",
        "trusted.overlay.redirect",
        "trusted.overlay.opaque",
        "trusted.",
        "security.selinux",
        "security.capability",
        "security.ima",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "system.",
        "",
        ".",
    ];
    let mut name = random.of(NAMES).to_owned();
    match random.below(6) {
        0 => name.push_str(&"a".repeat(random.of(&[1, 240, 255, 256]))),
        1 => name = name.to_uppercase(),
        _ => {}
    }
    name
}

/// A mount option, and its value if it is to have one.
pub fn option(random: &mut Random, image: &str, store: &str) -> (&'static str, Option<String>) {
    const KEYS: &[&str] = &[
        "source",
        "basedir",
        "basedir+",
        "digest",
        "signature",
        "verity",
        "noverity",
        "verity_check",
        "ro",
        "rw",
        "noatime",
        "nosuid",
        "acl",
        "noacl",
        "fetch",
        "",
        "context",
    ];
    const VALUES: &[&str] = &[
        "",
        "/",
        ":",
        "::",
        "\\:",
        "off",
        "on",
        "require",
        "0",
        "1",
        "2",
        "3",
        "-1",
        "sha256:",
        "sha512:00",
        "none",
        "/proc/self/mem",
        "/dev/null",
        "/nowhere",
    ];
    let value = match random.below(8) {
        0 | 1 => image.to_owned(),
        2 | 3 => store.to_owned(),
        4 => format!("{store}:{}", random.of(VALUES)),
        5 => "a".repeat(random.of(&[1, 63, 64, 65, 128, 129, 255])),
        _ => random.of(VALUES).to_owned(),
    };
    (random.of(KEYS), (random.below(5) != 0).then_some(value))
}
