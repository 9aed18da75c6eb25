// SPDX-License-Identifier: GPL-2.0-only
//! Programs that run from a mount, with their libraries from it.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{capture, output};
use composefs_selftests::mount::Mount;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{root_image, setup};
use rustix::io::Errno;

struct Context {
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let (_, image) = root_image::get()?;
    let mount = image.request().at(&setup::scratch().join("exec-mount"))?;
    setup::drop_caches()?;
    Ok(Context { mount })
}

fn in_chroot(root: &Path, command: &[&str]) -> Command {
    let mut chroot = Command::new("chroot");
    chroot.arg(root).args(command);
    chroot
}

fn program(context: &mut Context) -> Result<()> {
    let script = "echo $((6 * 7)) && ls -d /etc/os-release && sort -r /etc/shells | tail -n 1";
    let printed = output(&mut in_chroot(
        context.mount.root(),
        &["/bin/sh", "-c", script],
    ))?;
    let mut lines = printed.lines();
    ensure!(lines.next() == Some("42"), "sh printed {printed:?}");
    ensure!(lines.next() == Some("/etc/os-release"), "ls: {printed:?}");
    ensure!(lines.next().is_some(), "sort: {printed:?}");
    Ok(())
}

/// While a program runs, every file mapped into it is a file of the mount: its path, its device
/// and inode number as stat shows them, not those of the store.
fn mappings(context: &mut Context) -> Result<()> {
    let mut child = in_chroot(context.mount.root(), &["/bin/cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("stdin")?;
    let mut answer = String::new();
    input.write_all(b"ready\n")?;
    // chroot has become cat, and cat runs, once it answers.
    BufReader::new(child.stdout.take().context("stdout")?).read_line(&mut answer)?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id()));
    drop(input);
    child.wait()?;
    ensure!(answer == "ready\n", "cat answered {answer:?}");

    let maps = maps?;
    let root = context.mount.root().to_string_lossy();
    let mut files = 0;
    for line in maps.lines() {
        // address permissions offset device inode path
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, _, _, device, inode, path] = fields.as_slice() else {
            continue;
        };
        if !path.starts_with('/') {
            continue;
        }
        ensure!(path.starts_with(&*root), "mapped from elsewhere: {line}");
        let stat = fs::metadata(path)?;
        let (major, minor) = (rustix::fs::major(stat.dev()), rustix::fs::minor(stat.dev()));
        ensure!(
            *device == format!("{major:02x}:{minor:02x}") && *inode == stat.ino().to_string(),
            "stat says device {major:02x}:{minor:02x}, inode {}: {line}",
            stat.ino()
        );
        files += 1;
    }
    // The program itself, the C library and the dynamic loader, in several segments each.
    ensure!(files >= 8, "only {files} mapped segments:\n{maps}");
    Ok(())
}

fn script(context: &mut Context) -> Result<()> {
    // A script is executed through its interpreter, which is in the mount too.
    let printed = output(&mut in_chroot(
        context.mount.root(),
        &["/usr/bin/ldd", "--version"],
    ))?;
    ensure!(printed.starts_with("ldd"), "{printed:?}");
    Ok(())
}

fn not_executable(context: &mut Context) -> Result<()> {
    let mut command = Command::new(context.mount.join("etc/os-release"));
    let error = command.spawn().err().context("os-release was executed")?;
    let errno = Errno::from_io_error(&error);
    ensure!(errno == Some(Errno::ACCESS), "{error}, expected EACCES");
    Ok(())
}

fn busy(context: &mut Context) -> Result<()> {
    let mut child = in_chroot(context.mount.root(), &["/bin/cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let status = capture(Command::new("umount").arg(context.mount.root()));
    drop(child.stdin.take());
    child.wait()?;
    let status = status?;
    let message = String::from_utf8_lossy(&status.stderr);
    ensure!(message.contains("busy"), "umount: {:?}", status.status);
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("programs run in a chroot into the mount", program),
    (
        "their code and libraries are mapped from the mount",
        mappings,
    ),
    ("a script runs", script),
    ("what has no x permission is not executed", not_executable),
    ("the mount is busy while one of its programs runs", busy),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
