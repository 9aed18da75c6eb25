// SPDX-License-Identifier: GPL-2.0-only
//! What is refused, and how that is said.

use std::fs;
use std::process::Command;

use anyhow::{ensure, Result};
use composefs_selftests::command::{capture, expect_refusal};
use composefs_selftests::image::enable_verity;
use composefs_selftests::setup;

use crate::Context;

pub fn of_the_image(context: &mut Context) -> Result<()> {
    let digest = &context.image.digest;
    let zero = "0".repeat(64);
    let plain = context.work.join("plain");
    fs::copy(&context.image.file, &plain)?;
    let text = context.work.join("text");
    fs::write(&text, "no image ".repeat(1000))?;
    let empty = context.work.join("empty");
    fs::write(&empty, "")?;
    let corrupt = context.work.join("corrupt");
    // A file with fs-verity cannot be written to.
    let _ = fs::remove_file(&corrupt);
    let mut bytes = fs::read(&context.image.file)?;
    bytes[1024..1028].fill(0xff);
    fs::write(&corrupt, bytes)?;
    let corrupt_digest = enable_verity(&corrupt)?;
    for driver in context.ways {
        let with = |option: &str| format!("{option},composefs.driver={driver}");
        for (image, option, words) in [
            (
                &context.image.file,
                with(&format!("digest={zero}")),
                &["wrong digest", digest.as_str(), zero.as_str()][..],
            ),
            (
                &plain,
                with(&format!("digest={digest}")),
                &["has no fs-verity", digest.as_str()],
            ),
            (&text, with("ro"), &["not a composefs image"]),
            (&empty, with("ro"), &["not a composefs image"]),
            (
                &corrupt,
                with(&format!("digest={corrupt_digest}")),
                &["corrupt"],
            ),
            (
                &context.work.join("missing"),
                with("ro"),
                &["No such file", "missing"],
            ),
            (&context.work, with("ro"), &["directory"]),
        ] {
            context.refuses(image, &option, words)?;
        }
        let missing = context.work.join("no-store");
        let mut helper = Command::new(setup::mount_helper());
        let option = format!("basedir={},{}", missing.display(), with("ro"));
        helper
            .args(["-o", &option])
            .arg(&context.image.file)
            .arg(context.target());
        expect_refusal(&mut helper, &["no-store"])?;

        let nowhere = context.work.join("nowhere");
        let mut helper = Command::new(setup::mount_helper());
        let option = format!("basedir={},{}", context.image.store.display(), with("ro"));
        helper
            .args(["-o", &option])
            .arg(&context.image.file)
            .arg(&nowhere);
        expect_refusal(&mut helper, &["cannot mount at", "nowhere"])?;
    }
    Ok(())
}

/// Whatever is refused there is refused here, with the same exit status.
pub fn of_the_command_line(context: &mut Context) -> Result<()> {
    let image = context.image.file.to_string_lossy().into_owned();
    let target = context.target().to_string_lossy().into_owned();
    let store = context.image.store.to_string_lossy().into_owned();
    let basedir = format!("basedir={store}");
    for arguments in [
        vec![],
        vec![&*image],
        vec![&image, &target],
        vec!["-o", "ro", &image, &target],
        vec!["-t", "ext4", "-o", &basedir, &image, &target],
        vec!["-x", &image, &target],
        vec!["-o", "basedir", &image, &target],
        vec!["-o", &format!("{basedir},digest"), &image, &target],
        vec!["-o", &format!("{basedir},digest=zz"), &image, &target],
        vec!["-o", &format!("{basedir},what"), &image, &target],
        vec!["-o", &format!("{basedir},upperdir=/a"), &image, &target],
        vec!["-o", &format!("{basedir},workdir=/a"), &image, &target],
        vec!["-o", &format!("{basedir},idmap=/nowhere"), &image, &target],
    ] {
        let theirs = capture(Command::new(setup::C_MOUNT).args(&arguments))?;
        let ours = capture(Command::new(setup::mount_helper()).args(&arguments))?;
        let said = String::from_utf8_lossy(&ours.stderr);
        ensure!(
            ours.status == theirs.status && ours.status.code() == Some(1),
            "{arguments:?}: {}, composefs 1.0: {}: {said}",
            ours.status,
            theirs.status
        );
        ensure!(
            said.starts_with("mount.composefs: ") || arguments.is_empty(),
            "{arguments:?}: {said}"
        );
    }
    let help = capture(Command::new(setup::mount_helper()).arg("-h"))?;
    ensure!(help.status.success(), "-h: {}", help.status);
    Ok(())
}
