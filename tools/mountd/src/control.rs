// SPDX-License-Identifier: GPL-2.0-only
//! Between the service and a worker: in which session the worker is to make a mount, whether there may
//! be one more, and what the worker decides.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use composefs_tools::journal;
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

/// What a worker says.
pub enum Said {
    /// In which session it is to make a mount.
    Session(Session),
    /// What it has decided, for the journal.
    Decision(String),
}

/// How messages of each kind begin.
const SESSION: u8 = b's';
const DECISION: u8 = b'd';
/// The longest message, in bytes.
const MAX: usize = 1024;

/// What a worker says; `None` if it has ended, or says nothing at present.
pub fn hear(worker: impl AsFd) -> io::Result<Option<Said>> {
    let mut bytes = [0; MAX];
    let length = match recv(worker, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((length, _)) => length,
        Err(Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match bytes.get(..length) {
        Some([SESSION, number @ ..]) => {
            let number = number.try_into().ok();
            number.and_then(Session::from_bytes).map(Said::Session)
        }
        Some([DECISION, text @ ..]) => {
            Some(Said::Decision(String::from_utf8_lossy(text).into_owned()))
        }
        _ => None,
    })
}

/// Tells a worker whether there may be one more; or that its decision was written down, with
/// [`Answer::Yes`].
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

    /// Has the service write a decision into the journal, before anybody else hears of it. This
    /// process is in the caller's control group, and what it writes there by itself would be taken for
    /// the caller's.
    pub fn decide(&self, text: &str) {
        let message = [&[DECISION], text.as_bytes()].concat();
        let message = message.get(..MAX).unwrap_or(&message);
        if self.send(message).is_err() {
            // The service is gone: better there than nowhere.
            journal::notice(text);
        }
    }

    fn ask(&self, session: Session) -> io::Result<Answer> {
        self.send(&[&[SESSION][..], &session.to_bytes()].concat())
    }

    fn send(&self, message: &[u8]) -> io::Result<Answer> {
        send(&self.0, message, SendFlags::NOSIGNAL)?;
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
