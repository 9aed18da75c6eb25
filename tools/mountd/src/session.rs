// SPDX-License-Identifier: GPL-2.0-only
//! The session in which a mount is made. The credentials of a file system keep the keyring of the
//! session that its mount was made in: as long as the kernel knows the keyring, the mount is there.

use keyutils_raw::{keyctl_describe, keyctl_join_session_keyring, KeyringSerial};
use rustix::io::{self, Errno};

/// One that has begun, by the number of its keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session(KeyringSerial);

impl Session {
    /// Puts this thread into a new one, which nothing else is in.
    pub fn begin() -> io::Result<Self> {
        match keyctl_join_session_keyring(None) {
            Ok(number) => Ok(Self(number)),
            Err(error) => Err(Errno::from_raw_os_error(error.0)),
        }
    }

    /// Whether anything is left of it: not at once when a mount goes, but once the kernel has freed
    /// what it kept of it.
    pub fn is_held(self) -> bool {
        // A keyring that was revoked or has expired is there too.
        match keyctl_describe(self.0, None) {
            Ok(_) => true,
            Err(error) => Errno::from_raw_os_error(error.0) != Errno::NOKEY,
        }
    }

    pub fn to_bytes(self) -> [u8; 4] {
        self.0.get().to_le_bytes()
    }

    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        KeyringSerial::new(i32::from_le_bytes(bytes)).map(Self)
    }
}
