// SPDX-License-Identifier: GPL-2.0-only
//! A kernel that looks for its own bugs (KASAN, lockdep, kmemleak, UBSAN, fault injection…) with
//! the checkout's file system built in.
//!
//! Its source is that of trixie's newest stock kernel. clang compiles it: KASAN with Rust needs
//! that. Everything is built in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifact::Artifact;
use crate::kernel::Kernel;
use crate::overlay::{self, Overlay};
use crate::process::{self, Log};
use crate::suite::Suite;
use crate::toolchain::{Toolchain, CLANG};
use crate::{note, place, versions};

/// Lists of options, one a line, with comments.
const ENABLED: &str = include_str!("../debug-kernel.enabled");
const DISABLED: &str = include_str!("../debug-kernel.disabled");

/// What IPE permits there, for t_ipe: a policy that is built in needs no key to be signed with.
const IPE_POLICY: &str = include_str!("../debug-kernel.ipe");

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace)
}

/// What does not depend on the checkout.
pub fn base() -> Result<PathBuf> {
    let kernel = Kernel::of(Suite::Trixie)?;
    let toolchain = Toolchain::with(Suite::Trixie, "toolchain-clang", CLANG)?;
    let versions = versions::get(Suite::Trixie)?;
    let number = kernel.release.split('+').next().unwrap_or_default();
    let artifact = Artifact {
        name: "debug-kernel".into(),
        what: format!("debug kernel {number}"),
        usually: "15 minutes",
        inputs: [
            vec![
                "2".into(),
                kernel.dir().display().to_string(),
                IPE_POLICY.into(),
            ],
            words(ENABLED).map(Into::into).collect(),
            words(DISABLED).map(|word| format!("no {word}")).collect(),
            versions.of(&["rustc", "bindgen", "clang", "lld", "make"]),
        ]
        .concat(),
    };
    artifact.get(|dir, log| make(dir, &kernel, &toolchain, log))
}

fn make(dir: &Path, kernel: &Kernel, toolchain: &Toolchain, log: &Log) -> Result<()> {
    let tree = dir.join("tree");
    log.run(Command::new("cp").arg("-a").arg(kernel.tree()).arg(&tree))?;
    fs::write(tree.join("ipe-policy"), IPE_POLICY)?;
    let mut build = toolchain.command(&[dir], "sh")?;
    build.arg(place::checkout("scripts/lib/configure-debug-kernel").canonicalize()?);
    build.arg(&tree);
    build.arg(words(ENABLED).collect::<Vec<_>>().join(" "));
    build.arg(words(DISABLED).collect::<Vec<_>>().join(" "));
    log.run(&mut build)
}

/// The kernel with the checkout's file system in it: a directory in the checkout, so that the next
/// time make finds what it made.
pub fn path() -> Result<PathBuf> {
    let base = base()?;
    let work =
        place::build("x")?.with_file_name(base.file_name().context("an artifact has a name")?);
    let overlay = Overlay::new(&base, &work)?;
    let _own = overlay::own(&work, "debug kernel")?;

    let sources = overlay::sources()?;
    let noted = work.join("sources");
    if fs::read_to_string(&noted).is_ok_and(|old| old == sources) {
        return Ok(work);
    }
    let _ = fs::remove_file(&noted);
    note!("debug kernel: building the file system into it (usually 2 minutes)");
    let log = Log::create(work.join("log"))?;
    build(&overlay, &work, &log).map_err(|error| {
        let text = log.text();
        let path = log.path().display();
        error.context(format!(
            "the debug kernel cannot be built: {}; see {path}",
            process::reason(&text)
        ))
    })?;
    fs::write(noted, sources)?;
    Ok(work)
}

fn build(overlay: &Overlay, work: &Path, log: &Log) -> Result<()> {
    let toolchain = Toolchain::with(Suite::Trixie, "toolchain-clang", CLANG)?;
    let tree = overlay.tree();
    overlay.put_file_system(log)?;
    // For `scripts/test --coverage`: of all of the kernel, only the driver says where it comes by.
    let told = "echo 'KCOV_INSTRUMENT := y' >>\"$TREE/fs/composefs/Makefile\"";
    log.run(&mut overlay.command(told))?;
    let mut make = toolchain.command(&[tree], "sh")?;
    make.args(["-euc", "cd \"$1\"; scripts/config --enable COMPOSEFS_FS; make LLVM=1 olddefconfig; grep -qx CONFIG_COMPOSEFS_FS=y .config; make LLVM=1 -j\"$(nproc)\" bzImage", "sh"]);
    log.run(&mut overlay.around(make.arg(tree)))?;

    let copy = "cp \"$TREE/arch/x86/boot/bzImage\" \"$UPPER/vmlinuz\"; \
                cp \"$TREE/include/config/kernel.release\" \"$UPPER/release\"; \
                cp \"$TREE\"/modules.builtin{,.modinfo} \"$UPPER/\"";
    log.run(&mut overlay.command(copy))?;
    let release = fs::read_to_string(work.join("release"))?.trim().to_owned();
    let _ = fs::remove_dir_all(work.join("modules"));
    let modules = work.join("modules/usr/lib/modules").join(&release);
    fs::create_dir_all(modules.join("kernel"))?;
    symlink("usr/lib", work.join("modules/lib"))?;
    for file in ["modules.builtin", "modules.builtin.modinfo"] {
        fs::rename(work.join(file), modules.join(file))?;
    }
    fs::write(modules.join("modules.order"), "")?;
    log.run(
        toolchain
            .command(&[work], "depmod")?
            .arg("-b")
            .arg(work.join("modules"))
            .arg(&release),
    )
}
