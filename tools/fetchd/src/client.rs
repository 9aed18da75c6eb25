// SPDX-License-Identifier: GPL-2.0-only
//! Asks the service for a trigger.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use rustix::io::Errno;
use rustix::net::{
    bind, connect, listen, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::message::{receive, send, Answer, Wish};

/// As many callers may wait as nobody has seen at once.
const BACKLOG: i32 = 128;

/// A socket on which the service can be asked; `None` if it does not run.
///
/// # Errors
/// If it cannot be asked for another reason.
pub fn open(path: &Path) -> Result<Option<OwnedFd>> {
    let context = || format!("cannot ask the service at {}", path.display());
    let socket = socket()?;
    let address = SocketAddrUnix::new(path).with_context(context)?;
    match connect(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

/// Asks for a trigger: the mount of one, which is nowhere yet.
///
/// # Errors
/// If there is none, with what the service says of it.
pub fn ask(service: &OwnedFd, wish: &Wish) -> Result<OwnedFd> {
    send(service, wish, None).context("the service does not listen")?;
    let answer = receive(service).context("the service does not answer")?;
    let Some((Answer { error }, mount)) = answer else {
        bail!("the service ends without an answer");
    };
    match error {
        Some(error) => Err(anyhow!("{error}")),
        None => mount.ok_or_else(|| anyhow!("the service sends no mount")),
    }
}

/// A socket at which a service listens.
///
/// # Errors
/// If somebody else does.
pub fn listen_at(path: &Path) -> Result<OwnedFd> {
    let context = || format!("cannot listen at {}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(context)?;
    }
    if open(path)?.is_none() {
        // That of a service that is gone.
        let _ = std::fs::remove_file(path);
    }
    let socket = socket()?;
    let address = SocketAddrUnix::new(path).with_context(context)?;
    bind(&socket, &address).with_context(context)?;
    listen(&socket, BACKLOG).with_context(context)?;
    Ok(socket)
}

fn socket() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    socket.context("cannot make a socket")
}
