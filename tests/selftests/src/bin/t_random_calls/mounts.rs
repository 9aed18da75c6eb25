// SPDX-License-Identifier: GPL-2.0-only
//! Mounts that come and go, with options at random.

use std::path::Path;

use anyhow::{Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::image::Image;
use rustix::fs::CWD;
use rustix::mount::{open_tree, unmount, OpenTreeFlags, UnmountFlags};

use crate::choices;

/// Says what an image is to be mounted with, in any order and several times, and tries it.
pub fn make(random: &mut Random, image: &Image, target: &Path) -> Result<bool> {
    let (file, store) = (image.file.display(), image.store.display());
    let (file, store) = (file.to_string(), store.to_string());
    let context = FsContext::open("composefs").context("fsopen")?;
    if random.below(3) != 0 {
        let _ = context.set_string("source", &file);
        let _ = context.set_string("basedir", &store);
    }
    for _ in 0..random.below(6) {
        // What is refused may be followed by what is not.
        let _ = match choices::option(random, &file, &store) {
            (key, Some(value)) => context.set_string(key, &value),
            (key, None) => context.set_flag(key),
        };
    }
    if random.below(8) == 0 {
        let descriptor = std::fs::File::open(if random.below(2) == 0 { &file } else { &store })?;
        let _ = context.set_fd(
            random.of(&["source", "basedir", "signature", "ro"]),
            descriptor,
        );
    }
    let made = context.create();
    if random.below(4) == 0 {
        let _ = context.create();
    }
    let is_made = made.is_ok();
    if is_made && context.attach(target).is_ok() {
        leave(random, target);
    }
    Ok(is_made)
}

/// Changes what can be changed of a mount.
pub fn change(random: &mut Random, image: &Image, root: &Path) -> bool {
    let Ok(context) = FsContext::pick(root) else {
        return false;
    };
    let (file, store) = (image.file.display(), image.store.display());
    let changed = match choices::option(random, &file.to_string(), &store.to_string()) {
        (key, Some(value)) => context.set_string(key, &value),
        (key, None) => context.set_flag(key),
    };
    changed.is_ok() && context.reconfigure().is_ok()
}

/// A copy of a mount that is nowhere, and goes.
pub fn copy(random: &mut Random, root: &Path) -> bool {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let flags = match random.below(2) {
        0 => flags,
        _ => flags | OpenTreeFlags::AT_RECURSIVE,
    };
    open_tree(CWD, root, flags).is_ok()
}

/// Unmounts what was mounted, one way or another; nobody else is there.
pub fn leave(random: &mut Random, target: &Path) {
    let _ = std::fs::read_dir(target).map(Iterator::count);
    let gentle = random.of(&[
        UnmountFlags::empty(),
        UnmountFlags::DETACH,
        UnmountFlags::FORCE,
    ]);
    if unmount(target, gentle).is_err() {
        let _ = unmount(target, UnmountFlags::DETACH);
    }
}

/// A context of which nothing becomes a mount.
pub fn abandon(image: &Image, target: &Path) -> Result<bool> {
    let context = FsContext::open("composefs").context("fsopen")?;
    let _ = context.set_string("source", &image.file.display().to_string());
    let _ = context.set_string("basedir", &image.store.display().to_string());
    Ok(context.attach(target).is_ok() || context.create().is_ok())
}
