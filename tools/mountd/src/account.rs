// SPDX-License-Identifier: GPL-2.0-only
//! Whose memory it is: all that a call and its mount take counts for the control group of who calls,
//! as this process moves there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use zlink::connection::Credentials;

use crate::caller::is_there;

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// Moves this process to where the caller is.
pub fn join(caller: &Credentials) -> Result<()> {
    let pid = caller.process_id();
    let process = caller
        .process_fd()
        .context("the kernel does not say which process calls")?;
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))
        .context("cannot see the caller's control group")?;
    // As long as it is, the number was not another's.
    ensure!(is_there(process), "the caller is gone");
    let directory = directory(&text)?.join("cgroup.procs");
    fs::write(&directory, "0").with_context(|| format!("cannot use {}", directory.display()))
}

fn directory(text: &str) -> Result<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = Path::new(path.context("the caller has no control group of version 2")?);
    // The kernel says of what is out of sight that it is above.
    if path
        .components()
        .any(|part| !matches!(part, Component::Normal(_)))
    {
        bail!("the caller's control group is out of sight");
    }
    Ok(Path::new(GROUPS).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_below_theirs() {
        let found = |text| directory(text).ok();
        let group = Path::new("/sys/fs/cgroup");
        assert_eq!(found("1:cpu:/x\n0::/a/b\n"), Some(group.join("a/b")));
        assert_eq!(found("0::/\n"), Some(group.join("")));
        for text in ["", "1:cpu:/x\n", "0::/../x\n", "0::/a/../../x\n", "0::x\n"] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
