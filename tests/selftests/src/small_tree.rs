// SPDX-License-Identifier: GPL-2.0-only
//! A tree for images that are to be damaged.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use composefs_fuzz::random::Random;
use rustix::fs::{lsetxattr, makedev, mknodat, FileType, Mode, XattrFlags, CWD};

use crate::setup;

/// Something of everything that an image can hold, and little of it: an image of few blocks is
/// damaged more by one change.
pub fn create(root: &Path) -> Result<()> {
    let mut random = Random::new(60);
    setup::create_dir(&root.join("directory/within/it"))?;
    setup::create_dir(&root.join("empty"))?;
    for number in 0..6 {
        let file = root.join(format!("directory/inline-{number}"));
        fs::write(&file, random.bytes(number * 12))?;
        let set = |name: &str, value: &[u8]| lsetxattr(&file, name, value, XattrFlags::empty());
        set("user.shared", b"by several")?;
        set("user.own", format!("{number}").as_bytes())?;
        set("trusted.overlay.opaque", b"y")?;
        if number == 5 {
            set("user.large", &random.bytes(3000))?;
            set("security.selinux", b"system_u:object_r:etc_t:s0\0")?;
        }
    }
    for number in 0..4 {
        fs::write(
            root.join(format!("external-{number}")),
            random.bytes(5000 + number),
        )?;
    }
    let acl: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
        \x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    for (name, attribute) in [
        ("external-1", "system.posix_acl_access"),
        ("empty", "system.posix_acl_default"),
    ] {
        lsetxattr(root.join(name), attribute, acl, XattrFlags::empty())?;
    }
    for length in [1, 60, 700] {
        let target: String = "../t".chars().cycle().take(length).collect();
        symlink(target, root.join(format!("directory/link-{length}")))?;
    }
    // More than one block of entries.
    let many = root.join("many");
    setup::create_dir(&many)?;
    for number in 0..60 {
        let name = format!("{number}-{}", "name".repeat(15));
        symlink("same", many.join(name))?;
    }
    mknodat(
        CWD,
        root.join("directory/fifo"),
        FileType::Fifo,
        Mode::RUSR,
        0,
    )?;
    let device = makedev(1, 3);
    let mode = Mode::RUSR;
    mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        mode,
        device,
    )?;
    fs::hard_link(root.join("external-0"), root.join("directory/hard-link"))?;
    Ok(())
}
