// SPDX-License-Identifier: GPL-2.0-only
//! The mounts that were granted and are still there, by user. Nothing of the service's keeps them, or
//! watches them, which would cost whoever reads there.

use std::collections::HashMap;

use crate::config::Limits;
use crate::control::Answer;
use crate::session::Session;
use crate::user::User;

/// All that were counted, by the session that each was made in.
#[derive(Default)]
pub struct Mounts {
    users: HashMap<Session, User>,
}

impl Mounts {
    /// Counts a mount of the user's, if there may be one more. What went since is looked for only when
    /// there are too many.
    pub fn add(&mut self, session: Session, user: User, limits: &Limits) -> Answer {
        if self.of(user) >= limits.mounts_of_user {
            self.users
                .retain(|&session, &mut other| other != user || session.is_held());
            if self.of(user) >= limits.mounts_of_user {
                return Answer::TooManyOfUser;
            }
        }
        if self.users.len() >= limits.mounts {
            self.users.retain(|&session, _| session.is_held());
            if self.users.len() >= limits.mounts {
                return Answer::TooMany;
            }
        }
        self.users.insert(session, user);
        Answer::Yes
    }

    fn of(&self, user: User) -> usize {
        self.users.values().filter(|&&other| other == user).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{channel, Sender};
    use std::thread::{spawn, JoinHandle};
    use std::time::Duration;

    /// A thread in a session of its own, which lasts until it is told to end.
    struct Mounter {
        session: Session,
        end: Sender<()>,
        thread: JoinHandle<()>,
    }

    impl Mounter {
        fn begin() -> Self {
            let (tell, told) = channel();
            let (end, ended) = channel();
            let thread = spawn(move || {
                tell.send(Session::begin().unwrap()).unwrap();
                ended.recv().unwrap();
            });
            Self {
                session: told.recv().unwrap(),
                end,
                thread,
            }
        }

        fn end(self) {
            self.end.send(()).unwrap();
            self.thread.join().unwrap();
            // The kernel lets go of credentials some time later.
            while self.session.is_held() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn what_is_gone_counts_no_more() {
        let limits = Limits {
            mounts: 3,
            mounts_of_user: 2,
            ..Limits::default()
        };
        let mut mounts = Mounts::default();
        let (one, other) = (User(1), User(2));
        let [a, b, c, d, e] = std::array::from_fn(|_| Mounter::begin());
        let mut add = |mounter: &Mounter, user| mounts.add(mounter.session, user, &limits);
        assert_eq!(add(&a, one), Answer::Yes);
        assert_eq!(add(&b, one), Answer::Yes);
        assert_eq!(add(&c, one), Answer::TooManyOfUser);
        assert_eq!(add(&d, other), Answer::Yes);
        assert_eq!(add(&e, other), Answer::TooMany);
        a.end();
        assert_eq!(add(&c, one), Answer::Yes);
        assert_eq!(add(&e, other), Answer::TooMany);
        // One of another user's makes room for all.
        b.end();
        assert_eq!(add(&e, other), Answer::Yes);
        assert_eq!(add(&c, one), Answer::TooMany);
    }
}
