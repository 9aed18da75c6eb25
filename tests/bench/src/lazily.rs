// SPDX-License-Identifier: GPL-2.0-only
//! What is here of an image that is mounted with a service that fetches what is not.

use std::io::stdin;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use composefs_fetchd::demand::Demand;
use composefs_fetchd::fuse::{Connection, Request, BUFFER};
use composefs_fetchd::trigger;
use composefs_selftests::setup;

use crate::detached;
use crate::system::{Subject, System};
use crate::tree::Paths;

/// Records it; nothing is mounted when this begins.
pub fn measure(subject: &Subject, paths: &Paths, device: &str) -> Result<()> {
    setup::modprobe("fuse")?;
    let (connection, directory) = Connection::mount().context("a trigger")?;
    begin(&connection)?;
    // A process of its own: with another thread, each system call here would cost more.
    let mut server = Command::new("/proc/self/exe")
        .args(["/", "trigger", "", ""])
        .stdin(Stdio::from(connection.file().try_clone()?))
        .spawn()
        .context("the server")?;
    let mount = detached::mount(subject, Some(directory.as_fd()));
    drop(directory);
    detached::attach(mount?, subject)?;
    detached::operations(System::Lazy, subject, paths, device)?;
    // It ends with the last mount that has the trigger.
    ensure!(server.wait()?.success(), "the server has failed");
    Ok(())
}

/// Answers what the kernel asks first: only then can another process go on.
fn begin(connection: &Connection) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let message = connection.read(&mut buffer)?;
    let request = message.and_then(Request::parse).context("no request")?;
    Ok(connection.begin(request.unique)?)
}

/// Serves the trigger whose connection is on stdin.
pub fn serve() -> Result<()> {
    let connection = Connection::resume(stdin().as_fd().try_clone_to_owned()?)?;
    trigger::serve(connection, &Demand::default())
}
