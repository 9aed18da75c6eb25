// SPDX-License-Identifier: GPL-2.0-only
//! Where an image goes: a file that appears complete or not at all, or a stream.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::fsverity::Algorithm;
use crate::quote;
use crate::staged::Staged;
use crate::verity::{self, Enabled};

/// Most symbolic links that are followed to find the file, as in the kernel.
const LINKS_MAX: usize = 40;

/// Writes the output named `path`: `-` is standard output. With `verity`, fs-verity is enabled on
/// it, which only works for a regular file.
///
/// # Errors
/// If `fill` fails, in which case a file at `path` is as it was, or writing does.
pub fn write(
    path: &Path,
    verity: Option<Algorithm>,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let context = || format!("cannot write {}", quote::path(path));
    if path.as_os_str() == "-" {
        if verity.is_some() {
            return Err(anyhow!("fs-verity cannot be enabled on standard output"));
        }
        let mut out = std::io::stdout();
        if out.is_terminal() {
            return Err(anyhow!(
                "standard output is a terminal: the output is binary"
            ));
        }
        fill(&mut out)?;
        return out.flush().with_context(context);
    }
    match resolve(path).with_context(context)? {
        Some(place) => replace(path, &place, verity, fill),
        None => {
            if verity.is_some() {
                return Err(anyhow!(
                    "fs-verity cannot be enabled on {}",
                    quote::path(path)
                ));
            }
            direct(path, fill)
        }
    }
}

/// The file that `path` leads to; `None` if it is one that has to be written in place: a device, a
/// FIFO, or what somebody else has open (`/proc/self/fd/3`, `/dev/stdout`).
fn resolve(path: &Path) -> Result<Option<PathBuf>> {
    let mut place = path.to_owned();
    for _ in 0..LINKS_MAX {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = match rustix::fs::statat(rustix::fs::CWD, &place, flags) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Some(place)),
            Err(error) => return Err(error.into()),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return Ok(Some(place)),
            FileType::Symlink => {}
            _ => return Ok(None),
        }
        let dir = parent(&place);
        if rustix::fs::statfs(dir)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
            return Ok(None);
        }
        let target = std::fs::read_link(&place)?;
        place = dir.join(target);
    }
    Err(Errno::LOOP.into())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn replace(
    path: &Path,
    place: &Path,
    verity: Option<Algorithm>,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let context = || format!("cannot write {}", quote::path(path));
    let name: &OsStr = place
        .file_name()
        .ok_or(Errno::ISDIR)
        .with_context(context)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir: OwnedFd =
        rustix::fs::open(parent(place), flags, Mode::empty()).with_context(context)?;
    let mut staged = match Staged::new(dir.as_fd(), Mode::from_raw_mode(0o666)) {
        Ok(staged) => staged,
        // Whoever may write the file need not be allowed to make one.
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if place.exists() && verity.is_none() => {
            return direct(path, fill);
        }
        Err(error) => return Err(error).with_context(context),
    };
    if let Ok(stat) = rustix::fs::statat(&dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::fchmod(staged.file(), mode).with_context(context)?;
    }
    let mut out = File::from(rustix::io::dup(staged.file()).with_context(context)?);
    fill(&mut out)?;
    drop(out);
    rustix::fs::fdatasync(staged.file()).with_context(context)?;
    if let Some(algorithm) = verity {
        staged.seal().with_context(context)?;
        if let Enabled::No(obstacle) =
            verity::enable(staged.file(), algorithm).with_context(context)?
        {
            return Err(anyhow!("{obstacle}"))
                .with_context(|| format!("cannot enable fs-verity on {}", quote::path(path)));
        }
    }
    staged.replace(dir.as_fd(), name).with_context(context)
}

fn direct(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let context = || format!("cannot write {}", quote::path(path));
    let mut out = File::create(path).with_context(context)?;
    fill(&mut out)?;
    out.flush().with_context(context)
}
