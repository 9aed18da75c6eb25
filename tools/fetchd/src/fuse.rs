// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel's FUSE says to a server of directories, and what it is told. Source:
//! `include/uapi/linux/fuse.h`.
//!
//! The crates that speak FUSE either answer no INTERRUPT, so that whoever waits for an object could
//! not be killed, or cannot go on with a connection that another process has begun. This is the little
//! of it that a trigger needs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, FsMountFlags,
    FsOpenFlags, MountAttrFlags,
};

/// The least that a buffer for requests must be, in bytes.
pub const BUFFER: usize = 8192;
const IN_HEADER: usize = 40;
/// The version that is spoken: 7.31.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// Names in one directory are looked up at the same time.
const PARALLEL_DIROPS: u32 = 1 << 18;
const NOTIFY_RESEND: i32 = 7;
/// How long the kernel may remember a directory, in seconds.
const REMEMBER: u64 = 3600;

/// The root directory.
pub const ROOT: u64 = 1;

/// What the kernel says.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The number to answer to.
    pub unique: u64,
    /// The thread for which it is asked, as far as it can be seen from here.
    pub thread: u32,
    /// What it asks.
    pub kind: Kind<'a>,
}

/// What the kernel asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// To begin.
    Init,
    /// For a name in a directory.
    Lookup {
        /// The directory's number.
        parent: u64,
        /// The name.
        name: &'a [u8],
    },
    /// For the attributes of a directory.
    Attributes(u64),
    /// Whoever made the request of this number has got a signal.
    Interrupt(u64),
    /// Nothing: it only says something.
    Nothing,
    /// Something else.
    Other,
}

impl<'a> Request<'a> {
    /// Reads what the kernel wrote.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (header, body) = message.split_at_checked(IN_HEADER)?;
        let opcode = word(header, 4)?;
        let node = long(header, 16)?;
        let kind = match opcode {
            1 => Kind::Lookup {
                parent: node,
                name: body.strip_suffix(b"\0")?,
            },
            2 | 42 => Kind::Nothing,
            3 => Kind::Attributes(node),
            26 => Kind::Init,
            36 => Kind::Interrupt(long(body, 0)?),
            _ => Kind::Other,
        };
        Some(Self {
            unique: long(header, 8)?,
            thread: word(header, 32)?,
            kind,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*bytes))
}

/// A connection to the kernel.
#[derive(Debug)]
pub struct Connection(File);

impl Connection {
    /// Makes a file system, and the mount of it, which is nowhere yet.
    ///
    /// # Errors
    /// If there is no FUSE, or it may not be used.
    pub fn mount() -> io::Result<(Self, OwnedFd)> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty())?;
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in [
            ("source", "composefs-fetchd"),
            ("fd", &device.as_raw_fd().to_string()),
            ("rootmode", "40000"),
            ("user_id", "0"),
            ("group_id", "0"),
        ] {
            fsconfig_set_string(&context, key, value)?;
        }
        for key in ["ro", "default_permissions", "allow_other"] {
            fsconfig_set_flag(&context, key)?;
        }
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok((Self(device.into()), mount))
    }

    /// One that another process has begun: what it was asked and has not answered is asked again.
    ///
    /// # Errors
    /// If the kernel does not know how.
    pub fn resume(device: OwnedFd) -> io::Result<Self> {
        let connection = Self(device.into());
        match connection.write(0, NOTIFY_RESEND, &[]) {
            Ok(()) => Ok(connection),
            // It is over; reading it says so.
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
                Ok(connection)
            }
            Err(error) => Err(error),
        }
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// The next request; `None` if the file system is gone.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        loop {
            match (&self.0).read(buffer) {
                Ok(length) => return Ok(buffer.get(..length)),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
                    // Whoever asked does not wait any more.
                    Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Answers that it begins.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&self, unique: u64) -> io::Result<()> {
        let mut answer = Vec::new();
        for word in [MAJOR, MINOR, 0, PARALLEL_DIROPS, 0, 4096, 1] {
            answer.extend(word.to_ne_bytes());
        }
        answer.resize(64, 0);
        self.write(unique, 0, &answer)
    }

    /// Answers that there is such a directory.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn directory(&self, unique: u64, node: u64) -> io::Result<()> {
        let mut answer = Vec::new();
        for long in [node, 0, REMEMBER, REMEMBER, 0] {
            answer.extend(long.to_ne_bytes());
        }
        answer.extend(attributes(node));
        self.write(unique, 0, &answer)
    }

    /// Answers with the attributes of a directory.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn attributes(&self, unique: u64, node: u64) -> io::Result<()> {
        let mut answer = Vec::new();
        for long in [REMEMBER, 0] {
            answer.extend(long.to_ne_bytes());
        }
        answer.extend(attributes(node));
        self.write(unique, 0, &answer)
    }

    /// Answers with an error.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn error(&self, unique: u64, error: Errno) -> io::Result<()> {
        self.write(unique, -error.raw_os_error(), &[])
    }

    fn write(&self, unique: u64, error: i32, answer: &[u8]) -> io::Result<()> {
        let length = u32::try_from(16 + answer.len()).map_err(io::Error::other)?;
        let mut message = Vec::from(length.to_ne_bytes());
        message.extend(error.to_ne_bytes());
        message.extend(unique.to_ne_bytes());
        message.extend(answer);
        match (&self.0).write(&message) {
            Ok(_) => Ok(()),
            // Whoever asked does not wait any more.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Those of a directory that everybody may search.
fn attributes(node: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for long in [node, 0, 0, 0, 0, 0] {
        bytes.extend(long.to_ne_bytes());
    }
    let (mode, links) = (0o040_111_u32, 2);
    for word in [0, 0, 0, mode, links, 0, 0, 0, 4096, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(opcode.to_ne_bytes());
        bytes.extend(5_u64.to_ne_bytes());
        bytes.extend(node.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(77_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    fn kind(message: &[u8]) -> Option<Kind<'_>> {
        let request = Request::parse(message)?;
        assert_eq!((request.unique, request.thread), (5, 77));
        Some(request.kind)
    }

    #[test]
    fn requests_are_understood() {
        let lookup = message(1, ROOT, b"ab\0");
        let expected = Kind::Lookup {
            parent: ROOT,
            name: b"ab",
        };
        assert_eq!(kind(&lookup), Some(expected));
        assert_eq!(kind(&message(3, 9, &[])), Some(Kind::Attributes(9)));
        let interrupt = message(36, 0, &6_u64.to_ne_bytes());
        assert_eq!(kind(&interrupt), Some(Kind::Interrupt(6)));
        assert_eq!(kind(&message(2, 1, &[0; 8])), Some(Kind::Nothing));
        assert_eq!(kind(&message(17, 1, &[])), Some(Kind::Other));
        for broken in [&lookup[..39], &message(1, 1, b"ab"), &message(36, 0, b"")] {
            assert_eq!(Request::parse(broken), None);
        }
    }
}
