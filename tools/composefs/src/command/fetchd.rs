// SPDX-License-Identifier: GPL-2.0-only
//! `composefs fetchd`.

use std::io::stdin;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;
use composefs_fetchd::{client, keeper, service, SOCKET};
use rustix::net::sockopt::socket_acceptconn;
use rustix::process::setsid;

/// Fetch objects of images that are mounted with --lazy, when they are opened
///
/// Listens at the socket that it gets as stdin (StandardInput=socket), or else at --socket.
#[derive(Args, Debug)]
pub struct Options {
    /// Where to listen, if stdin is not a socket that listens
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// By the service itself: serve, for the keeper on stdin
    #[arg(long, hide = true)]
    serve: bool,
}

impl Options {
    pub fn run(self) -> Result<()> {
        let stdin = stdin();
        if self.serve {
            return service::run(stdin.as_fd().try_clone_to_owned()?);
        }
        let listener = match socket_acceptconn(&stdin) {
            Ok(true) => stdin.as_fd().try_clone_to_owned()?,
            _ => client::listen_at(&self.socket)?,
        };
        // Whoever began it may go; who leads a group already has seen to that.
        let _ = setsid();
        // This very program, also where it was upgraded in the meantime.
        keeper::run(&listener, || {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("composefs").args(["fetchd", "--serve"]);
            command
        })
    }
}
