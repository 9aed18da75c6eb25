// SPDX-License-Identifier: GPL-2.0-only
//! An image of this machine's own root filesystem, made once and shared by the programs that want
//! a real and large one.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::command::run;
use crate::image::{build, Image};
use crate::setup;

/// The source directory (the root filesystem without what is mounted on it, read-only) and the
/// image with its store.
pub fn get() -> Result<(PathBuf, Image)> {
    let source = setup::scratch().join("root-source");
    let directory = setup::scratch().join("root-image");
    if !source.join("etc").exists() {
        setup::create_dir(&source)?;
        // Not recursive: leaves out /proc, /scratch and all other mounts.
        let target = source.to_string_lossy();
        run("mount", ["-o", "bind,ro", "/", &target])?;
    }
    // Written last, so that an interrupted build is not taken for a complete one.
    let digest_file = directory.join("digest");
    if let Ok(digest) = fs::read_to_string(&digest_file) {
        let image = Image {
            file: directory.join("image"),
            store: directory.join("store"),
            digest,
        };
        return Ok((source, image));
    }
    setup::work_directory("root-image")?;
    let image = build(&setup::mkcomposefs(), &source, &directory, &[])?;
    fs::write(&digest_file, &image.digest)?;
    Ok((source, image))
}
