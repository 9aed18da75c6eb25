// SPDX-License-Identifier: GPL-2.0-only
//! The service of `composefs fetchd`, and images that are mounted with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};

use crate::command::output;
use crate::containers::text;
use crate::memory;
use crate::mount::Mount;
use crate::repository::Repository;
use crate::setup;

/// How long anything of it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service, which ends when this is dropped.
pub struct FetchService {
    keeper: Child,
    directory: PathBuf,
}

impl FetchService {
    /// Starts it; what it has is in `directory`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(directory: &Path) -> Result<Self> {
        setup::create_dir(directory)?;
        let log = File::options()
            .append(true)
            .create(true)
            .open(directory.join("journal"))?;
        let keeper = Command::new(setup::payload().join("bin/composefs"))
            .args(["fetchd", "--socket"])
            .arg(directory.join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("composefs fetchd")?;
        let service = Self {
            keeper,
            directory: directory.to_owned(),
        };
        service.server()?;
        Ok(service)
    }

    /// Mounts an image of which the objects come when they are opened.
    ///
    /// # Errors
    /// If that fails.
    pub fn mount(
        &self,
        repository: &Repository,
        name: &str,
        target: &Path,
        more: &[&str],
    ) -> Result<Mount> {
        setup::create_dir(target)?;
        let arguments = [&["mount", "--lazy"], more, &[name, text(target)?]].concat();
        let mut command = repository.command(&arguments);
        command.env("COMPOSEFS_FETCH_SERVICE", self.directory.join("socket"));
        output(&mut command)?;
        Ok(Mount::adopt(target))
    }

    /// All that it has said.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn journal(&self) -> Result<String> {
        fs::read_to_string(self.directory.join("journal")).context("the service's journal")
    }

    /// The process that serves at present.
    ///
    /// # Errors
    /// If none comes.
    pub fn server(&self) -> Result<u32> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(child) = child_of(self.keeper.id())? {
                return Ok(child);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("nobody serves: {}", self.journal()?)
    }

    /// How many triggers there are.
    ///
    /// # Errors
    /// If the service is gone.
    pub fn triggers(&self) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(format!("/proc/{}/fd", self.keeper.id()))? {
            // Some of them go meanwhile.
            let target = fs::read_link(entry?.path()).unwrap_or_default();
            count += usize::from(target == Path::new("/dev/fuse"));
        }
        Ok(count)
    }

    /// How much memory its processes have, in bytes.
    ///
    /// # Errors
    /// If it is gone.
    pub fn memory(&self) -> Result<u64> {
        let process = |process| memory::of_process(process, "RssAnon");
        Ok(process(self.keeper.id())? + process(self.server()?)?)
    }

    /// How many descriptors its processes have.
    ///
    /// # Errors
    /// If it is gone.
    pub fn descriptors(&self) -> Result<usize> {
        let mut count = 0;
        for process in [self.keeper.id(), self.server()?] {
            count += fs::read_dir(format!("/proc/{process}/fd"))?.count();
        }
        Ok(count)
    }

    /// Waits until there are so many triggers.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn expect_triggers(&self, expected: usize) -> Result<()> {
        let begin = Instant::now();
        while self.triggers()? != expected {
            ensure!(begin.elapsed() < PATIENCE, "{} triggers", self.triggers()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it, keeper and all.
    ///
    /// # Errors
    /// If it has ended before.
    pub fn end(&mut self) -> Result<()> {
        let ended = self.keeper.try_wait()?;
        ensure!(ended.is_none(), "{ended:?}: {}", self.journal()?);
        self.keeper.kill()?;
        self.keeper.wait()?;
        Ok(())
    }
}

/// A process that this one has started. (Not all kernels have a list of them in /proc.)
fn child_of(parent: u32) -> Result<Option<u32>> {
    let line = format!("PPid:\t{parent}");
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Some of them end meanwhile.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|found| found == line) {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

impl Drop for FetchService {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
