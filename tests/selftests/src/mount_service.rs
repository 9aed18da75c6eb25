// SPDX-License-Identifier: GPL-2.0-only
//! composefs-mountd, with the rights that its unit gives it and no more; and its callers.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};

use crate::memory;
use crate::python;
use crate::setup;

/// What callers have at hand.
const CALLER: &str = include_str!("../python/mountd.py");
/// As in the unit.
const CAPABILITIES: &str = "-all,+sys_admin,+setuid,+setgid,+dac_override,+kill";
/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// The service, which ends when this is dropped.
pub struct MountService {
    child: Child,
    directory: PathBuf,
}

impl MountService {
    /// Starts it with this configuration; what it keeps is in `directory`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(directory: &Path, config: &str) -> Result<Self> {
        setup::create_dir(directory)?;
        let path = directory.join("mountd.conf");
        fs::write(&path, config)?;
        let journal = File::options()
            .append(true)
            .create(true)
            .open(directory.join("journal"))?;
        let child = Command::new("setpriv")
            .args(["--bounding-set", CAPABILITIES, "--no-new-privs"])
            .arg(setup::payload().join("bin/composefs-mountd"))
            .args([Path::new("--config"), &path, Path::new("--socket")])
            .arg(directory.join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(journal)
            .spawn()?;
        let mut service = Self {
            child,
            directory: directory.to_owned(),
        };
        let begin = Instant::now();
        while std::os::unix::net::UnixStream::connect(service.socket()).is_err() {
            let has_ended = service.child.try_wait()?.is_some();
            if has_ended || begin.elapsed() > START {
                bail!("composefs-mountd does not start: {}", service.journal()?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(service)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// All that it has said.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn journal(&self) -> Result<String> {
        fs::read_to_string(self.directory.join("journal")).context("the service's journal")
    }

    /// Runs a caller, a script in Python, with the rights of a user.
    ///
    /// # Errors
    /// If it ends with an exception.
    pub fn call(&self, user: u32, script: &str, arguments: &[&Path]) -> Result<String> {
        python::output(&mut self.caller(user, script, arguments))
    }

    /// The same, with a file on stdin.
    ///
    /// # Errors
    /// If it ends with an exception.
    pub fn call_with(
        &self,
        user: u32,
        script: &str,
        arguments: &[&Path],
        input: File,
    ) -> Result<()> {
        let mut caller = self.caller(user, script, arguments);
        Call::start(caller.stdin(input))?.finish()
    }

    /// The same, which goes on in the meantime.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_call(&self, user: u32, script: &str, arguments: &[&Path]) -> Result<Call> {
        let mut caller = self.caller(user, script, arguments);
        Call::start(caller.stdin(Stdio::piped()))
    }

    fn caller(&self, user: u32, script: &str, arguments: &[&Path]) -> Command {
        let script = format!("{CALLER}{script}");
        let mut python = python::command_as(user, &script);
        python.arg(self.socket()).args(arguments);
        python
    }

    /// The most memory that it has had, in bytes.
    ///
    /// # Errors
    /// If the kernel does not say so.
    pub fn peak_memory(&self) -> Result<u64> {
        memory::of_process(self.child.id(), "VmHWM")
    }

    /// It is still the one that was started, and serves.
    ///
    /// # Errors
    /// If it has ended.
    pub fn expect_alive(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{ended:?}: {}", self.journal()?);
        Ok(())
    }
}

impl Drop for MountService {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A caller that goes on.
pub struct Call {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Call {
    fn start(caller: &mut Command) -> Result<Self> {
        let mut child = caller.stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { child, output })
    }

    /// The next line that it says.
    ///
    /// # Errors
    /// If it says no more.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the caller says nothing");
        Ok(line.trim_end().to_owned())
    }

    /// That is what it says next.
    ///
    /// # Errors
    /// If not.
    pub fn expect_line(&mut self, expected: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == expected, "{line}, not {expected}");
        Ok(())
    }

    /// Lets it come to its end.
    ///
    /// # Errors
    /// If that is an exception.
    pub fn finish(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the caller failed: {status}");
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
