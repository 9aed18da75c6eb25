// SPDX-License-Identifier: GPL-2.0-only
//! Between the service and a worker: in which session the worker is to make a mount, and whether there
//! may be one more.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::{self, Errno};
use rustix::net::{recv, send, RecvFlags, SendFlags};

use crate::interface::Error;
use crate::session::Session;

/// How long a worker waits before it asks again, where there are too many: what the kernel keeps of a
/// mount goes some time after it. Each time it is twice as long, for the service has to look at all of
/// them.
const PAUSE: Duration = Duration::from_millis(10);
/// How often it asks again: 1.3 s in all.
const ATTEMPTS: u32 = 7;

/// What the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There may be one more.
    Yes,
    /// The user has too many.
    TooManyOfUser,
    /// There are too many.
    TooMany,
}

impl Answer {
    fn to_byte(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::TooManyOfUser => 1,
            Self::TooMany => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Yes, Self::TooManyOfUser, Self::TooMany]
            .into_iter()
            .find(|answer| answer.to_byte() == byte)
    }
}

/// The session in which a worker is to make a mount; `None` if it has ended, or not yet.
pub fn receive_session(worker: impl AsFd) -> io::Result<Option<Session>> {
    let mut bytes = [0; 4];
    match recv(worker, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((4, _)) => Ok(Session::from_bytes(bytes)),
        Ok(_) | Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tells a worker whether there may be one more.
pub fn answer(worker: impl AsFd, answer: Answer) -> io::Result<()> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    send(worker, &[answer.to_byte()], flags).map(drop)
}

/// The worker's end.
pub struct Control(pub OwnedFd);

impl Control {
    /// Has the service count a mount, which this process is to make next, for as long as it is there.
    pub fn count(&self) -> Result<(), Error> {
        let failed = |error: Errno| Error::Failed {
            reason: format!("cannot count the mount: {error}"),
        };
        let session = Session::begin().map_err(failed)?;
        let mut answer = self.ask(session).map_err(failed)?;
        for attempt in 0..ATTEMPTS {
            if answer == Answer::Yes {
                break;
            }
            std::thread::sleep(PAUSE * 2_u32.pow(attempt));
            answer = self.ask(session).map_err(failed)?;
        }
        let limit = |whose: &str| {
            Err(Error::LimitReached {
                reason: format!("{whose} as many mounts as there may be"),
            })
        };
        match answer {
            Answer::Yes => Ok(()),
            Answer::TooManyOfUser => limit("the caller has"),
            Answer::TooMany => limit("all users together have"),
        }
    }

    fn ask(&self, session: Session) -> io::Result<Answer> {
        send(&self.0, &session.to_bytes(), SendFlags::NOSIGNAL)?;
        // A service that is gone says nothing.
        let mut byte = [u8::MAX];
        recv(&self.0, &mut byte, RecvFlags::empty())?;
        Answer::from_byte(byte[0]).ok_or(Errno::BADMSG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        for answer in [Answer::Yes, Answer::TooManyOfUser, Answer::TooMany] {
            assert_eq!(Answer::from_byte(answer.to_byte()), Some(answer));
        }
        assert_eq!(Answer::from_byte(3), None);
    }
}
