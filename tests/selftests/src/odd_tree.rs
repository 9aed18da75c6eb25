// SPDX-License-Identifier: GPL-2.0-only
//! A tree with one of everything that an ordinary root filesystem has little of.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, FileExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{
    chmodat, chownat, linkat, lsetxattr, mknodat, utimensat, AtFlags, FileType, Gid, Mode,
    Timespec, Timestamps, Uid, XattrFlags, CWD,
};

use crate::setup::create_dir;
use composefs_fuzz::random::Random;

/// The content of a file in `hard-links`.
pub const HARD_LINKED: [u8; 6000] = [b'h'; 6000];

/// Entries of the largest directory, enough for several blocks of directory entries.
pub const MANY: usize = 1500;

/// Writes the tree. Needs root and a filesystem that keeps devices, xattrs and nanoseconds.
pub fn create(root: &Path) -> Result<()> {
    create_dir(root)?;
    names(root).context("names")?;
    contents(&root.join("contents")).context("contents")?;
    symlinks(&root.join("symlinks")).context("symlinks")?;
    special_files(&root.join("special")).context("special files")?;
    hard_links(&root.join("hard-links")).context("hard links")?;
    owners_and_modes(&root.join("owners")).context("owners")?;
    extended_attributes(&root.join("xattrs")).context("xattrs")?;
    directories(&root.join("directories")).context("directories")?;
    times(root).context("times")
}

fn names(root: &Path) -> Result<()> {
    // Names of the stubs that hide a store in the root of an image: here they are real.
    fs::write(root.join("5f"), "not a stub")?;
    create_dir(&root.join("ab/cd"))?;

    let names = root.join("names");
    create_dir(&names)?;
    for byte in (1..=255).filter(|byte| *byte != b'/') {
        fs::write(names.join(bytes(&[b'n', byte])), [byte])?;
        if byte != b'.' {
            fs::write(names.join(bytes(&[byte])), [byte])?;
        }
    }
    for name in ["...", "..a", "a.", "a-b", "a b", "\u{fc}ber", "\\x41"] {
        fs::write(names.join(name), name)?;
    }
    fs::write(names.join("x".repeat(255)), "long")?;
    create_dir(&names.join("y".repeat(255)).join("z".repeat(254)))
}

fn contents(directory: &Path) -> Result<()> {
    create_dir(directory)?;
    let mut random = Random::new(1);
    for size in [0, 1, 63, 64, 65, 4095, 4096, 4097, 8192, 100_000, 1 << 20] {
        fs::write(directory.join(format!("size-{size}")), random.bytes(size))?;
    }
    fs::write(directory.join("same-as-another"), vec![7; 5000])?;
    fs::write(directory.join("same-as-one"), vec![7; 5000])?;
    // Holes: around a little data, and nothing else.
    let sparse = File::create(directory.join("sparse"))?;
    sparse.set_len(3 << 20)?;
    sparse.write_all_at(b"island", 1_234_567)?;
    File::create(directory.join("hole"))?.set_len(70_000)?;
    Ok(())
}

fn symlinks(directory: &Path) -> Result<()> {
    create_dir(directory)?;
    for length in [
        1, 2, 59, 60, 61, 255, 256, 1023, 2000, 3900, 4000, 4063, 4064, 4094, 4095,
    ] {
        let target: String = "../t".chars().cycle().take(length).collect();
        symlink(target, directory.join(format!("length-{length}")))?;
    }
    symlink("size-4096", directory.join("dangling"))?;
    symlink("../contents/size-4097", directory.join("to-file"))?;
    symlink("..", directory.join("to-directory"))?;
    symlink("loop", directory.join("loop"))?;
    symlink(bytes(b"\xff\xfe\x01 odd"), directory.join("odd-target"))?;
    Ok(())
}

fn special_files(directory: &Path) -> Result<()> {
    create_dir(directory)?;
    drop(UnixListener::bind(directory.join("socket"))?);
    make_node(directory, "fifo", FileType::Fifo, 0, 0)?;
    make_node(directory, "null", FileType::CharacterDevice, 1, 3)?;
    make_node(directory, "zero", FileType::CharacterDevice, 1, 5)?;
    make_node(directory, "char-0-1", FileType::CharacterDevice, 0, 1)?;
    make_node(directory, "loop7", FileType::BlockDevice, 7, 7)?;
    make_node(directory, "block-0-0", FileType::BlockDevice, 0, 0)?;
    // The largest numbers, and ones where the old 16-bit encoding does not reach.
    make_node(directory, "largest", FileType::BlockDevice, 4095, 1_048_575)?;
    make_node(directory, "minor-256", FileType::CharacterDevice, 5, 256)?;
    make_node(directory, "major-256", FileType::CharacterDevice, 256, 0)
}

fn make_node(directory: &Path, name: &str, kind: FileType, major: u32, minor: u32) -> Result<()> {
    let device = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, directory.join(name), kind, mode, device).context(name.to_owned())
}

fn hard_links(directory: &Path) -> Result<()> {
    create_dir(&directory.join("elsewhere"))?;
    let link = |old: &str, new: &str| {
        linkat(
            CWD,
            directory.join(old),
            CWD,
            directory.join(new),
            AtFlags::empty(),
        )
    };
    fs::write(directory.join("large"), HARD_LINKED)?;
    link("large", "large-2")?;
    link("large", "elsewhere/large-3")?;
    fs::write(directory.join("small"), "inline")?;
    link("small", "elsewhere/small-2")?;
    symlink("large", directory.join("symlink"))?;
    link("symlink", "elsewhere/symlink-2")?;
    make_node(directory, "fifo", FileType::Fifo, 0, 0)?;
    link("fifo", "fifo-2")?;
    make_node(directory, "null", FileType::CharacterDevice, 1, 3)?;
    link("null", "elsewhere/null-2")?;
    Ok(())
}

