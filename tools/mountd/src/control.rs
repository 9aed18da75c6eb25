// SPDX-License-Identifier: GPL-2.0-only
//! Between the service and a worker: which watch tells when the worker's mount is gone, and whether
//! there may be one more.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::inotify::{add_watch, WatchFlags};
use rustix::io::{self, Errno};
use rustix::net::{
    recv, recvmsg, send, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::interface::Error;

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

/// Sends a worker what tells the service that mounts are gone.
pub fn send_watches(worker: impl AsFd, watches: impl AsFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [watches.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(
        worker,
        &[IoSlice::new(b"w")],
        &mut control,
        SendFlags::empty(),
    )
    .map(drop)
}

/// The number of the watch that a worker has set; `None` if it has ended, or not yet.
pub fn receive_watch(worker: impl AsFd) -> io::Result<Option<i32>> {
    let mut bytes = [0; 4];
    match recv(worker, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((4, _)) => Ok(Some(i32::from_le_bytes(bytes))),
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
pub struct Control {
    socket: OwnedFd,
    watches: OwnedFd,
}

impl Control {
    /// Takes what the service sends first.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        recvmsg(&socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let watches = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let watches = watches.ok_or(Errno::BADMSG)?;
        Ok(Self { socket, watches })
    }

    /// Has the service count a mount for as long as it is there.
    pub fn count(&self, mount: &OwnedFd) -> Result<(), Error> {
        let failed = |error: Errno| Error::Failed {
            reason: format!("cannot count the mount: {error}"),
        };
        // The kernel says by itself when the file system is gone.
        let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
        let watch = add_watch(&self.watches, path, WatchFlags::DELETE_SELF).map_err(failed)?;
        send(&self.socket, &watch.to_le_bytes(), SendFlags::NOSIGNAL).map_err(failed)?;
        // A service that is gone says nothing.
        let mut byte = [u8::MAX];
        recv(&self.socket, &mut byte, RecvFlags::empty()).map_err(failed)?;
        let limit = |whose: &str| {
            Err(Error::LimitReached {
                reason: format!("{whose} as many mounts as there may be"),
            })
        };
        match Answer::from_byte(byte[0]) {
            Some(Answer::Yes) => Ok(()),
            Some(Answer::TooManyOfUser) => limit("the caller has"),
            Some(Answer::TooMany) => limit("all users together have"),
            None => Err(failed(Errno::BADMSG)),
        }
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
