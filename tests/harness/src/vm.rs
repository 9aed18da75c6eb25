// SPDX-License-Identifier: GPL-2.0-only
//! Guests: a command, or a shell for you, on a stock kernel in QEMU.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;
use rustix::fs::{mknodat, FileType, Mode, CWD};
use tempfile::TempDir;

use crate::arch::Arch;
use crate::artifact::{lock, remove_tree};
use crate::kernel::Kernel;
use crate::qemu::{self, Qemu, Start};
use crate::suite::Suite;
use crate::{console, emulator, guest, machine, note, payload, place};

/// Runs a command, or a shell for you, in a guest on a stock kernel
///
/// The command runs as root in /scratch; its stdout, stderr and exit status become ours. 124: it
/// took too long. 125: the guest died or its kernel complained; the console log is kept and named.
/// A shell has the module loaded and our tools in PATH; the guest ends with it.
///
/// The guest's root disk is thrown away after each run, like everything it wrote. Emulated CPUs
/// (TCG) unless COMPOSEFS_VM_ACCEL=kvm.
#[derive(Args, Clone)]
pub struct Options {
    /// What the guest finds in /opt/composefs ($PAYLOAD)
    #[arg(long, value_name = "DIR")]
    pub payload: Option<PathBuf>,
    /// For the whole run [default: 900; 0: none; a shell has none]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub machine: qemu::Machine,
    /// Whose kernel
    #[arg(long, default_value = "trixie")]
    pub suite: Suite,
    /// Keep the console log there, in any case
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// What the guest runs.
pub enum Program {
    Shell,
    Command(Vec<OsString>),
}

/// Where each line of the command's stdout goes.
pub type Output<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// On a busy host, emulated CPUs now and then get stuck on their way to the guest's first process,
/// which takes three minutes at the worst.
const BOOT_LIMIT: Duration = Duration::from_secs(900);

/// Runs a guest, and gives the exit status as described for [`Options`].
pub fn run(options: &Options, program: &Program, output: Output<'_>) -> Result<i32> {
    let kernel = Kernel::of(options.suite)?;
    let initramfs = guest::initramfs(options.suite)?;
    let arch = options.suite.arch();
    let root = guest::root_image(arch)?;
    let programs = machine::programs()?;
    let run = RunDirectory::new()?;

    let payload = match (program, &options.payload) {
        (_, Some(payload)) => Some(payload.clone()),
        (Program::Shell, None) => {
            let dir = run.path("payload");
            payload::make(&payload::Options {
                tests: false,
                bench: false,
                suite: options.suite,
                module: None,
                part: None,
                dir: dir.clone(),
            })?;
            Some(dir)
        }
        (Program::Command(_), None) => None,
    };
    let stage = run.path("stage");
    lay_out(&stage, arch, program, payload.as_deref())?;
    let extra = run.path("extra");
    guest::archive(&stage, &programs.join("busybox"), &extra)?;
    remove_tree(&stage)?;
    let initrd = run.path("initrd");
    let mut whole = File::create(&initrd)?;
    for part in [&initramfs, &extra] {
        io::copy(&mut File::open(part)?, &mut whole)?;
    }

    let mut qemu = Qemu::new(
        &options.machine,
        options.suite,
        &Start::Kernel {
            vmlinuz: kernel.vmlinuz(),
            initrd,
            append: options.machine.append.clone(),
        },
    )?;
    qemu.disk(&root, ",snapshot=on")?;
    for (nr, size) in options.machine.fresh_disks().enumerate() {
        let disk = run.path(&format!("disk{nr}.img"));
        File::create(&disk)?.set_len(size)?;
        qemu.disk(&disk, ",discard=unmap")?;
    }
    for disk in &options.machine.disks {
        qemu.given_disk(disk)?;
    }
    let console = run.path("console.log");
    qemu.console(&console);
    let is_shell = matches!(program, Program::Shell);
    let streams = if is_shell {
        note!("booting the guest (usually 10 seconds); leave with exit or ctrl-D");
        qemu.terminal();
        None
    } else {
        Some(Streams::new(&run)?)
    };
    if streams.is_some() {
        for port in ["out", "err", "status"] {
            qemu.port(port, &run.path(port));
        }
    }
    let default_limit = if is_shell { 0 } else { 900 };
    let limit = options.timeout.unwrap_or(default_limit);

    let errors = run.path("qemu.err");
    let child = qemu
        .command(&emulator::path(arch)?)
        .env("TMPDIR", run.dir())
        .stdin(if is_shell {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stderr(File::create(&errors)?)
        .spawn()
        .context("cannot run QEMU")?;
    let ended = match streams {
        Some(streams) => streams.serve(output, || wait(child, limit, &console))?,
        None => wait(child, limit, &console)?,
    };
    conclude(options, is_shell, &ended, &run)
}

/// How QEMU ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    ByItself,
    Failed,
    TimedOut(u64),
    Stuck,
}

fn has_booted(console: &Path) -> bool {
    fs::read(console)
        .is_ok_and(|log| String::from_utf8_lossy(&log).contains("Run /init as init process"))
}

/// Waits for QEMU to end, and ends it if it takes more than `limit` seconds.
fn wait(mut child: Child, limit: u64, console: &Path) -> Result<Ended> {
    let began = Instant::now();
    let mut asked_for_boot = false;
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() {
                Ended::ByItself
            } else {
                Ended::Failed
            });
        }
        if limit > 0 && began.elapsed() > Duration::from_secs(limit) {
            break Ended::TimedOut(limit);
        }
        if !asked_for_boot && began.elapsed() > BOOT_LIMIT {
            asked_for_boot = true;
            if !has_booted(console) {
                break Ended::Stuck;
            }
        }
        thread::sleep(Duration::from_millis(50));
    };
    child.kill()?;
    child.wait()?;
    Ok(ended)
}

