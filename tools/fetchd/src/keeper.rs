// SPDX-License-Identifier: GPL-2.0-only
//! Keeps the connections of triggers for a process that serves them, and starts another one when it
//! ends. Whoever waits for an object then waits a little longer; when the keeper ends, they get an error.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use composefs_tools::journal;
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};

use crate::message::{receive, send, Keep, Wish};

/// A server that has lived for less is not started again at once.
const SHORT: Duration = Duration::from_secs(2);
/// How long that takes, the first time and at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Keeps what servers have, of which `command` starts one, with its stdin to speak to.
///
/// # Errors
/// If none can be started even for the first time.
pub fn run(listener: &OwnedFd, command: impl Fn() -> Command) -> Result<()> {
    let mut kept = BTreeMap::new();
    let mut pause = PAUSE;
    loop {
        let begin = Instant::now();
        if let Err(error) = serve(listener, &mut kept, &command) {
            journal::warning(&format!("{error:#}"));
        }
        pause = match begin.elapsed() < SHORT {
            true => (pause * 2).min(PAUSE_MAX),
            false => PAUSE,
        };
        thread::sleep(pause);
    }
}

type Kept = BTreeMap<u64, (Wish, OwnedFd)>;

/// Has one server serve until it ends.
fn serve(listener: &OwnedFd, kept: &mut Kept, command: impl Fn() -> Command) -> Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let mut command = command();
    let mut server = command
        .stdin(Stdio::from(theirs))
        .spawn()
        .context("cannot start a server")?;
    drop(command);
    let heard = send_all(&ours, listener, kept).and_then(|()| listen(&ours, kept));
    // Nothing that it could say would be heard.
    let _ = server.kill();
    let status = server.wait()?;
    heard.with_context(|| format!("the server has ended: {status}"))
}

fn send_all(server: &OwnedFd, listener: &OwnedFd, kept: &Kept) -> Result<()> {
    send(server, &Keep::Listen, Some(listener.as_fd()))?;
    for (&number, (wish, connection)) in kept {
        let keep = Keep::Trigger(number, wish.clone());
        send(server, &keep, Some(connection.as_fd()))?;
    }
    Ok(())
}

fn listen(server: &OwnedFd, kept: &mut Kept) -> Result<()> {
    while let Some((keep, fd)) = receive(server)? {
        match (keep, fd) {
            (Keep::Trigger(number, wish), Some(connection)) => {
                kept.insert(number, (wish, connection));
            }
            (Keep::Forget(number), _) => drop(kept.remove(&number)),
            (Keep::Trigger(_, _), None) | (Keep::Listen, _) => {}
        }
    }
    Err(anyhow::anyhow!("it says nothing any more"))
}
