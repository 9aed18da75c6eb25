// SPDX-License-Identifier: GPL-2.0-only
//! What is here of an image that is mounted with a service that fetches what is not.

use std::os::fd::AsFd;
use std::thread;

use anyhow::{Context, Result};
use composefs_fetchd::demand::Demand;
use composefs_fetchd::fuse::Connection;
use composefs_fetchd::trigger;
use composefs_selftests::setup;

use crate::detached;
use crate::system::{Subject, System};
use crate::tree::Paths;

/// Records it; nothing is mounted when this begins.
pub fn measure(subject: &Subject, paths: &Paths, device: &str) -> Result<()> {
    setup::modprobe("fuse")?;
    let (connection, directory) = Connection::mount().context("a trigger")?;
    let demand = Demand::default();
    thread::scope(|scope| {
        // It ends with the last mount that has the trigger.
        let server = scope.spawn(|| trigger::serve(connection, &demand));
        let mount = detached::mount(subject, Some(directory.as_fd()));
        drop(directory);
        detached::attach(mount?, subject)?;
        detached::operations(System::Lazy, subject, paths, device)?;
        server.join().ok().context("the server panicked")?
    })
}
