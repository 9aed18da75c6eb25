// SPDX-License-Identifier: GPL-2.0-only
//! Kernels that look for their own bugs (KASAN, lockdep, kmemleak, UBSAN, fault injection…; another
//! for races: KCSAN) with the checkout's file system built in.
//!
//! Its source is that of trixie's newest stock kernel. clang compiles it: KASAN with Rust needs
//! that. Everything is built in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::artifact::Artifact;
use crate::kernel::Kernel;
use crate::overlay::{self, Overlay};
use crate::process::{self, Log};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{note, place, versions};

/// Lists of options, one a line, with comments.
const ENABLED: &str = include_str!("../debug-kernel.enabled");
const DISABLED: &str = include_str!("../debug-kernel.disabled");

/// What only one of the kernels has, as they exclude each other.
fn of_its_own(suite: Suite) -> &'static str {
    match suite {
        Suite::Kcsan => include_str!("../debug-kernel.kcsan"),
        _ => include_str!("../debug-kernel.kasan"),
    }
}

fn enabled(suite: Suite) -> Vec<&'static str> {
    words(ENABLED).chain(words(of_its_own(suite))).collect()
}

/// What IPE permits there, for t_ipe: a policy that is built in needs no key to be signed with.
const IPE_POLICY: &str = include_str!("../debug-kernel.ipe");

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace)
}

/// What does not depend on the checkout.
pub fn base(suite: Suite) -> Result<PathBuf> {
    if !suite.is_debug() {
        bail!("{suite}: no kernel that looks for its own bugs");
    }
    let kernel = Kernel::of(Suite::Trixie)?;
    let toolchain = Toolchain::clang()?;
    let versions = versions::get(Suite::Trixie)?;
    let number = kernel.release.split('+').next().unwrap_or_default();
    let artifact = Artifact {
        name: format!("{suite}-kernel"),
        what: format!("{suite} kernel {number}"),
        usually: "15 minutes",
        inputs: [
            vec![
                "2".into(),
                kernel.dir().display().to_string(),
                IPE_POLICY.into(),
            ],
            enabled(suite).into_iter().map(Into::into).collect(),
            words(DISABLED).map(|word| format!("no {word}")).collect(),
            versions.of(&["rustc", "bindgen", "clang", "lld", "make"]),
        ]
        .concat(),
    };
    artifact.get(|dir, log| make(dir, suite, &kernel, &toolchain, log))
}

fn make(dir: &Path, suite: Suite, kernel: &Kernel, toolchain: &Toolchain, log: &Log) -> Result<()> {
    let tree = dir.join("tree");
    log.run(Command::new("cp").arg("-a").arg(kernel.tree()).arg(&tree))?;
    fs::write(tree.join("ipe-policy"), IPE_POLICY)?;
    let mut build = toolchain.command(&[dir], "sh")?;
    build.arg(place::checkout("scripts/lib/configure-debug-kernel").canonicalize()?);
    build.arg(&tree).arg(suite.name());
    build.arg(enabled(suite).join(" "));
    build.arg(words(DISABLED).collect::<Vec<_>>().join(" "));
    log.run(&mut build)
}

/// The kernel with the checkout's file system in it: a directory in the checkout, so that the next
/// time make finds what it made.
pub fn path(suite: Suite) -> Result<PathBuf> {
    let base = base(suite)?;
    let work =
        place::build("x")?.with_file_name(base.file_name().context("an artifact has a name")?);
    let overlay = Overlay::new(&base, &work)?;
    let _own = overlay::own(&work, &format!("{suite} kernel"))?;

    let sources = overlay::sources()?;
    let noted = work.join("sources");
    if fs::read_to_string(&noted).is_ok_and(|old| old == sources) {
        return Ok(work);
    }
    let _ = fs::remove_file(&noted);
    note!("{suite} kernel: building the file system into it (usually 2 minutes)");
    let log = Log::create(work.join("log"))?;
    build(suite, &overlay, &work, &log).map_err(|error| {
        let text = log.text();
        let path = log.path().display();
        error.context(format!(
            "the {suite} kernel cannot be built: {}; see {path}",
            process::reason(&text)
        ))
    })?;
    fs::write(noted, sources)?;
    Ok(work)
}

/// What is added to the driver's Makefile.
fn flags(suite: Suite) -> &'static str {
    match suite {
        // The kernel has KCSAN look at C only. These are the flags of scripts/Makefile.kcsan.
        Suite::Kcsan => {
            "rustflags-y += -Zsanitizer=thread -Cllvm-args=-tsan-instrument-func-entry-exit=0 \
             -Cllvm-args=-tsan-distinguish-volatile=1 -Cllvm-args=-tsan-compound-read-before-write=1"
        }
        // For `scripts/test --coverage`: of all of the kernel, only the driver says where it comes by.
        _ => "KCOV_INSTRUMENT := y",
    }
}

fn build(suite: Suite, overlay: &Overlay, work: &Path, log: &Log) -> Result<()> {
    let toolchain = Toolchain::clang()?;
    let tree = overlay.tree();
    overlay.put_file_system(log)?;
    let told = format!("echo '{}' >>\"$TREE/fs/composefs/Makefile\"", flags(suite));
    log.run(&mut overlay.command(&told))?;
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
