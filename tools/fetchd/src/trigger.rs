// SPDX-License-Identifier: GPL-2.0-only
//! A trigger: a file system with 256 empty directories, in which a lookup takes as long as it takes to
//! fetch the object that would have that name.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use composefs_tools::fsverity::Digest;
use composefs_tools::journal;
use composefs_tools::lock::lock;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::demand::{Demand, Outcome};
use crate::fuse::{Connection, Kind, Request, BUFFER, ROOT};

/// The number of the directory of objects whose names begin with `00`.
const FIRST: u64 = ROOT + 1;
/// How often it is looked whether somebody was killed who got a signal.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Lookups without an answer, and the threads that wait for them. Who takes one out answers it.
type Lookups = Mutex<HashMap<u64, u32>>;

/// Serves it until it is not in use any more.
///
/// # Errors
/// If the kernel cannot be understood.
pub fn serve(connection: Connection, demand: &Demand) -> Result<()> {
    let trigger = Trigger {
        connection: Arc::new(connection),
        lookups: Arc::default(),
        demand,
    };
    let mut buffer = vec![0; BUFFER];
    // Threads that have a signal, but may not have been killed.
    let mut signalled = Vec::new();
    loop {
        if trigger.has_request(!signalled.is_empty())? {
            let message = trigger.connection.read(&mut buffer);
            let Some(message) = message.context("cannot hear the kernel")? else {
                return Ok(());
            };
            let Some(request) = Request::parse(message) else {
                continue;
            };
            match request.kind {
                Kind::Interrupt(unique) => signalled.push(unique),
                _ => trigger
                    .answer(&request)
                    .context("cannot answer the kernel")?,
            }
        }
        signalled.retain(|&unique| trigger.waits_on(unique));
    }
}

struct Trigger<'a> {
    connection: Arc<Connection>,
    lookups: Arc<Lookups>,
    demand: &'a Demand,
}

impl Trigger<'_> {
    /// Waits for a request, or for no longer than until it is time to look again.
    fn has_request(&self, looks: bool) -> io::Result<bool> {
        let mut files = [PollFd::new(self.connection.file(), PollFlags::IN)];
        match poll(&mut files, looks.then_some(&LOOK)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&self, request: &Request) -> io::Result<()> {
        let unique = request.unique;
        match &request.kind {
            Kind::Init => self.connection.begin(unique),
            Kind::Attributes(node) => self.connection.attributes(unique, *node),
            Kind::Lookup { parent: ROOT, name } => match byte(name) {
                Some(byte) => self.connection.directory(unique, FIRST + u64::from(byte)),
                None => self.connection.error(unique, Errno::NOENT),
            },
            Kind::Lookup { parent, name } => match object(*parent, name) {
                Some(digest) => {
                    self.want(request, digest);
                    Ok(())
                }
                None => self.connection.error(unique, Errno::NOENT),
            },
            Kind::Other => self.connection.error(unique, Errno::NOSYS),
            Kind::Interrupt(_) | Kind::Nothing => Ok(()),
        }
    }

    /// Has an object fetched, and then answers.
    fn want(&self, request: &Request, digest: Digest) {
        let unique = request.unique;
        lock(&self.lookups).insert(unique, request.thread);
        let (lookups, connection) = (self.lookups.clone(), self.connection.clone());
        let waiter = move |outcome| {
            if lock(&lookups).remove(&unique).is_some() {
                let error = match outcome {
                    Outcome::Settled => Errno::NOENT,
                    Outcome::Failed => Errno::IO,
                };
                tell(connection.error(unique, error));
            }
        };
        self.demand.add(digest, Box::new(waiter));
    }

    /// Whether somebody who got a signal waits for a lookup, and was not killed by it. Who was does not
    /// wait any longer. Others do: programs do not expect that a signal keeps a file from being
    /// opened.
    fn waits_on(&self, unique: u64) -> bool {
        let mut lookups = lock(&self.lookups);
        let Some(&thread) = lookups.get(&unique) else {
            return false;
        };
        if !is_killed(thread) {
            return true;
        }
        lookups.remove(&unique);
        drop(lookups);
        tell(self.connection.error(unique, Errno::INTR));
        false
    }
}

/// An answer that cannot be given is one that nobody waits for.
fn tell(answered: io::Result<()>) {
    if let Err(error) = answered {
        if Errno::from_io_error(&error) != Some(Errno::NODEV) {
            journal::warning(&format!("cannot answer the kernel: {error}"));
        }
    }
}

/// Whether a thread is about to die, or cannot be seen from here.
fn is_killed(thread: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else {
        return true;
    };
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.and_then(|pending| u64::from_str_radix(pending.trim(), 16).ok());
    // SIGKILL, which is also what other fatal signals become.
    pending.is_some_and(|pending| pending & 1 << 8 != 0)
}

/// What two digits say.
fn byte(name: &[u8]) -> Option<u8> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = name.len() == 2 && name.iter().all(is_digit);
    let digits = std::str::from_utf8(name).ok().filter(|_| digits)?;
    u8::from_str_radix(digits, 16).ok()
}

/// The object that has this name in a directory.
fn object(directory: u64, name: &[u8]) -> Option<Digest> {
    let byte = u8::try_from(directory.checked_sub(FIRST)?).ok()?;
    let hex = [format!("{byte:02x}").as_bytes(), name].concat();
    let digest = Digest::parse_hex(&hex).ok()?;
    (digest.to_string().as_bytes() == hex).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        assert_eq!(byte(b"a7"), Some(0xa7));
        for wrong in ["A7", "a", "a7b", "+1", "g0", ""] {
            assert_eq!(byte(wrong.as_bytes()), None, "{wrong}");
        }
        let rest = "cd".repeat(31);
        let digest = object(FIRST + 0xa7, rest.as_bytes());
        assert_eq!(
            digest.map(|digest| digest.to_string()),
            Some(format!("a7{rest}"))
        );
        assert_eq!(object(FIRST + 256, rest.as_bytes()), None);
        assert_eq!(object(ROOT, rest.as_bytes()), None);
        assert_eq!(object(FIRST, rest.to_uppercase().as_bytes()), None);
        assert_eq!(object(FIRST, b"cd"), None);
    }

    #[test]
    fn this_thread_lives() {
        assert!(!is_killed(std::process::id()));
        assert!(is_killed(u32::MAX));
    }
}
