// SPDX-License-Identifier: GPL-2.0-only
//! The mounts that were granted and are still there, by user. Nothing keeps them: a watch on the root
//! of each tells when its file system is gone.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags};
use rustix::io::{self, Errno};

use crate::config::Limits;
use crate::control::Answer;
use crate::user::User;

/// All watches.
pub struct Watches {
    events: OwnedFd,
    users: HashMap<i32, User>,
}

impl Watches {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            events: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            users: HashMap::new(),
        })
    }

    /// A watch was set on a mount of the user: whether it may stay. If not, its end is heard of all
    /// the same.
    pub fn add(&mut self, watch: i32, user: User, limits: &Limits) -> Answer {
        let of_user = self.users.values().filter(|&&other| other == user).count();
        if self.users.len() >= limits.mounts {
            return Answer::TooMany;
        }
        if of_user >= limits.mounts_of_user {
            return Answer::TooManyOfUser;
        }
        self.users.insert(watch, user);
        Answer::Yes
    }

    /// The watches whose mounts are gone, since the last time.
    pub fn gone(&self) -> io::Result<Gone> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        let mut gone = Gone::default();
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    gone.watches.push(event.wd());
                }
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    gone.is_more = true;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(gone),
                Err(error) => return Err(error),
            }
        }
    }

    /// Forgets them. Whatever workers have said before these went has to be added before.
    pub fn forget(&mut self, gone: &Gone) -> io::Result<()> {
        for watch in &gone.watches {
            self.users.remove(watch);
        }
        if gone.is_more {
            let there = self.there()?;
            self.users.retain(|watch, _| there.contains(watch));
        }
        Ok(())
    }

    /// All watches that there are, by what the kernel says of the descriptor.
    fn there(&self) -> io::Result<HashSet<i32>> {
        let path = format!("/proc/self/fdinfo/{}", self.events.as_raw_fd());
        let text = std::fs::read_to_string(path).map_err(|_| Errno::IO)?;
        let number = |line: &str| {
            let number = line.strip_prefix("inotify wd:")?.split(' ').next()?;
            i32::from_str_radix(number, 16).ok()
        };
        Ok(text.lines().filter_map(number).collect())
    }
}

/// What is gone.
#[derive(Debug, Default)]
pub struct Gone {
    watches: Vec<i32>,
    /// The kernel had more to say than it could keep.
    is_more: bool,
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::inotify::WatchFlags;

    #[test]
    fn what_is_gone_counts_no_more() {
        let limits = Limits {
            mounts: 3,
            mounts_of_user: 2,
            ..Limits::default()
        };
        let mut watches = Watches::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (User(1), User(2));
        let add = |watches: &mut Watches, name: &str, user| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            let watch = inotify::add_watch(&*watches, &path, WatchFlags::DELETE_SELF).unwrap();
            watches.add(watch, user, &limits)
        };
        assert_eq!(add(&mut watches, "a", one), Answer::Yes);
        assert_eq!(add(&mut watches, "b", one), Answer::Yes);
        assert_eq!(add(&mut watches, "c", one), Answer::TooManyOfUser);
        assert_eq!(add(&mut watches, "d", other), Answer::Yes);
        assert_eq!(add(&mut watches, "e", other), Answer::TooMany);
        std::fs::remove_file(directory.path().join("a")).unwrap();
        let gone = watches.gone().unwrap();
        watches.forget(&gone).unwrap();
        assert_eq!(add(&mut watches, "f", one), Answer::Yes);
        assert_eq!(add(&mut watches, "g", one), Answer::TooMany);
        // What the kernel could not say is found out.
        std::fs::remove_file(directory.path().join("b")).unwrap();
        let gone = Gone {
            is_more: true,
            ..Gone::default()
        };
        watches.forget(&gone).unwrap();
        assert_eq!(add(&mut watches, "h", other), Answer::Yes);
    }
}
