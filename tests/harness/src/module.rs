// SPDX-License-Identifier: GPL-2.0-only
//! The module, built out of tree.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::artifact::lock;
use crate::kernel::Kernel;
use crate::place;
use crate::process;
use crate::suite::Suite;
use crate::toolchain::Toolchain;

/// Builds the module for a stock kernel in the cache, checks that it cannot panic, and prints its
/// path: build/<kernel release>/composefs.ko
///
/// For a kernel that is installed, see `scripts/build-for`.
#[derive(Args, Default)]
pub struct Options {
    /// Whose stock kernel [default: trixie]
    #[arg(long)]
    pub suite: Option<Suite>,
    /// Only look for faults: clippy, all warnings are errors
    #[arg(long)]
    pub lint: bool,
    /// More for the kernel's make
    #[arg(last = true)]
    pub make: Vec<String>,
}

/// Where the module is below the directory that it is built in.
pub const BUILT: &str = "fs/composefs/composefs.ko";

/// The make of a suite's kernel, to build the module of the sources in one directory into another; the
/// caller adds the target.
pub fn make(suite: Suite, sources: &Path, out: &Path) -> Result<Command> {
    let mut make = Toolchain::of(suite)?.command(&[], "make")?;
    make.args(["--no-print-directory", "-C"])
        .arg(Kernel::of(suite)?.tree())
        .arg(format!("-j{}", std::thread::available_parallelism()?))
        .arg(format!("M={}", sources.canonicalize()?.display()))
        .arg(format!("MO={}", out.display()))
        .args(suite.arch().make_variables())
        .args(["CONFIG_COMPOSEFS_FS=m", "CONFIG_DEBUG_INFO_BTF_MODULES="])
        .current_dir(sources);
    Ok(make)
}

/// Builds the module, and gives its path in the checkout.
pub fn build(options: &Options) -> Result<PathBuf> {
    let suite = options.suite.unwrap_or(Suite::Trixie);
    let kernel = Kernel::of(suite)?;
    let toolchain = Toolchain::of(suite)?;
    let release = &kernel.release;
    let out = if options.lint {
        place::build(&format!("lint-{release}"))?
    } else {
        place::build(release)?
    };
    fs::create_dir_all(&out)?;
    let own = File::create(place::build(&format!(".lock-{release}"))?)?;
    lock(&own, false, "module: another run is building it")?;

    let mut make = make(suite, &place::checkout(""), &out)?;
    if options.lint {
        make.args(["CLIPPY=1", "W=1e"]);
    }
    let status = make
        .args(&options.make)
        .arg("modules")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()?;
    if !status.success() {
        bail!("the module cannot be built for {release}: see above");
    }
    if options.lint {
        return Ok(out);
    }
    let module = out.join(BUILT);
    process::run(
        toolchain
            .command(&[], "env")?
            .arg(format!("OBJDUMP={}-objdump", suite.arch().triplet()))
            .arg("bash")
            .arg(place::checkout("scripts/check-module").canonicalize()?)
            .arg(&module),
    )
    .with_context(|| format!("{}: can panic: see above", module.display()))?;
    let to = out.join("composefs.ko");
    let _ = fs::remove_file(&to);
    fs::hard_link(&module, &to)?;
    Ok(PathBuf::from("build").join(release).join("composefs.ko"))
}
