// SPDX-License-Identifier: GPL-2.0-only
//! Building the checkout's file system into a kernel tree of the cache, which stays as it is: what
//! changes is in an overlay of it, in a mount namespace of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::artifact::lock;
use crate::kernel::{place_of_making, Kernel};
use crate::process::{self, Log};
use crate::root::need_root;
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{place, vm};

/// A kernel tree with the file system in it. The tree is mounted where it was made: by another
/// name, all Rust crates would be built anew.
pub struct Overlay {
    base: PathBuf,
    upper: PathBuf,
    tree: PathBuf,
}

impl Overlay {
    /// Of `artifact/tree`, with the changes below `upper`.
    pub fn new(artifact: &Path, upper: &Path) -> Result<Self> {
        need_root("mounting an overlay of the kernel tree")?;
        let tree = place_of_making(artifact)?.join("tree");
        fs::create_dir_all(&tree)?;
        for dir in ["upper", "work"] {
            fs::create_dir_all(upper.join(dir))?;
        }
        Ok(Self {
            base: artifact.join("tree"),
            upper: upper.into(),
            tree,
        })
    }

    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// `bash -c SCRIPT ARGUMENTS` with the tree mounted; the caller adds the arguments.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "bash",
                "-euo",
                "pipefail",
                "-c",
            ])
            .arg(format!(
                "mount -t overlay -o \"lowerdir=$BASE,upperdir=$UPPER/upper,workdir=$UPPER/work\" \
                 overlay \"$TREE\"\n{script}"
            ))
            .arg("overlay")
            .env("BASE", &self.base)
            .env("UPPER", &self.upper)
            .env("TREE", &self.tree);
        command
    }

    /// Puts the checkout's file system into the tree.
    pub fn put_file_system(&self, log: &Log) -> Result<()> {
        let into_tree = place::checkout("scripts/into-tree").canonicalize()?;
        log.run(self.command("\"$1\" \"$TREE\"").arg(into_tree))
    }

    /// A command, run with the tree mounted.
    pub fn around(&self, command: &Command) -> Command {
        let mut outer = self.command("exec \"$@\"");
        outer.arg(command.get_program()).args(command.get_args());
        outer
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.tree);
        if let Some(parent) = self.tree.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// `scripts/in-tree`: as a module and built in, in a copy of trixie's stock kernel's tree.
pub fn build_in_tree(log: &Log) -> Result<()> {
    let kernel = Kernel::of(Suite::Trixie)?;
    let toolchain = Toolchain::of(Suite::Trixie)?;
    let run = vm::RunDirectory::new()?;
    let overlay = Overlay::new(kernel.dir(), run.dir())?;
    let tree = overlay.tree();

    // Once more, it changes nothing but what is the file system's.
    let files = [
        "fs/Kconfig",
        "fs/Makefile",
        "Documentation/filesystems/index.rst",
        "tools/testing/selftests/Makefile",
    ];
    overlay.put_file_system(log)?;
    let sums = "cd \"$TREE\"; sha256sum \"$@\" >\"$UPPER/sums\"";
    log.run(overlay.command(sums).args(files))?;
    overlay.put_file_system(log)?;
    let check = "cd \"$TREE\"; sha256sum -c \"$UPPER/sums\"; \
                 grep -x '   composefs' Documentation/filesystems/index.rst";
    log.run(&mut overlay.command(check))?;
    for setting in ["--module", "--enable"] {
        log.line(&format!("== COMPOSEFS_FS {setting}"))?;
        let mut build = toolchain.command(&[tree], "sh")?;
        build.args(["-euc", "cd \"$1\"; scripts/config \"$2\" COMPOSEFS_FS; make olddefconfig; grep COMPOSEFS_FS= .config; make -j\"$(nproc)\" CONFIG_DEBUG_INFO_BTF= fs/composefs/", "sh"]);
        build.arg(tree).arg(setting);
        log.run(&mut overlay.around(&build))?;
    }
    Ok(())
}

/// Takes the lock of a directory of the checkout that one run at a time builds in.
pub fn own(dir: &Path, what: &str) -> Result<File> {
    let file = File::create(dir.join(".lock"))
        .with_context(|| format!("cannot write to {}", dir.display()))?;
    lock(&file, false, &format!("{what}: another run is building it"))?;
    Ok(file)
}

/// The sum of all sources of the file system.
pub fn sources() -> Result<String> {
    let mut find = Command::new("bash");
    find.args([
        "-c",
        "find fs/composefs -type f -exec sha256sum {} + | sort | sha256sum",
    ]);
    let sums = process::output(find.current_dir(place::checkout("")))?;
    if sums.is_empty() {
        bail!("the checkout has no fs/composefs");
    }
    Ok(sums)
}
