// SPDX-License-Identifier: GPL-2.0-only
//! Random directories.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, XattrFlags, CWD};

use crate::rng::Rng;

/// Makes a directory with things in it.
pub fn random(rng: &mut Rng, path: &Path) {
    directory(rng, path, 3, &mut Vec::new());
}

/// `files` is what can be given further names.
fn directory(rng: &mut Rng, path: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    fs::create_dir(path).expect("create directory");
    let count = match rng.below(12) {
        0 => 0,
        1 if depth < 3 => 150,
        _ => rng.below(12),
    };
    for _ in 0..count {
        let child = path.join(OsStr::from_bytes(&name(rng)));
        if child.symlink_metadata().is_ok() {
            continue;
        }
        if rng.one_in(8) && !files.is_empty() {
            let file = &files[rng.below(files.len())];
            fs::hard_link(file, &child).expect("make a hard link");
            continue;
        }
        entry(rng, &child, depth, files);
        attributes(rng, &child);
        // A link to a whiteout would be refused, and with it the whole tree.
        let is_whiteout =
            |file: &fs::Metadata| file.file_type().is_char_device() && file.rdev() == 0;
        let made = child.symlink_metadata().ok();
        if made.is_some_and(|file| !file.is_dir() && !is_whiteout(&file)) {
            files.push(child);
        }
    }
    attributes(rng, path);
}

fn name(rng: &mut Rng) -> Vec<u8> {
    let bound = rng.pick(&[255, 16, 16, 16, 16, 16, 16, 16]);
    let len = 1 + rng.below(bound);
    let mut name = match rng.below(4) {
        0 => rng.bytes(len),
        1 => rng
            .pick(&["etc", "a", "d", "00", "ff", "!", "...", " "])
            .into(),
        _ => (0..len)
            .map(|_| rng.pick(b"abcdefghij0123456789_-."))
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

fn entry(rng: &mut Rng, path: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    match rng.below(16) {
        0..=2 if depth > 0 => directory(rng, path, depth - 1, files),
        3 => {
            let bound = rng.pick(&[4095, 60, 60, 60]);
            let len = 1 + rng.below(bound);
            symlink("t".repeat(len), path).expect("make a symlink");
        }
        4 => node(path, FileType::Fifo, 0),
        5 => node(path, FileType::Socket, 0),
        6 => node(
            path,
            FileType::CharacterDevice,
            rng.pick(&[0x501, 0xf_ff00]),
        ),
        7 => node(path, FileType::BlockDevice, 0x801),
        8 => node(path, FileType::CharacterDevice, 0),
        9 => {
            let sparse = File::create(path).expect("make a file");
            sparse
                .set_len(1 + rng.next() % (2 << 20))
                .expect("make a file sparse");
            sparse
                .write_all_at(b"x", rng.next() % (1 << 20))
                .expect("write");
        }
        10 => fs::write(path, "the same everywhere".repeat(10)).expect("write"),
        _ => {
            let len = rng.pick(&[0, 1, 63, 64, 65, 4095, 4096, 4097, 100_000, 600_000]);
            let len = if rng.one_in(2) { len } else { rng.below(3000) };
            fs::write(path, rng.bytes(len)).expect("write");
        }
    }
}

/// Makes a special file. Devices take privileges; without those, there are none.
fn node(path: &Path, file_type: FileType, device: u64) {
    let _ = rustix::fs::mknodat(CWD, path, file_type, Mode::from_raw_mode(0o640), device);
}

fn attributes(rng: &mut Rng, path: &Path) {
    let Ok(metadata) = path.symlink_metadata() else {
        return;
    };
    if rng.one_in(3) {
        let ids = [0, 1000, 70_000];
        let (uid, gid) = (rng.pick(&ids), rng.pick(&ids));
        let _ = std::os::unix::fs::lchown(path, Some(uid), Some(gid));
    }
    for _ in 0..rng.below(3) {
        xattr(rng, path);
    }
    if !metadata.is_symlink() {
        let bits = rng.pick(&[0o755, 0o700, 0o4755, 0o1777]);
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).expect("chmod");
    }
    let time = Timespec {
        tv_sec: rng.pick(&[0, 0, 1_700_000_000, -1000]),
        tv_nsec: rng.pick(&[0, 0, 1, 999_999_999]),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set times");
}

fn xattr(rng: &mut Rng, path: &Path) {
    // An access control list: version 2, and an entry each for owner, group and others, with one
    // more user and the mask that this takes.
    let acl = [
        (1, u32::MAX),
        (2, 1000),
        (4, u32::MAX),
        (0x10, u32::MAX),
        (0x20, u32::MAX),
    ];
    let acl: Vec<u8> = [2, 0, 0, 0]
        .into_iter()
        .chain(acl.iter().flat_map(|&(tag, id): &(u8, u32)| {
            let mut entry = vec![tag, 0, 7, 0];
            entry.extend_from_slice(&id.to_le_bytes());
            entry
        }))
        .collect();
    let label = b"system_u:object_r:usr_t:s0\0".to_vec();
    let len = rng.below(200);
    let (name, value) = match rng.below(8) {
        0 => ("system.posix_acl_access", acl),
        1 => ("system.posix_acl_default", acl),
        2 => ("security.selinux", label),
        3 => ("trusted.overlay.opaque", b"y".to_vec()),
        4 => ("trusted.overlay.something", rng.bytes(len)),
        5 => ("trusted.thing", rng.bytes(len)),
        6 => ("user.a", b"shared".to_vec()),
        _ => ("user.b", rng.bytes(len)),
    };
    // Not every file can have every attribute, and some take privileges.
    let _ = rustix::fs::lsetxattr(path, name, &value, XattrFlags::empty());
}