/// What it came to: the exit status.
fn conclude(options: &Options, is_shell: bool, ended: &Ended, run: &RunDirectory) -> Result<i32> {
    let console = run.path("console.log");
    let errors = || fs::read_to_string(run.path("qemu.err")).unwrap_or_default();
    let Ok(log) = fs::read(&console) else {
        bail!("QEMU did not start: {}", errors().trim());
    };
    let complaints = console::complaints(&String::from_utf8_lossy(&log));
    let reported = fs::read_to_string(run.path("status")).ok();
    let reported = reported.and_then(|status| status.trim().parse().ok());

    let (status, problem) = match (ended, reported) {
        (Ended::TimedOut(limit), _) => {
            (124, Some(format!("the guest was stopped after {limit} s")))
        }
        _ if !complaints.is_empty() => (125, Some("the guest's kernel complained".into())),
        (Ended::Failed, _) => (125, Some(format!("QEMU failed: {}", errors().trim()))),
        (Ended::Stuck, _) => (125, Some("the guest did not boot".into())),
        (Ended::ByItself, _) if is_shell => (0, None),
        (Ended::ByItself, Some(status)) => (status, None),
        (Ended::ByItself, None) if !has_booted(&console) => {
            (125, Some("the guest did not boot".into()))
        }
        (Ended::ByItself, None) => (125, Some("the guest died before the command ended".into())),
    };
    let log = match &options.log {
        Some(log) => Some(log.clone()),
        None if status == 0 => None,
        None => {
            let name = format!("console/{}-{}.log", options.suite, std::process::id());
            Some(place::build(&name)?)
        }
    };
    if let Some(log) = &log {
        fs::copy(&console, log).with_context(|| format!("cannot write to {}", log.display()))?;
    }
    if let Some(problem) = problem {
        for line in complaints.iter().take(10) {
            note!("    {line}");
        }
        let log = log.unwrap_or(console);
        note!("vm: {problem}; console log: {}", log.display());
    }
    Ok(status)
}

