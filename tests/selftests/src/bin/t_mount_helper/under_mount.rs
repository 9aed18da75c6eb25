// SPDX-License-Identifier: GPL-2.0-only
//! The helper where mount(8) looks for it.

use std::fs;
use std::process::Command;

use anyhow::{ensure, Result};
use composefs_selftests::command::{expect_refusal, output, run};
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::setup;

use crate::{content, is_mounted, Context};

/// The helper, over that of composefs 1.0.
fn installed() -> Result<Mount> {
    let helper = setup::mount_helper();
    run(
        "mount",
        ["--bind", &helper.to_string_lossy(), setup::C_MOUNT],
    )?;
    Ok(Mount::adopt(setup::C_MOUNT.as_ref()))
}

pub fn fstab(context: &mut Context) -> Result<()> {
    let _installed = installed()?;
    let target = context.target();
    let (image, store) = (&context.image.file, &context.image.store);
    let options = format!(
        "basedir={},digest={},nosuid,nodev,noauto,nofail,x-systemd.requires-mounts-for={}",
        store.display(),
        context.image.digest,
        store.display()
    );
    let fstab = context.work.join("fstab");
    let line = format!(
        "{} {} composefs {options} 0 0\n",
        image.display(),
        target.display()
    );
    fs::write(&fstab, line)?;
    let mount = |arguments: &[&str]| {
        let mut command = Command::new("mount");
        command.arg("--fstab").arg(&fstab).args(arguments);
        command
    };
    output(&mut mount(&[&target.to_string_lossy()]))?;
    let mounted = Mount::adopt(&target);
    content(&mounted)?;
    let (kind, source, shown) = mountinfo(mounted.root())?;
    ensure!(kind == context.kind("auto"), "{kind}");
    ensure!(
        kind == "overlay" || source == image.to_string_lossy(),
        "{source}"
    );
    let line = run(
        "findmnt",
        ["-n", "-o", "VFS-OPTIONS", &target.to_string_lossy()],
    )?;
    ensure!(
        line.contains("nosuid") && line.contains("nodev"),
        "{line}: {shown}"
    );
    mounted.forget();
    run("umount", [&target])?;
    ensure!(!is_mounted(&target)?, "it is still mounted");

    fs::write(
        &fstab,
        fs::read_to_string(&fstab)?.replace(&context.image.digest, &"0".repeat(64)),
    )?;
    let refused = output(&mut mount(&[&target.to_string_lossy()]));
    let said = format!("{:#}", refused.expect_err("a wrong digest"));
    ensure!(said.contains("wrong digest"), "{said}");
    Ok(())
}

pub fn remount(context: &mut Context) -> Result<()> {
    let _installed = installed()?;
    let target = context.target().to_string_lossy().into_owned();
    let mount = context.mounted("verity=on")?;
    run("mount", ["-o", "remount,verity=require,noexec", &target])?;
    let (_, _, options) = mountinfo(mount.root())?;
    ensure!(options.contains("verity=require"), "{options}");
    let flags = run("findmnt", ["-n", "-o", "VFS-OPTIONS", &target])?;
    ensure!(flags.contains("noexec"), "{flags}");
    let mut lower = Command::new("mount");
    lower.args(["-o", "remount,verity=off", &target]);
    let said = format!("{:#}", output(&mut lower).expect_err("a lower level"));
    ensure!(said.contains("cannot be lowered"), "{said}");

    let mut other = Command::new(setup::mount_helper());
    let image = &context.image.file;
    other
        .args(["-o", "remount,basedir=/"])
        .arg(image)
        .arg(&target);
    expect_refusal(&mut other, &["basedir: cannot be changed"])?;
    content(&mount)
}
