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

/// Builds the module out of tree, checks that it cannot panic, and prints its path:
/// build/<kernel release>/composefs.ko
///
/// For the cached tree the compilers come from `scripts/toolchain`, else from the host.
#[derive(Args, Default)]
pub struct Options {
    /// A kernel tree prepared for Rust modules. Default: that of the running kernel if it is, else
    /// the cached one
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cached", "suite"])]
    pub kdir: Option<PathBuf>,
    /// The cached tree of SUITE's stock kernel
    #[arg(long)]
    pub cached: bool,
    /// Whose stock kernel [default: trixie]; implies --cached
    #[arg(long)]
    pub suite: Option<Suite>,
    /// Only look for faults: clippy, all warnings are errors
    #[arg(long)]
    pub lint: bool,
    /// More for the kernel's make
    #[arg(last = true)]
    pub make: Vec<String>,
}

/// Where the kernel tree and the compilers come from.
enum Source {
    Cached(Toolchain),
    /// The compilers that are in this PATH.
    Host(String),
}

/// Builds the module, and gives its path in the checkout.
pub fn build(options: &Options) -> Result<PathBuf> {
    let (kdir, source) = find(options)?;
    let release = fs::read_to_string(kdir.join("include/config/kernel.release"))?;
    let release = release.trim();
    let out = if options.lint {
        place::build(&format!("lint-{release}"))?
    } else {
        place::build(release)?
    };
    fs::create_dir_all(&out)?;
    let own = File::create(place::build(&format!(".lock-{release}"))?)?;
    lock(&own, false, "module: another run is building it")?;

    let command = |program: &str| -> Result<Command> {
        Ok(match &source {
            Source::Cached(toolchain) => toolchain.command(&[], program)?,
            Source::Host(path) => {
                let mut command = Command::new(program);
                command.env("PATH", path);
                command
            }
        })
    };
    let mut make = command("make")?;
    make.args(["--no-print-directory", "-C"])
        .arg(&kdir)
        .arg(format!("-j{}", std::thread::available_parallelism()?))
        .arg(format!(
            "M={}",
            place::checkout("").canonicalize()?.display()
        ))
        .arg(format!("MO={}", out.display()))
        .args(["CONFIG_COMPOSEFS_FS=m", "CONFIG_DEBUG_INFO_BTF_MODULES="]);
    if options.lint {
        make.args(["CLIPPY=1", "W=1e"]);
    }
    if matches!(source, Source::Host(_)) && configured(&kdir, "CONFIG_CC_IS_CLANG=y") {
        make.arg("LLVM=1");
    }
    // The variables of a make that runs this program are not for the kernel's.
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
        make.env_remove(variable);
    }
    make.args(&options.make)
        .arg("modules")
        .current_dir(place::checkout(""));
    let status = make
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()?;
    if !status.success() {
        bail!("the module cannot be built for {release}: see above");
    }
    if options.lint {
        return Ok(out);
    }
    let module = out.join("fs/composefs/composefs.ko");
    process::run(
        command("bash")?
            .arg(place::checkout("scripts/check-module").canonicalize()?)
            .arg(&module),
    )
    .with_context(|| format!("{}: can panic: see above", module.display()))?;
    let to = out.join("composefs.ko");
    let _ = fs::remove_file(&to);
    fs::hard_link(&module, &to)?;
    Ok(PathBuf::from("build").join(release).join("composefs.ko"))
}

fn find(options: &Options) -> Result<(PathBuf, Source)> {
    let suite = options.suite.unwrap_or(Suite::Trixie);
    if let Some(kdir) = &options.kdir {
        if !can_rust(kdir) {
            bail!(
                "{} is not prepared for Rust modules (needs CONFIG_RUST=y and rust/libkernel.rmeta)",
                kdir.display()
            );
        }
        let kdir = kdir.canonicalize()?;
        return match of_cache(&kdir)? {
            Some(suite) => Ok((kdir, Source::Cached(Toolchain::of(suite)?))),
            None => on_host(kdir),
        };
    }
    let running = rustix::system::uname();
    let running = Path::new("/lib/modules")
        .join(running.release().to_str()?)
        .join("build");
    if !options.cached && options.suite.is_none() && can_rust(&running) {
        return on_host(running.canonicalize()?);
    }
    let kernel = Kernel::of(suite)?;
    Ok((kernel.tree(), Source::Cached(Toolchain::of(suite)?)))
}

/// Whose tree of the cache that is, named by hand.
fn of_cache(kdir: &Path) -> Result<Option<Suite>> {
    let rest = kdir.strip_prefix(place::cache()?).ok();
    let name = rest
        .and_then(|rest| rest.to_str()?.strip_prefix("kernel-"))
        .unwrap_or_default();
    Ok([Suite::Trixie, Suite::Forky]
        .into_iter()
        .find(|suite| name.starts_with(suite.name())))
}

/// A tree that can build Rust modules has the metadata of the kernel crate.
fn can_rust(kdir: &Path) -> bool {
    configured(kdir, "CONFIG_RUST=y") && kdir.join("rust/libkernel.rmeta").exists()
}

fn configured(kdir: &Path, line: &str) -> bool {
    let config = fs::read_to_string(kdir.join("include/config/auto.conf")).unwrap_or_default();
    config.lines().any(|have| have == line)
}

/// Only the rustc that built the kernel crate can read its metadata. Debian's comes before one that
/// is first in PATH (rustup's).
fn on_host(kdir: PathBuf) -> Result<(PathBuf, Source)> {
    let config = fs::read_to_string(kdir.join(".config"))?;
    let wanted = config
        .lines()
        .find_map(|line| {
            line.strip_prefix("CONFIG_RUSTC_VERSION_TEXT=\"")?
                .strip_suffix('"')
        })
        .filter(|version| !version.is_empty())
        .with_context(|| {
            format!(
                "{}/.config does not say which rustc built the kernel",
                kdir.display()
            )
        })?;
    let path = std::env::var("PATH").unwrap_or_default();
    let has_it = |dir: &&str| {
        let version = Command::new(Path::new(dir).join("rustc"))
            .arg("--version")
            .stderr(Stdio::null())
            .output();
        version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == wanted)
    };
    let dir = std::iter::once("/usr/bin")
        .chain(path.split(':'))
        .find(has_it);
    let dir = dir.with_context(|| {
        format!(
            "{} was built by {wanted}, which is not installed",
            kdir.display()
        )
    })?;
    for program in ["make", "bindgen", "objdump"] {
        let status = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        status.with_context(|| {
            format!(
                "{} is built with {program}, which is not installed",
                kdir.display()
            )
        })?;
    }
    Ok((kdir, Source::Host(format!("{dir}:{path}"))))
}
