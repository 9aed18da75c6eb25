// SPDX-License-Identifier: GPL-2.0-only
//! What is said over sockets: texts in JSON, each with at most one open file.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of a text.
const MAX: usize = 16 << 10;

/// A trigger that somebody wishes to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Where the repository is.
    pub repository: PathBuf,
    /// The digest of the image, in hexadecimal.
    pub image: String,
    /// Whether what nobody waits for is to be fetched as well.
    pub fill: bool,
}

/// The answer, with a mount that is nowhere yet unless it is an error.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Why there is none.
    pub error: Option<String>,
}

/// What a server has its keeper do, which says the first of it to a server that starts.
#[derive(Debug, Serialize, Deserialize)]
pub enum Keep {
    /// To keep a connection, which comes along.
    Trigger(u64, Wish),
    /// To forget it.
    Forget(u64),
    /// The socket that is listened at, which comes along.
    Listen,
}

/// Says something. A socket of packets sends it whole, or not at all.
///
/// # Errors
/// If nobody listens any more.
pub fn send(socket: impl AsFd, what: &impl Serialize, fd: Option<BorrowedFd>) -> io::Result<()> {
    let text = serde_json::to_vec(what)?;
    let fds: Vec<_> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let flags = SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(&text)], &mut control, flags)?;
    Ok(())
}

/// Hears something; `None` if nothing more will be said.
///
/// # Errors
/// If it cannot be understood.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; MAX];
    let mut bytes = [IoSliceMut::new(&mut text)];
    let received = recvmsg(&socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let text = text.get(..received.bytes).unwrap_or_default();
    match text.is_empty() {
        true => Ok(None),
        false => Ok(Some((serde_json::from_slice(text)?, fd))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};

    #[test]
    fn texts_and_files_arrive() -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let wish = Wish {
            repository: "/r".into(),
            image: "ab".into(),
            fill: true,
        };
        send(&one, &wish, Some(one.as_fd()))?;
        send(&one, &wish, None)?;
        let heard = receive::<Wish>(&other)?;
        assert!(heard.is_some_and(|(heard, fd)| heard == wish && fd.is_some()));
        let heard = receive::<Wish>(&other)?;
        assert!(heard.is_some_and(|(_, fd)| fd.is_none()));
        send(&one, &Answer { error: None }, None)?;
        assert!(receive::<Wish>(&other).is_err());
        drop(one);
        assert!(receive::<Wish>(&other)?.is_none());
        Ok(())
    }
}
