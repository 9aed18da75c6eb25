// SPDX-License-Identifier: GPL-2.0-only
//! IPE's rules with fsverity_digest=: what is judged is the digest that fs-verity has of the object
//! of a file. The policy is a part of the kernel of `--suite debug`.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::image::{build, enable_verity, Image};
use composefs_selftests::integrity::{program, securityfs};
use composefs_selftests::mount::Request;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};
use composefs_selftests::verity::{hex_digest, Algorithm};

const FORBIDDEN: u8 = 77;
const ALLOWED: u8 = 78;

struct Context {
    work: PathBuf,
    image: Image,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let policy = securityfs("ipe")?.join("policies/composefs_selftest/policy");
    let Ok(policy) = fs::read_to_string(policy) else {
        return Err(Skip("IPE has no policy for this test".into()).into());
    };
    let digest = hex_digest(Algorithm::Sha256, &program(FORBIDDEN));
    ensure!(policy.contains(&digest), "{digest} is not in: {policy}");

    let work = setup::work_directory("ipe")?;
    let source = work.join("source");
    setup::create_dir(&source)?;
    for status in [FORBIDDEN, ALLOWED] {
        write_program(&source.join(status.to_string()), status)?;
    }
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    Ok(Context { work, image })
}

fn write_program(path: &Path, status: u8) -> Result<()> {
    fs::write(path, program(status)).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("chmod")
}

fn runs(path: &Path, expected: u8) -> Result<()> {
    let status = Command::new(path).status()?;
    ensure!(status.code() == Some(expected.into()), "{status}");
    Ok(())
}

fn is_denied(path: &Path) -> Result<()> {
    match Command::new(path).status() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => bail!("{other:?}, expected EACCES"),
    }
}

/// The rule is about the digest that fs-verity has of a file, and not about what is in it.
fn on_ext4(context: &mut Context) -> Result<()> {
    let path = context.work.join("plain");
    write_program(&path, FORBIDDEN)?;
    runs(&path, FORBIDDEN)?;
    enable_verity(&path)?;
    is_denied(&path)
}

fn in_a_mount(context: &mut Context) -> Result<()> {
    let target = context.work.join("mount");
    let trusting = Request::new(&context.image.file).basedir(&context.image.store);
    for request in [
        context.image.request(),
        trusting.clone(),
        trusting.set("verity", "off"),
    ] {
        let mount = request.at(&target)?;
        // Denied on the first open, from the cache, and read again.
        for _ in 0..2 {
            is_denied(&mount.join(FORBIDDEN.to_string()))?;
            is_denied(&mount.join(FORBIDDEN.to_string()))?;
            runs(&mount.join(ALLOWED.to_string()), ALLOWED)?;
            setup::drop_caches()?;
        }
        mount.unmount()?;
    }
    Ok(())
}

/// What is mapped to be executed is judged like what is run.
fn mapped(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = "
for path, denied in zip(argument, (True, False)):
    file = os.open(path, os.O_RDONLY)
    map = lambda: mmap.mmap(file, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    fails(errno.EACCES, map) if denied else map().close()
";
    let mount = context.image.request().at(&context.work.join("mount"))?;
    let paths = [FORBIDDEN, ALLOWED].map(|status| mount.join(status.to_string()));
    python::run(SCRIPT, &paths).map(drop)
}

const CASES: &[Case<Context>] = &[
    ("a program on ext4", on_ext4),
    ("programs in a mount", in_a_mount),
    ("programs that are mapped", mapped),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