fn owners_and_modes(directory: &Path) -> Result<()> {
    create_dir(directory)?;
    let owners = [0, 1, 1000, 65534, 65535, 65536, 70_000, 4_294_967_294];
    for (index, id) in owners.into_iter().enumerate() {
        let path = directory.join(format!("owner-{id}"));
        fs::write(&path, vec![0; index * 40])?;
        chown(&path, id, owners[owners.len() - 1 - index])?;
    }
    let link = directory.join("link");
    symlink("owner-0", &link)?;
    chown(&link, 70_001, 70_002)?;
    for mode in [
        0o000, 0o400, 0o644, 0o755, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777,
    ] {
        let path = directory.join(format!("mode-{mode:04o}"));
        fs::write(&path, format!("{mode}"))?;
        chmodat(CWD, &path, Mode::from_raw_mode(mode), AtFlags::empty())?;
        let path = directory.join(format!("directory-{mode:04o}"));
        create_dir(&path)?;
        chmodat(CWD, &path, Mode::from_raw_mode(mode), AtFlags::empty())?;
    }
    Ok(())
}

fn chown(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(CWD, path, Some(uid), Some(gid), flags).with_context(|| path.display().to_string())
}

/// cap_net_raw=ep, as version 2 of `struct vfs_cap_data`.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn extended_attributes(directory: &Path) -> Result<()> {
    create_dir(directory)?;
    let set = |path: &Path, name: &str, value: &[u8]| {
        lsetxattr(path, name, value, XattrFlags::empty())
            .with_context(|| format!("{name} of {}", path.display()))
    };
    let file = |name: &str, content: &[u8]| -> Result<PathBuf> {
        let path = directory.join(name);
        fs::write(&path, content)?;
        Ok(path)
    };

    let path = file("plain", b"in the image")?;
    set(&path, "user.name", b"value")?;
    set(&path, "user.empty", b"")?;
    set(&path, "user.binary", &[0, 255, 0, 1, b'\n'])?;
    set(&path, "trusted.secret", b"for root")?;
    set(&path, "security.selinux", b"system_u:object_r:etc_t:s0\0")?;
    let path = file("capable", &[b'c'; 300])?;
    set(&path, "security.capability", &CAPABILITY)?;
    // The same on many files: stored once, and shared.
    for number in 0..20 {
        let path = file(&format!("shared-{number}"), &[number; 90])?;
        set(&path, "user.shared", b"the same value on every file")?;
        set(&path, "user.own", format!("{number}").as_bytes())?;
    }
    let path = file("many", b"m")?;
    for number in 0..40 {
        set(&path, &format!("user.number-{number}"), &[number; 7])?;
    }
    let path = file("large-value", b"l")?;
    set(&path, "user.large", &Random::new(2).bytes(2500))?;
    let path = file("long-name", b"l")?;
    set(&path, &format!("user.{}", "n".repeat(250)), b"long")?;

    let path = directory.join("directory");
    create_dir(&path)?;
    set(&path, "user.directory", b"yes")?;
    set(&path, "trusted.directory", b"yes")?;
    let path = directory.join("symlink");
    symlink("plain", &path)?;
    set(&path, "trusted.symlink", b"of the link itself")?;
    make_node(directory, "fifo", FileType::Fifo, 0, 0)?;
    set(&directory.join("fifo"), "trusted.fifo", b"yes")?;
    set(directory, "user.parent", b"yes")
}

fn directories(directory: &Path) -> Result<()> {
    create_dir(&directory.join("empty"))?;
    create_dir(&directory.join("only-a-directory/here"))?;
    let mut deep = directory.join("deep");
    for level in 0..50 {
        deep.push(format!("level-{level}"));
    }
    create_dir(&deep)?;
    fs::write(deep.join("bottom"), "bottom")?;
    let many = directory.join("many");
    create_dir(&many)?;
    let mut random = Random::new(3);
    for number in 0..MANY {
        // Names of all lengths, so that entries end everywhere in a block.
        let tail = "-".repeat(random.below(60) as usize);
        fs::write(
            many.join(format!("{:x}{tail}{number}", random.number())),
            "",
        )?;
    }
    Ok(())
}

/// Gives everything a time of its own, last, because making entries changes their directory.
fn times(root: &Path) -> Result<()> {
    const SECONDS: [i64; 9] = [
        0,
        1,
        -1,
        -2_147_483_648,
        2_147_483_647,
        2_147_483_648,
        4_294_967_296,
        1_700_000_000,
        15_032_385_535,
    ];
    const NANOSECONDS: [i64; 5] = [0, 1, 999_999_999, 500_000_000, 123_456_789];
    for (index, path) in bottom_up(root)?.into_iter().enumerate() {
        let time = Timespec {
            tv_sec: SECONDS[index % SECONDS.len()],
            tv_nsec: NANOSECONDS[index % NANOSECONDS.len()],
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Every path of the tree, what is in a directory before the directory.
fn bottom_up(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        if fs::symlink_metadata(&path)?.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)?
                .map(|item| item.map(|item| item.path()))
                .collect::<Result<_, _>>()?;
            names.sort();
            paths.append(&mut names);
        }
    }
    paths.reverse();
    Ok(paths)
}

fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
