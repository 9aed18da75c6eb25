// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Types of files.

use super::disk::file_type::{entry, mode, MASK};

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Character device; one with device number 0 is a whiteout.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Symbolic link.
    Symlink,
}

impl FileType {
    /// The type in the `S_IFMT` bits of `mode`, if there is such a type.
    #[inline]
    pub fn from_mode(mode: u16) -> Option<Self> {
        match mode & MASK {
            mode::FIFO => Some(Self::Fifo),
            mode::CHAR_DEVICE => Some(Self::CharDevice),
            mode::DIRECTORY => Some(Self::Directory),
            mode::BLOCK_DEVICE => Some(Self::BlockDevice),
            mode::REGULAR => Some(Self::Regular),
            mode::SYMLINK => Some(Self::Symlink),
            mode::SOCKET => Some(Self::Socket),
            _ => None,
        }
    }

    /// The type that a directory entry gives.
    #[inline]
    pub(super) fn from_dirent(value: u8) -> Option<Self> {
        match value {
            entry::REGULAR => Some(Self::Regular),
            entry::DIRECTORY => Some(Self::Directory),
            entry::CHAR_DEVICE => Some(Self::CharDevice),
            entry::BLOCK_DEVICE => Some(Self::BlockDevice),
            entry::FIFO => Some(Self::Fifo),
            entry::SOCKET => Some(Self::Socket),
            entry::SYMLINK => Some(Self::Symlink),
            _ => None,
        }
    }

    /// The reverse of [`from_mode`](Self::from_mode): bits of a mode.
    pub const fn mode(self) -> u16 {
        match self {
            Self::Fifo => mode::FIFO,
            Self::CharDevice => mode::CHAR_DEVICE,
            Self::Directory => mode::DIRECTORY,
            Self::BlockDevice => mode::BLOCK_DEVICE,
            Self::Regular => mode::REGULAR,
            Self::Symlink => mode::SYMLINK,
            Self::Socket => mode::SOCKET,
        }
    }

    /// What a directory entry says of this type.
    pub const fn dirent(self) -> u8 {
        match self {
            Self::Regular => entry::REGULAR,
            Self::Directory => entry::DIRECTORY,
            Self::CharDevice => entry::CHAR_DEVICE,
            Self::BlockDevice => entry::BLOCK_DEVICE,
            Self::Fifo => entry::FIFO,
            Self::Socket => entry::SOCKET,
            Self::Symlink => entry::SYMLINK,
        }
    }

    /// The `DT_` constant of this type, as `readdir` reports it.
    #[inline]
    pub fn dt(self) -> u8 {
        match self {
            Self::Fifo => 1,
            Self::CharDevice => 2,
            Self::Directory => 4,
            Self::BlockDevice => 6,
            Self::Regular => 8,
            Self::Symlink => 10,
            Self::Socket => 12,
        }
    }
}
