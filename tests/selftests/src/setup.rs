// SPDX-License-Identifier: GPL-2.0-only
//! The surroundings of a test: where things are in the guest, and bringing them up.
//!
//! | variable  | meaning | default |
//! | --- | --- | --- |
//! | `PAYLOAD` | what is under test: `composefs.ko`, `bin/mkcomposefs`; and `peers/cfsctl`, `corpus` | where the program is, if `bin` is there (as kselftest installs it), or `/opt/composefs` |
//! | `SCRATCH` | a writable directory on a filesystem with fs-verity | `/scratch` |
//! | `CONTAINERS` | the root that has docker-registry, skopeo and umoci | a disk with that label |
//! | `COMPOSEFS_SELFTEST_POINTS` | the numbers of the test points that are wanted, in that order | unset: all |
//! | `COMPOSEFS_SELFTEST_INCUMBENT` | if set, mount with composefs 1.0.8 (EROFS + overlayfs) instead of the driver: a control, to tell a fault of a test from one of the driver | unset |

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::command;
use crate::tap::Skip;

/// Debian's composefs 1.0.8.
pub const C_MKCOMPOSEFS: &str = "/usr/bin/mkcomposefs";
pub const C_COMPOSEFS_INFO: &str = "/usr/bin/composefs-info";
pub const C_MOUNT: &str = "/usr/sbin/mount.composefs";

/// Where Debian has libraries for this machine, below the root.
pub const LIBRARIES: &str = if cfg!(target_arch = "aarch64") {
    "usr/lib/aarch64-linux-gnu"
} else {
    "usr/lib/x86_64-linux-gnu"
};

pub fn payload() -> PathBuf {
    let beside = || {
        let directory = env::current_exe().ok()?.parent()?.to_path_buf();
        directory
            .join("bin/mkcomposefs")
            .exists()
            .then_some(directory)
    };
    env::var_os("PAYLOAD")
        .map(PathBuf::from)
        .or_else(beside)
        .unwrap_or_else(|| "/opt/composefs".into())
}

pub fn scratch() -> PathBuf {
    env::var_os("SCRATCH").map_or_else(|| "/scratch".into(), PathBuf::from)
}

/// Whether the incumbent is mounted in place of the driver.
pub fn incumbent() -> bool {
    env::var_os("COMPOSEFS_SELFTEST_INCUMBENT").is_some()
}

/// The `mkcomposefs` under test.
pub fn mkcomposefs() -> PathBuf {
    payload().join("bin/mkcomposefs")
}

/// What the driver says of a store that can prove nothing, if it has to.
pub const NO_VERITY: &str = "no basedir is on a file system with fs-verity";

/// The `mount.composefs` under test.
pub fn mount_helper() -> PathBuf {
    payload().join("bin/mount.composefs")
}

/// composefs-rs's tool; the cases that need it are skipped where it is not installed.
pub fn cfsctl() -> Result<PathBuf> {
    let path = payload().join("peers/cfsctl");
    if !path.exists() {
        return Err(Skip(format!("no {}", path.display())).into());
    }
    Ok(path)
}

/// The bytes of a page of memory.
pub fn page_size() -> Result<u64> {
    Ok(command::run("getconf", ["PAGESIZE"])?.parse()?)
}

/// Skips the current case where EROFS cannot read all of an image that it has as a file, of which it
/// reads whole pages only (7.3): composefs 1.0 gives it the file.
pub fn require_filled_pages(image: &Path) -> Result<()> {
    let length = fs::metadata(image)?.len();
    if length % page_size()? != 0 {
        return Err(Skip("EROFS cannot read the end of the image on these pages".into()).into());
    }
    Ok(())
}

/// Skips the current case unless the driver itself is mounted.
pub fn require_driver() -> Result<()> {
    if incumbent() {
        return Err(Skip("a property of the driver, not of EROFS + overlayfs".into()).into());
    }
    Ok(())
}

/// Makes the filesystem under test available.
pub fn load_module() -> Result<()> {
    if incumbent() {
        return load_incumbent();
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Skip("needs root".into()).into());
    }
    if !is_registered("composefs")? {
        command::run("insmod", [module()?]).context("loading the module under test")?;
    }
    if !is_registered("composefs")? {
        bail!("the module is loaded, yet /proc/filesystems has no composefs");
    }
    Ok(())
}

/// The module. As a part of a kernel's own tests, it is the kernel's to bring it.
pub fn module() -> Result<PathBuf> {
    let module = payload().join("composefs.ko");
    if env::var_os("PAYLOAD").is_some() || module.exists() {
        return Ok(module);
    }
    let installed = command::output(Command::new("modinfo").args(["-n", "composefs"]))
        .map_err(|_| Skip("this kernel has no composefs".into()))?;
    Ok(installed.trim_end().into())
}

/// Skips the current case if the driver is a part of the kernel, as in that of `--suite debug`.
pub fn require_module() -> Result<()> {
    // Modules have a state there; what is built in has only its parameters.
    let is_built_in =
        is_registered("composefs")? && !Path::new("/sys/module/composefs/initstate").exists();
    if is_built_in {
        return Err(Skip("the driver is a part of the kernel".into()).into());
    }
    Ok(())
}

/// The kernel is one without the driver: where the module is installed, a mount does not bring it back
/// for as long as there is this.
pub struct WithoutModule(());

impl WithoutModule {
    const SETTING: &str = "/run/modprobe.d/composefs-selftests.conf";

    /// Has one from now on, if not yet. Skips the current case if the driver cannot be removed.
    pub fn keep(kept: &mut Option<Self>) -> Result<()> {
        if kept.is_none() {
            *kept = Some(Self::new()?);
        }
        Ok(())
    }

    /// Skips the current case if the driver cannot be removed.
    pub fn new() -> Result<Self> {
        require_module()?;
        create_dir(Path::new("/run/modprobe.d"))?;
        fs::write(Self::SETTING, "install composefs /bin/false\n").context(Self::SETTING)?;
        let without = Self(());
        if is_registered("composefs")? {
            command::run("rmmod", ["composefs"]).context("unloading the module under test")?;
        }
        Ok(without)
    }
}

impl Drop for WithoutModule {
    fn drop(&mut self) {
        let _ = fs::remove_file(Self::SETTING);
    }
}

/// What composefs 1.0.8 needs of the kernel.
pub fn load_incumbent() -> Result<()> {
    modprobe("erofs")?;
    modprobe("overlay")?;
    modprobe("loop")
}

/// Loads one of the kernel's own modules, unless it is there.
pub fn modprobe(module: &str) -> Result<()> {
    command::run("modprobe", [module]).map(drop)
}

/// Whether the kernel has a filesystem of this name.
pub fn is_registered(filesystem: &str) -> Result<bool> {
    let list = fs::read_to_string("/proc/filesystems").context("/proc/filesystems")?;
    Ok(list
        .lines()
        .any(|line| line.split_whitespace().last() == Some(filesystem)))
}

/// An empty directory of this name in the scratch area; what an earlier run left there is removed.
pub fn work_directory(name: &str) -> Result<PathBuf> {
    let scratch = scratch();
    if !scratch.is_dir() {
        let reason = format!(
            "no {}: SCRATCH names a directory on a file system with fs-verity",
            scratch.display()
        );
        return Err(Skip(reason).into());
    }
    let directory = scratch.join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("removing {}", directory.display()))?;
    }
    create_dir(&directory)?;
    Ok(directory)
}

/// Creates a directory, and says which one if that fails.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))
}

/// Empties the page cache and the caches of names and inodes, as far as they are not in use.
pub fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("/proc/sys/vm/drop_caches")
}
