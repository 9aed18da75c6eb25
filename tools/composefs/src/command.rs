// SPDX-License-Identifier: GPL-2.0-only
//! The command line.

mod check;
mod collect;
mod export;
mod fetch;
mod fetchd;
mod images;
mod init;
mod inspect;
mod mount;
mod prefetch;
mod pull;
mod push;
mod record;
mod sign;

use std::io::{BufWriter, Write};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::place::Place;

const AFTER_HELP: &str = "\
An image is named as it was pulled or tagged; @sha256:… is one by the digest of its manifest.

The repository is one of composefs-rs': what cfsctl pulled is there, and the other way round.

Example:

  composefs pull docker://registry.example/debian:trixie debian
  composefs mount debian /mnt";

/// Images from registries, in a repository, mounted
#[derive(Debug, Parser)]
#[command(name = "composefs", after_help = AFTER_HELP, arg_required_else_help = true, version)]
pub struct Command {
    #[command(flatten)]
    place: Place,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(init::Options),
    Pull(pull::Options),
    Push(push::Options),
    Fetch(fetch::Options),
    Fetchd(fetchd::Options),
    Export(export::Options),
    Images(images::Options),
    Tag(images::Tag),
    Untag(images::Untag),
    Rm(images::Remove),
    Sign(sign::Options),
    Verify(sign::Verify),
    Inspect(inspect::Options),
    Ls(inspect::List),
    Digest(inspect::Digest),
    Karg(inspect::Karg),
    Mount(mount::Options),
    Umount(mount::Unmount),
    Record(record::Options),
    Prefetch(prefetch::Options),
    Gc(collect::Options),
    Fsck(check::Options),
}

impl Command {
    /// Does what the command line says.
    pub fn run(self) -> Result<()> {
        let place = &self.place;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let result = match self.action {
            Action::Init(options) => options.run(place),
            Action::Pull(options) => options.run(place, &mut out),
            Action::Push(options) => options.run(place, &mut out),
            Action::Fetch(options) => options.run(place, &mut out),
            Action::Fetchd(options) => options.run(),
            Action::Export(options) => options.run(place, &mut out),
            Action::Images(options) => options.run(place, &mut out),
            Action::Tag(options) => options.run(place),
            Action::Untag(options) => options.run(place),
            Action::Rm(options) => options.run(place),
            Action::Sign(options) => options.run(place, &mut out),
            Action::Verify(options) => options.run(place, &mut out),
            Action::Inspect(options) => options.run(place, &mut out),
            Action::Ls(options) => options.run(place, &mut out),
            Action::Digest(options) => options.run(place, &mut out),
            Action::Karg(options) => options.run(place, &mut out),
            Action::Mount(options) => options.run(place),
            Action::Umount(options) => options.run(),
            Action::Record(options) => options.run(place, &mut out),
            Action::Prefetch(options) => options.run(place),
            Action::Gc(options) => options.run(place, &mut out),
            Action::Fsck(options) => options.run(place, &mut out),
        };
        let flushed = out.flush();
        result?;
        flushed.context("cannot write to standard output")
    }
}
