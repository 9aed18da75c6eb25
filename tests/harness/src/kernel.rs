// SPDX-License-Identifier: GPL-2.0-only
//! The newest stock kernel of a Debian suite, and a source tree prepared so that Rust modules for
//! it can be built out of tree.
//!
//! Debian's own headers packages lack what rustc needs to know of the `kernel` crate, hence the
//! source tree: configured and named exactly as the stock kernel.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::apt::World;
use crate::arch::Arch;
use crate::artifact::Artifact;
use crate::debug_kernel;
use crate::process::{self, Log};
use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::versions::{self, StockKernel};

/// A kernel that guests run.
pub struct Kernel {
    /// What `uname -r` says there.
    pub release: String,
    dir: PathBuf,
}

impl Kernel {
    /// That of `suite`, made first if need be.
    pub fn of(suite: Suite) -> Result<Self> {
        let dir = match suite {
            suite if suite.is_debug() => debug_kernel::path(suite)?,
            suite => stock(suite)?,
        };
        let release = fs::read_to_string(dir.join("release"))?.trim().to_owned();
        Ok(Self { release, dir })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn vmlinuz(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// What `/lib/modules/RELEASE` has there.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("modules/usr/lib/modules").join(&self.release)
    }

    /// The prepared source tree; the debug kernel has none.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }
}

/// Where an artifact was made: the trees of kernels have absolute paths in them.
pub fn place_of_making(artifact: &Path) -> Result<PathBuf> {
    let name = artifact.file_name().context("an artifact has a name")?;
    Ok(crate::place::cache()?.join("tmp").join(name))
}

fn stock(suite: Suite) -> Result<PathBuf> {
    let toolchain = Toolchain::of(suite)?;
    versions::with(suite, |versions| {
        let kernel = &versions.kernel_of(suite);
        let artifact = Artifact {
            name: format!("kernel-{suite}"),
            what: format!("kernel {}, prepared for Rust modules", kernel.release),
            usually: "4 minutes",
            inputs: [
                vec!["1".into(), kernel.release.clone(), kernel.version.clone()],
                versions.of(&["rustc", "bindgen", "gcc", "make"]),
            ]
            .concat(),
        };
        artifact.get(|dir, log| make(dir, suite, kernel, &toolchain, log))
    })
}

fn make(
    dir: &Path,
    suite: Suite,
    kernel: &StockKernel,
    toolchain: &Toolchain,
    log: &Log,
) -> Result<()> {
    let StockKernel {
        release, version, ..
    } = kernel;
    let debs = dir.join("debs");
    fs::create_dir(&debs)?;
    let headers_package = format!("linux-headers-{release}");
    let wanted: Vec<_> = [&kernel.source, &headers_package]
        .into_iter()
        .chain(&kernel.image)
        .map(|name| format!("{name}={version}"))
        .collect();
    World::new(suite)?.download(&wanted, &debs, log)?;

    let (image, headers) = (dir.join("image"), dir.join("headers"));
    let mut source = None;
    for entry in fs::read_dir(&debs)? {
        let deb = entry?.path();
        let name = deb
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let to = if name.starts_with(&format!("{}_", kernel.source)) {
            source = Some(deb.clone());
            dir.join("source")
        } else if name.starts_with("linux-headers-") {
            headers.clone()
        } else {
            image.clone()
        };
        log.run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&to))?;
    }
    take_image(dir, &image, release)?;

    // What is in the source package is one archive, whatever its name.
    source.context("no package with the source was downloaded")?;
    let packed = process::output(
        Command::new("find")
            .arg(dir.join("source"))
            .args(["-name", "*.tar.xz"]),
    )?;
    let tree = dir.join("tree");
    fs::create_dir(&tree)?;
    log.run(
        toolchain
            .command(&[dir], "tar")?
            .args(["-xf", &packed, "--strip-components=1", "-C"])
            .arg(&tree),
    )?;

    let configured = headers.join(format!("usr/src/linux-headers-{release}"));
    for file in [".config", "Module.symvers"] {
        fs::copy(configured.join(file), tree.join(file))?;
    }
    fs::copy(tree.join(".config"), dir.join("config"))?;
    // Completes the release string, which modules carry as their vermagic.
    let (_, suffix) = release
        .split_once('+')
        .context("the release has no suffix")?;
    fs::write(tree.join("localversion-deb"), format!("+{suffix}\n"))?;
    fs::write(dir.join("release"), format!("{release}\n"))?;
    for rubbish in ["debs", "image", "headers", "source"] {
        fs::remove_dir_all(dir.join(rubbish))?;
    }

    log.run(
        toolchain
            .command(&[dir], "depmod")?
            .arg("-b")
            .arg(dir.join("modules"))
            .arg(release),
    )?;
    log.run(
        toolchain
            .command(&[dir], "make")?
            .arg("-C")
            .arg(&tree)
            .arg(format!("-j{}", std::thread::available_parallelism()?))
            .args(suite.arch().make_variables())
            // What goes over the type information of a whole kernel takes long to build.
            .arg("CONFIG_DEBUG_INFO_BTF=")
            .args(["olddefconfig", "modules_prepare"]),
    )?;
    check(dir, suite.arch(), release, toolchain)
}

