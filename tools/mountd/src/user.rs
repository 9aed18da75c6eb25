// SPDX-License-Identifier: GPL-2.0-only
//! Whom calls and mounts count for: all of the numbers that one user has count for that one.

use std::fs;

use rustix::net::UCred;

/// Somebody whom calls and mounts count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(pub u32);

impl User {
    /// The user whose processes systemd keeps the caller's with; or else the caller as such.
    pub fn of(caller: &UCred) -> Self {
        let path = format!("/proc/{}/cgroup", caller.pid.as_raw_nonzero());
        let session = fs::read_to_string(path).ok();
        let session = session.and_then(|groups| session_of(&groups));
        Self(session.unwrap_or(caller.uid.as_raw()))
    }
}

fn session_of(groups: &str) -> Option<u32> {
    let path = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/user.slice/user-"))?;
    path.split_once(".slice")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_session_it_is() {
        let session = "0::/user.slice/user-1000.slice/user@1000.service/user-7.slice\n";
        assert_eq!(session_of(session), Some(1000));
        for text in [
            "",
            "0::/\n",
            "0::/system.slice/user-1.slice\n",
            "0::/user.slice/user-x.slice\n",
        ] {
            assert_eq!(session_of(text), None, "{text}");
        }
    }
}
