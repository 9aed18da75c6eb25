// SPDX-License-Identifier: GPL-2.0-only
#![forbid(unsafe_code)]

use std::fs;
use std::io::stdin;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use composefs_mountd::config::{self, Config};
use composefs_mountd::service::{Service, Task};
use composefs_mountd::{interface, worker};
use composefs_tools::cli;
use rustix::net::sockopt::socket_acceptconn;

/// Mount composefs images for users, as far as the administrator and the kernel's keyring say
///
/// Listens at the socket that it gets as stdin (StandardInput=socket), or else at --socket.
#[derive(Debug, Parser)]
#[command(name = "composefs-mountd")]
struct Arguments {
    /// What is granted
    #[arg(long, value_name = "FILE", default_value = config::PATH)]
    config: PathBuf,
    /// Where to listen, if stdin is not a socket that listens
    #[arg(long, value_name = "PATH", default_value = interface::SOCKET)]
    socket: PathBuf,
    /// By the service itself: serve the connection on stdin
    #[arg(long, hide = true)]
    worker: bool,
    /// By the service itself: tell the connection on stdin that there is too much
    #[arg(long, hide = true)]
    refuse: bool,
}

fn main() -> ExitCode {
    cli::main("composefs-mountd", run)
}

fn run(arguments: Arguments) -> Result<()> {
    if arguments.refuse {
        return worker::refuse();
    }
    let config = Config::read(&arguments.config)?;
    if arguments.worker {
        return worker::run(&config);
    }
    let listener = match socket_acceptconn(stdin()) {
        Ok(true) => stdin().as_fd().try_clone_to_owned()?.into(),
        _ => listen(&arguments.socket)?,
    };
    // This very program, also where it was upgraded in the meantime.
    let command = move |task| {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("composefs-mountd");
        match task {
            Task::Serve => command
                .arg("--worker")
                .arg("--config")
                .arg(&arguments.config),
            Task::Refuse => command.arg("--refuse"),
        };
        command
    };
    Service::new(&config, listener, command)?.run()
}

/// A socket that everybody may connect to.
fn listen(path: &Path) -> Result<UnixListener> {
    let context = || format!("cannot listen at {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(context)?;
    }
    // That of a service that is gone.
    if UnixStream::connect(path).is_err() {
        let _ = fs::remove_file(path);
    }
    let listener = UnixListener::bind(path).with_context(context)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).with_context(context)?;
    Ok(listener)
}