/// What this run adds to the initramfs.
fn lay_out(stage: &Path, arch: Arch, program: &Program, payload: Option<&Path>) -> Result<()> {
    let guest = stage.join("run-guest");
    fs::create_dir_all(&guest)?;
    let in_guest = place::checkout("scripts/in-guest");
    fs::copy(in_guest.join("initramfs-init"), stage.join("init"))?;
    fs::copy(in_guest.join("guest-init"), guest.join("guest-init"))?;
    fs::copy(in_guest.join("welcome"), guest.join("welcome"))?;
    if let Some(payload) = payload {
        if !payload.is_dir() {
            bail!("no directory {}", payload.display());
        }
        crate::process::run(
            Command::new("cp")
                .arg("-a")
                .arg(payload)
                .arg(stage.join("payload")),
        )?;
    } else {
        fs::create_dir(stage.join("payload"))?;
    }
    match program {
        Program::Shell => {
            let size = rustix::termios::tcgetwinsize(io::stdout());
            let (rows, columns) = size.map_or((24, 80), |size| (size.ws_row, size.ws_col));
            let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
            let settings = format!(
                "mode=shell\nterminal={}\nrows={rows} columns={columns} TERM={}\n",
                qemu::terminal_device(arch),
                quote(&terminal)
            );
            fs::write(guest.join("settings"), settings)?;
        }
        Program::Command(words) => {
            fs::write(guest.join("settings"), "mode=run\n")?;
            let words: Vec<_> = words
                .iter()
                .map(|word| quote(&word.to_string_lossy()))
                .collect();
            fs::write(guest.join("command"), format!("exec {}\n", words.join(" ")))?;
        }
    }
    Ok(())
}

/// A word as a shell reads it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The directory of a run, locked as long as it lasts: unlocked ones are rubbish.
pub struct RunDirectory {
    dir: TempDir,
    _own: File,
}

impl RunDirectory {
    pub fn new() -> Result<Self> {
        let all = place::cache()?.join("run");
        for entry in fs::read_dir(&all)? {
            let old = entry?.path();
            let Ok(own) = File::open(old.join("lock")) else {
                continue;
            };
            let unlocked = rustix::fs::FlockOperation::NonBlockingLockExclusive;
            if rustix::fs::flock(&own, unlocked).is_ok() {
                remove_tree(&old)?;
            }
        }
        let dir = TempDir::with_prefix_in("", all)?;
        let own = File::create(dir.path().join("lock"))?;
        lock(&own, false, "the directory of a run")?;
        Ok(Self { dir, _own: own })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The command's stdout and stderr: pipes with a name, which QEMU writes to.
struct Streams {
    out: PathBuf,
    err: PathBuf,
}

impl Streams {
    fn new(run: &RunDirectory) -> Result<Self> {
        let streams = Self {
            out: run.path("out"),
            err: run.path("err"),
        };
        for pipe in [&streams.out, &streams.err] {
            mknodat(CWD, pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        }
        Ok(streams)
    }

    /// Hands on what the guest writes until `wait` is done.
    fn serve(&self, output: Output<'_>, wait: impl FnOnce() -> Result<Ended>) -> Result<Ended> {
        thread::scope(|scope| {
            let out = scope.spawn(|| each_line(&self.out, output));
            let err = scope.spawn(|| {
                each_line(&self.err, &mut |line| {
                    let _ = io::stderr().write_all(line);
                })
            });
            let ended = wait();
            // A reader whose pipe QEMU never opened still waits for that.
            for pipe in [&self.out, &self.err] {
                drop(File::options().read(true).write(true).open(pipe));
            }
            let joined = |handle: thread::ScopedJoinHandle<'_, Result<()>>| match handle.join() {
                Ok(result) => result,
                Err(_) => bail!("a reader of the guest's output died"),
            };
            joined(out)?;
            joined(err)?;
            ended
        })
    }
}

fn each_line(path: &Path, take: &mut (dyn FnMut(&[u8]) + Send)) -> Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