/// The image may be one package or be split into several; put together they hold the kernel,
/// below /boot or beside its modules.
fn take_image(dir: &Path, image: &Path, release: &str) -> Result<()> {
    for file in [
        format!("boot/vmlinuz-{release}"),
        format!("usr/lib/modules/{release}/vmlinuz"),
    ] {
        if image.join(&file).is_file() {
            fs::rename(image.join(file), dir.join("vmlinuz"))?;
        }
    }
    fs::metadata(dir.join("vmlinuz")).context("the image has no vmlinuz")?;

    let modules = dir.join("modules/usr/lib/modules");
    fs::create_dir_all(&modules)?;
    symlink("usr/lib", dir.join("modules/lib"))?;
    for place in ["usr/lib/modules", "lib/modules"] {
        let from = image.join(place).join(release);
        if from.is_dir() {
            fs::rename(from, modules.join(release))?;
        }
    }
    fs::metadata(modules.join(release).join("kernel")).context("the image has no modules")?;
    for link in ["build", "source"] {
        let _ = fs::remove_file(modules.join(release).join(link));
    }
    Ok(())
}

/// All of it can succeed for a kernel that Rust modules do not fit.
fn check(dir: &Path, arch: Arch, release: &str, toolchain: &Toolchain) -> Result<()> {
    let read =
        |file: &str| fs::read_to_string(dir.join(file)).with_context(|| format!("no {file}"));
    let (stock, prepared) = (read("config")?, read("tree/.config")?);
    let compiler = process::output(toolchain.command(&[], "rustc")?.arg("--version"))?;
    let needed = [
        "CONFIG_RUST=y".to_owned(),
        format!("CONFIG_RUSTC_VERSION_TEXT=\"{compiler}\""),
    ];
    for line in needed {
        for (config, whose) in [(&stock, "stock"), (&prepared, "prepared")] {
            if !config.lines().any(|have| have == line) {
                bail!("check failed: the {whose} kernel's configuration has no {line}");
            }
        }
    }
    if read("tree/include/config/kernel.release")?.trim() != release {
        bail!("check failed: the prepared tree is of another release");
    }
    // Other machines are targets that rustc knows.
    let target = (arch == Arch::Amd64).then_some("scripts/target.json");
    let crates = [
        "rust/libcore.rmeta",
        "rust/libkernel.rmeta",
        "rust/libbindings.rmeta",
        "rust/libuapi.rmeta",
        "rust/libmacros.so",
    ];
    for file in crates.into_iter().chain(target) {
        fs::metadata(dir.join("tree").join(file))
            .with_context(|| format!("check failed: no {file}"))?;
    }
    Ok(())
}
