// SPDX-License-Identifier: GPL-2.0-only
//! A process that serves triggers. What it needs to go on where another one ended, its keeper has.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};
use composefs_tools::journal;
use composefs_tools::lock::lock;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};

use crate::demand::Demand;
use crate::fuse::Connection;
use crate::image;
use crate::message::{receive, send, Answer, Keep, Wish};
use crate::trigger;

/// An image that is served, and how many triggers it has.
type Served = HashMap<(PathBuf, String, bool), (Arc<Demand>, usize)>;

struct Service {
    keeper: OwnedFd,
    served: Mutex<Served>,
    next: AtomicU64,
}

/// Serves, as long as there is a keeper at the other end of `keeper`.
///
/// # Errors
/// If that cannot go on.
pub fn run(keeper: OwnedFd) -> Result<()> {
    let service = Arc::new(Service {
        keeper,
        served: Mutex::default(),
        next: AtomicU64::new(0),
    });
    let mut listener = None;
    loop {
        let mut files = vec![PollFd::new(&service.keeper, PollFlags::IN)];
        files.extend(listener.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut files, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        let is_ready = |file: &PollFd| !file.revents().is_empty();
        let has_keeper_said = files.first().is_some_and(is_ready);
        let calls = files.get(1).is_some_and(is_ready);
        if has_keeper_said {
            match receive(&service.keeper).context("the keeper")? {
                None => return Ok(()),
                Some((Keep::Listen, fd)) => listener = fd,
                Some((Keep::Trigger(number, wish), Some(fd))) => service.resume(number, wish, fd),
                Some(_) => {}
            }
        }
        if let Some(listener) = listener.as_ref().filter(|_| calls) {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(caller) => {
                    let service = service.clone();
                    thread::spawn(move || service.call(&caller));
                }
                Err(error) => journal::warning(&format!("cannot take a call: {error}")),
            }
        }
    }
}

impl Service {
    /// Goes on with a trigger that another process served.
    fn resume(self: &Arc<Self>, number: u64, wish: Wish, device: OwnedFd) {
        self.next.fetch_max(number + 1, Ordering::Relaxed);
        let service = self.clone();
        thread::spawn(move || {
            let demand = service.demand(&wish).and_then(|demand| {
                let connection = Connection::resume(device).context("cannot go on");
                connection.map(|connection| (connection, demand))
            });
            match demand {
                Ok((connection, demand)) => service.serve(number, &wish, connection, &demand),
                Err(error) => {
                    journal::warning(&format!("image {}: {error:#}", wish.image));
                    service.forget(number);
                }
            }
        });
    }

    /// Hears what somebody wishes, and does it.
    fn call(self: &Arc<Self>, caller: &OwnedFd) {
        let wish: Wish = match receive(caller) {
            Ok(Some((wish, _))) => wish,
            Ok(None) => return,
            Err(error) => return answer(caller, Some(error.to_string()), None),
        };
        match self.begin(&wish) {
            Ok(mount) => {
                journal::notice(&format!(
                    "image {}: objects that are missing in {} are fetched when they are opened",
                    wish.image,
                    wish.repository.display()
                ));
                answer(caller, None, Some(&mount));
            }
            Err(error) => {
                let error = format!("{error:#}");
                journal::warning(&error);
                answer(caller, Some(error), None);
            }
        }
    }

    /// Makes a trigger, and serves it.
    fn begin(self: &Arc<Self>, wish: &Wish) -> Result<OwnedFd> {
        let demand = self.demand(wish)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let made = Connection::mount().context("cannot make a FUSE file system");
        let made = made.and_then(|(connection, mount)| {
            let keep = Keep::Trigger(number, wish.clone());
            send(&self.keeper, &keep, Some(connection.file().as_fd()))?;
            Ok((connection, mount))
        });
        let (connection, mount) = match made {
            Ok(made) => made,
            Err(error) => {
                self.leave(wish);
                return Err(error);
            }
        };
        let (service, wish) = (self.clone(), wish.clone());
        thread::spawn(move || service.serve(number, &wish, connection, &demand));
        Ok(mount)
    }

    fn serve(&self, number: u64, wish: &Wish, connection: Connection, demand: &Demand) {
        match trigger::serve(connection, demand) {
            Ok(()) => journal::notice(&format!("image {}: is unmounted", wish.image)),
            Err(error) => journal::warning(&format!("image {}: {error:#}", wish.image)),
        }
        self.leave(wish);
        self.forget(number);
    }

    /// What is waited for of an image, which is served from now on if it was not.
    fn demand(&self, wish: &Wish) -> Result<Arc<Demand>> {
        let key = key(wish);
        if let Some(demand) = join(&mut lock(&self.served), &key) {
            return Ok(demand);
        }
        // A repository that does not answer is to hold up nobody else.
        let new = image::start(wish)?;
        let mut served = lock(&self.served);
        if let Some(demand) = join(&mut served, &key) {
            new.end();
            return Ok(demand);
        }
        served.insert(key, (new.clone(), 1));
        Ok(new)
    }

    /// One trigger of an image is not in use any more.
    fn leave(&self, wish: &Wish) {
        let mut served = lock(&self.served);
        let key = key(wish);
        if let Some((demand, users)) = served.get_mut(&key) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                demand.end();
                served.remove(&key);
            }
        }
    }

    fn forget(&self, number: u64) {
        // A keeper that is gone keeps nothing.
        let _ = send(&self.keeper, &Keep::Forget(number), None);
    }
}

/// What is waited for of an image that is served already, for one more trigger.
fn join(served: &mut Served, key: &(PathBuf, String, bool)) -> Option<Arc<Demand>> {
    let (demand, users) = served.get_mut(key)?;
    if demand.is_over() {
        return None;
    }
    *users += 1;
    Some(demand.clone())
}

fn key(wish: &Wish) -> (PathBuf, String, bool) {
    (wish.repository.clone(), wish.image.clone(), wish.fill)
}

fn answer(caller: &OwnedFd, error: Option<String>, mount: Option<&OwnedFd>) {
    let sent: io::Result<()> = send(caller, &Answer { error }, mount.map(AsFd::as_fd));
    if let Err(error) = sent {
        journal::warning(&format!("whoever asked is gone: {error}"));
    }
}
