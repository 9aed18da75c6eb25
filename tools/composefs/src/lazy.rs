// SPDX-License-Identifier: GPL-2.0-only
//! A trigger for a mount, by the service, which is started if it does not run.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use composefs_fetchd::message::Wish;
use composefs_fetchd::{client, SOCKET};
use composefs_tools::quote;
use rustix::fs::CWD;
use rustix::mount::{move_mount, unmount, MoveMountFlags, UnmountFlags};

/// Names another socket.
const VARIABLE: &str = "COMPOSEFS_FETCH_SERVICE";
/// How long the service may take to start.
const START: Duration = Duration::from_secs(10);

/// A trigger that has a path, as long as this is there.
pub struct Trigger {
    path: PathBuf,
}

impl Trigger {
    /// One for what is wished.
    pub fn new(wish: &Wish) -> Result<Self> {
        let socket = std::env::var_os(VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from);
        let service = match client::open(&socket)? {
            Some(service) => service,
            None => start(&socket)?,
        };
        let mount = client::ask(&service, wish)?;
        // By that name the mount shows where its objects come from.
        let around = socket.with_extension("images");
        let path = around.join(format!("{}-{}", wish.image, std::process::id()));
        let context = || format!("cannot mount at {}", quote::path(&path));
        fs::create_dir_all(&path).with_context(context)?;
        let trigger = Self { path: path.clone() };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, "", CWD, &path, flags).with_context(context)?;
        Ok(trigger)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Trigger {
    /// What was mounted with it keeps the file system; nobody else needs it.
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Starts the service, which goes on when this process ends.
fn start(socket: &Path) -> Result<OwnedFd> {
    let begin = Instant::now();
    let log = socket.with_extension("log");
    let context = || {
        format!(
            "cannot start the service that fetches: {}",
            quote::path(&log)
        )
    };
    if let Some(directory) = socket.parent() {
        fs::create_dir_all(directory).with_context(context)?;
    }
    let said = File::options().append(true).create(true).open(&log);
    let mut service = Command::new("/proc/self/exe")
        .arg0("composefs")
        .args(["fetchd", "--socket"])
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.with_context(context)?)
        .spawn()
        .with_context(context)?;
    while begin.elapsed() < START {
        if let Some(service) = client::open(socket)? {
            return Ok(service);
        }
        if service.try_wait()?.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!(
        "the service that fetches does not start: see {}",
        quote::path(&log)
    )
}
