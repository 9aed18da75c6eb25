// SPDX-License-Identifier: GPL-2.0-only
//! `composefs record`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use anyhow::{bail, Context, Result};
use clap::Args;
use composefs_mount::options::{Driver, Options as Mount};
use composefs_repository::profile::{Object, Profile, BLOCK_SIZE};
use composefs_repository::Repository;
use composefs_tools::contents::{self, Filter};
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use nix::sched::{unshare, CloneFlags};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::mount::{
    mount_bind_recursive, mount_change, unmount, MountPropagationFlags, UnmountFlags,
};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::cached;
use crate::command::mount::Found;
use crate::opens::Opens;
use crate::place::Place;

/// What of the machine a command sees that has the image as its root.
const OF_THE_MACHINE: [&str; 4] = ["dev", "proc", "sys", "tmp"];

/// Note what a command reads of an image when it starts, for mount --prefetch
///
/// Runs the command with the image as its root directory, and notes which files it opens, in what
/// order, and which parts of them are read. What was noted of earlier runs stays. Objects that are
/// not here are not fetched for it.
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,
    /// Mount the image in this directory, as the command alone sees it, which runs in the machine's
    /// root
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// What to run
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let context = || format!("cannot record {}", quote::bytes(self.image.as_bytes()));
        let repository = place.open()?;
        repository.expect_writable()?;
        let image = Found::new(&repository, &self.image)?;
        let known = repository.profile(&image.digest).with_context(context)?;
        let (new, status) = self.record(&repository, &image).with_context(context)?;
        let bytes: u64 = new.objects.iter().map(|it| it.blocks.count()).sum();
        let (objects, bytes) = (new.objects.len(), bytes * BLOCK_SIZE);
        let profile = Profile::joined(known, new);
        repository.set_profile(&profile).with_context(context)?;
        writeln!(out, "{objects} objects, {bytes} bytes")?;
        match status.success() {
            true => Ok(()),
            false => bail!("what was recorded has ended with {status}"),
        }
    }

    /// Runs the command; what it has read, and how it ended.
    fn record(&self, repository: &Repository, image: &Found) -> Result<(Profile, ExitStatus)> {
        let objects = objects(repository, &image.digest)?;
        let used: HashSet<_> = objects.values().chain([&image.digest]).collect();
        for digest in used {
            // What is not here cannot be opened.
            if let Ok(object) = repository.open_object(digest) {
                cached::evict(&object)?;
            }
        }
        // Nobody else sees the image.
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )?;
        let target = Target::new(self.at.as_deref())?;
        let options = Mount {
            basedirs: vec![repository.objects_path()],
            driver: Driver::Kernel,
            ..Mount::default()
        };
        image.mount(options, true, &target.path)?;
        if self.at.is_none() {
            for name in OF_THE_MACHINE {
                let (from, to) = (Path::new("/").join(name), target.path.join(name));
                if from.is_dir() && to.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                    mount_bind_recursive(from, to)?;
                }
            }
        }
        let opens = Opens::of(&target.path)?;
        let mut child = self.start(&target.path)?;
        let mut order = vec![image.digest];
        let mut known = HashSet::from([image.digest]);
        let status = watch(&opens, &mut child, &mut |inode| {
            if let Some(&digest) = objects.get(&inode) {
                if known.insert(digest) {
                    order.push(digest);
                }
            }
        })?;
        let objects: Result<_> = order
            .into_iter()
            .map(|digest| {
                let object = repository.open_object(&digest);
                let blocks = object
                    .map_err(anyhow::Error::from)
                    .and_then(|object| cached::blocks(&object));
                Ok(Object {
                    blocks: blocks.with_context(|| repository.name_object(&digest))?,
                    digest,
                })
            })
            .collect();
        let profile = Profile {
            image: image.digest,
            objects: objects?,
        };
        Ok((profile, status))
    }

    fn start(&self, root: &Path) -> Result<Child> {
        let mut words = self.command.iter();
        let mut command = match self.at {
            Some(_) => Command::new(words.next().context("there is no command")?),
            None => {
                let mut command = Command::new("chroot");
                command.arg(root);
                command
            }
        };
        let name = command.get_program().to_owned();
        let child = command.args(words).spawn();
        child.with_context(|| format!("cannot run {}", quote::path(Path::new(&name))))
    }
}

/// The objects of the files of an image, by the numbers of their inodes in a mount.
fn objects(repository: &Repository, image: &Digest) -> Result<HashMap<u64, Digest>> {
    let mut objects = HashMap::new();
    let image = contents::open_file(repository.object(image)?)?;
    contents::visit(&image, &Filter::none(), false, &mut |entry| {
        if let (Some(digest), None) = (entry.record.digest, entry.hard_link) {
            objects.insert(entry.record.inode().node.nid(), digest);
        }
        Ok(())
    })?;
    Ok(objects)
}

/// Tells of inodes that are opened until the command has ended.
fn watch(opens: &Opens, child: &mut Child, opened: &mut dyn FnMut(u64)) -> Result<ExitStatus> {
    let ends = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let mut files = [
            PollFd::new(opens, PollFlags::IN),
            PollFd::new(&ends, PollFlags::IN),
        ];
        match poll(&mut files, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        let status = child.try_wait()?;
        opens.take(opened)?;
        if let Some(status) = status {
            return Ok(status);
        }
    }
}

/// Where the image is mounted.
struct Target {
    path: PathBuf,
    is_temporary: bool,
}

impl Target {
    fn new(at: Option<&Path>) -> Result<Self> {
        let is_temporary = at.is_none();
        let path = at.map_or_else(
            || std::env::temp_dir().join(format!("composefs-record-{}", std::process::id())),
            Path::to_owned,
        );
        if is_temporary {
            std::fs::create_dir(&path).with_context(|| quote::path(&path).to_string())?;
        }
        Ok(Self { path, is_temporary })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The mount ends with the process at the latest.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        if self.is_temporary {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}
