// SPDX-License-Identifier: GPL-2.0-only
//! Steps that run beside one another: processes of this program. Where one fails, that is said at
//! once, and the others are stopped.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Result};
use rustix::process::{kill_process_group, Pid, Signal};
use tempfile::NamedTempFile;

use crate::process;

/// Names the file that a job writes the reason of its failure to.
pub const FAILURE: &str = "COMPOSEFS_FAILURE";

/// Jobs that run. What is left of them is stopped when this is dropped.
pub struct Jobs {
    running: Vec<(String, Child)>,
    failure: NamedTempFile,
}

impl Jobs {
    pub fn new() -> Result<Self> {
        Ok(Self {
            running: Vec::new(),
            failure: NamedTempFile::new()?,
        })
    }

    /// Starts `composefs-harness ARGUMENTS` in a process group of its own. Its results go nowhere
    /// unless it is one that tells.
    pub fn start(&mut self, arguments: &[&str], tells: bool) -> Result<()> {
        // Should this process be killed, the jobs end as well. They run the program that this one
        // runs, which may have been built anew meanwhile.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM"])
            .arg(format!("/proc/{}/exe", std::process::id()))
            .args(arguments)
            .env(FAILURE, self.failure.path())
            .stdin(Stdio::null())
            .process_group(0);
        if !tells {
            command.stdout(Stdio::null());
        }
        self.running.push((arguments.join(" "), command.spawn()?));
        Ok(())
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// The reason of the first that failed; the others are stopped then.
    pub fn wait(mut self) -> Result<()> {
        while !self.running.is_empty() {
            let mut ended = None;
            for (nr, (_, child)) in self.running.iter_mut().enumerate() {
                if let Some(status) = child.try_wait()? {
                    ended = Some((nr, status));
                    break;
                }
            }
            let Some((nr, status)) = ended else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            let (name, _) = self.running.swap_remove(nr);
            if !status.success() {
                let reason = fs::read_to_string(self.failure.path()).unwrap_or_default();
                match reason.trim() {
                    "" => bail!(
                        "{name}: {}; run it by itself to see why",
                        process::ending(status)
                    ),
                    reason => bail!("{reason}"),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::TERM);
            }
        }
        for (_, child) in &mut self.running {
            let _ = child.wait();
        }
    }
}

/// Notes why this process ends, for who started it as a job. The first reason counts.
pub fn note_failure(reason: &str) {
    let Some(path) = std::env::var_os(FAILURE) else {
        return;
    };
    if fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
        let _ = fs::write(path, reason);
    }
}
