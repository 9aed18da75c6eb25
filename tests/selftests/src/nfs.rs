// SPDX-License-Identifier: GPL-2.0-only
//! A filesystem whose server may go away: NFS, from the guest to itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Result};

use crate::command::run;
use crate::mount::Mount;
use crate::setup;
use crate::tap::Skip;

const START: &str = r#"
set -e
ip link set lo up
mkdir -p /run/rpc_pipefs /proc/fs/nfsd /var/lib/nfs
# Its state is not to change the root, which other programs have an image of.
mountpoint -q /var/lib/nfs || mount -t tmpfs nfs-state /var/lib/nfs
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
exportfs -o "$2,no_root_squash,fsid=0,no_subtree_check,insecure,sec=sys" "127.0.0.1:$1"
timeout 60 rpc.mountd -N 3
# Opens wait for the end of the grace period, in which locks are reclaimed.
timeout 60 rpc.nfsd --grace-time 10 --lease-time 10 --no-nfs-version 3 --nfs-version 4 2
echo Y 2>/dev/null > /proc/fs/nfsd/v4_end_grace || true
"#;

const STOP: &str = r#"
timeout 60 rpc.nfsd 0
exportfs -au
kill $(pidof rpc.mountd) 2>/dev/null
umount /proc/fs/nfsd
umount /var/lib/nfs
true
"#;

/// Waits until a process or thread, given as its directory in /proc, sleeps in a call that goes to
/// the server, or until the client has found out what became of that.
pub fn wait_until_blocked(task: &Path) -> Result<()> {
    loop {
        let stack = fs::read_to_string(task.join("stack")).unwrap_or_default();
        let wchan = fs::read_to_string(task.join("wchan")).unwrap_or_default();
        let waits = ["rpc_", "folio_wait", "clnt_recover"];
        if waits
            .iter()
            .any(|wait| stack.contains(wait) || wchan.contains(wait))
        {
            return Ok(());
        }
        // One that has ended has no stack, but stays until it is waited for.
        let is_alive = fs::read_link(task.join("exe")).is_ok();
        ensure!(is_alive, "it has ended");
        std::thread::yield_now();
    }
}

/// A server of one directory.
pub struct Server {
    directory: PathBuf,
    access: &'static str,
    running: bool,
}

impl Server {
    /// Exports `directory`; `access` is `ro` or `rw`. Skips where that cannot be done.
    pub fn start(directory: &Path, access: &'static str) -> Result<Self> {
        for module in ["nfsd", "nfs"] {
            if setup::modprobe(module).is_err() {
                return Err(Skip(format!("the kernel has no module {module}")).into());
            }
        }
        if run("which", ["exportfs"]).is_err() {
            return Err(Skip("no exportfs".into()).into());
        }
        let mut server = Self {
            directory: directory.to_owned(),
            access,
            running: true,
        };
        server.restart()?;
        Ok(server)
    }

    /// Mounts it; `options` such as `ro,soft`.
    pub fn mount(&self, target: &Path, options: &str) -> Result<Mount> {
        setup::create_dir(target)?;
        let at = target.to_string_lossy();
        let options = format!("vers=4.1,sec=sys,{options}");
        let arguments = ["100", "mount", "-t", "nfs4", "-o", &options, "127.0.0.1:/"];
        run("timeout", arguments.into_iter().chain([&*at]))?;
        Ok(Mount::adopt(target))
    }

    /// Clients wait for it, or are told that it is gone.
    pub fn stop(&mut self) -> Result<()> {
        self.running = false;
        run("sh", ["-c", STOP]).map(drop)
    }

    pub fn restart(&mut self) -> Result<()> {
        self.running = true;
        let directory = self.directory.to_string_lossy();
        run("sh", ["-c", START, "sh", &directory, self.access]).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running {
            let _ = self.stop();
        }
    }
}
