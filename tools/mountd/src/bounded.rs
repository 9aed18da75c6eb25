// SPDX-License-Identifier: GPL-2.0-only
//! A connection that takes only so much: the library would read a hundred megabytes into one
//! message, and any number of descriptors with it.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use zlink::connection::socket::{self, ReadResult, Socket, UnixSocket};
use zlink::unix::Stream;
use zlink::{Error, Result};

/// All that one connection may say, in bytes.
const BYTES: usize = 64 * 1024;
/// The descriptors that it may send.
const DESCRIPTORS: usize = 64;

/// A connection to a caller who is not trusted.
#[derive(Debug)]
pub struct Bounded(Stream);

impl TryFrom<UnixStream> for Bounded {
    type Error = Error;

    fn try_from(stream: UnixStream) -> Result<Self> {
        Ok(Self(stream.try_into()?))
    }
}

impl Socket for Bounded {
    type ReadHalf = BoundedRead;
    type WriteHalf = <Stream as Socket>::WriteHalf;

    const CAN_TRANSFER_FDS: bool = true;

    fn split(self) -> (BoundedRead, Self::WriteHalf) {
        let (read, write) = self.0.split();
        let read = BoundedRead {
            read,
            bytes: BYTES,
            descriptors: DESCRIPTORS,
        };
        (read, write)
    }
}

/// What is read of it.
#[derive(Debug)]
pub struct BoundedRead {
    read: <Stream as Socket>::ReadHalf,
    bytes: usize,
    descriptors: usize,
}

impl socket::ReadHalf for BoundedRead {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<ReadResult> {
        let result = self.read.read(buffer).await?;
        let left = |has: usize, takes: usize| has.checked_sub(takes).ok_or(Error::BufferOverflow);
        self.bytes = left(self.bytes, result.bytes_read())?;
        self.descriptors = left(self.descriptors, result.fds().len())?;
        Ok(result)
    }
}

impl AsFd for BoundedRead {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl UnixSocket for BoundedRead {}
