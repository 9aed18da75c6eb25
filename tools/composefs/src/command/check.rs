// SPDX-License-Identifier: GPL-2.0-only
//! `composefs fsck`.

use std::io::Write;

use anyhow::{bail, Result};
use clap::Args;
use composefs_oci::check;
use composefs_oci::origin::Origins;
use composefs_oci::reference::Reference;
use composefs_oci::repair::{self, Causes};
use composefs_repository::fsck::{Depth, Fault, Place, Report};
use composefs_repository::repair::{tidy, Tidied};
use composefs_repository::Repository;
use serde::Serialize;

use crate::access::Access;
use crate::place;
use crate::progress::Pulling;

/// Check the repository, and repair it
#[derive(Args, Debug)]
pub struct Options {
    /// Check the content of every object, and not only that it is there
    #[arg(long)]
    contents: bool,

    /// Repair what can be. What is damaged or missing is fetched again from where the image was
    /// pulled from; what was left behind, and names that lead to nothing, are removed
    #[arg(long)]
    repair: bool,

    /// Where images can be fetched from, if it is not known of them, or they are gone from there: as
    /// for pull
    #[arg(long, value_name = "IMAGE", requires = "repair")]
    from: Option<String>,

    #[command(flatten)]
    access: Access,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told {
    ok: bool,
    objects: u64,
    streams: u64,
    images: u64,
    /// Objects that are not here, but come when they are opened.
    awaited: u64,
    /// What is wrong, and was not repaired.
    errors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<Vec<String>>,
}

impl Options {
    pub fn run(self, place: &place::Place, out: &mut dyn Write) -> Result<()> {
        if let Some(from) = &self.from {
            from.parse::<Reference>()?;
        }
        let repository = place.open()?;
        let depth = match self.contents {
            true => Depth::Contents,
            false => Depth::Structure,
        };
        if self.repair {
            repository.expect_writable()?;
        }
        let report = check::check(&repository, depth)?;
        let told = match self.repair {
            true => self.repair(&repository, &report)?,
            false => Told::new(&report, |fault| fault.to_string()),
        };
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &told)?;
            writeln!(out)?;
        } else {
            told.print(out)?;
        }
        match (told.errors.len(), self.repair) {
            (0, _) => Ok(()),
            (1, false) => bail!("1 fault was found"),
            (1, true) => bail!("1 fault is left"),
            (count, false) => bail!("{count} faults were found"),
            (count, true) => bail!("{count} faults are left"),
        }
    }

    fn repair(&self, repository: &Repository, before: &Report) -> Result<Told> {
        let (causes, mut after) = match before.faults.is_empty() {
            true => (Causes::default(), before.clone()),
            false => {
                let mut origins = Origins::new(self.from.clone(), self.access.settings());
                let progress = Pulling::default();
                let faults = &before.faults;
                let causes = repair::repair(repository, faults, &mut origins, &progress)?;
                (causes, check::check_again(repository, faults)?)
            }
        };
        let left = after.faults.iter();
        let removable = left.filter(|fault| causes.allow_removal(fault));
        let removable: Vec<_> = removable.cloned().collect();
        let tidied = tidy(repository, &removable)?;
        if !after.faults.is_empty() {
            after = check::check_again(repository, &after.faults)?;
        }
        let mut told = Told::new(&after, |fault| {
            let cause = causes.of(fault).unwrap_or(match (&fault.place, &tidied) {
                (Place::Reference(..) | Place::Object(_), Tidied::Others) => "others use the repository: try again",
                _ => "it is of no image that was pulled and has a name (gc removes what nothing needs)",
            });
            format!("{fault}: cannot be repaired: {cause}")
        });
        let is_left = |fault: &&Fault| !after.faults.contains(fault);
        let mut repaired: Vec<_> = before
            .faults
            .iter()
            .filter(is_left)
            .map(|fault| match removable.contains(fault) {
                true => format!("{fault}: removed"),
                false => format!("{fault}: repaired"),
            })
            .collect();
        if let Tidied::Done(leftovers) = tidied {
            let removed = leftovers.iter();
            repaired.extend(removed.map(|path| format!("{path}: was left behind: removed")));
        }
        told.repaired = Some(repaired);
        Ok(told)
    }
}

impl Told {
    fn new(report: &Report, tell: impl Fn(&Fault) -> String) -> Self {
        Self {
            ok: report.faults.is_empty(),
            objects: report.objects,
            streams: report.streams,
            images: report.images,
            awaited: report.awaited,
            errors: report.faults.iter().map(tell).collect(),
            repaired: None,
        }
    }

    fn print(&self, out: &mut dyn Write) -> Result<()> {
        let Self {
            objects,
            streams,
            images,
            awaited,
            ..
        } = self;
        for line in self.repaired.iter().flatten().chain(&self.errors) {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{objects} objects, {streams} streams, {images} images")?;
        if *awaited > 0 {
            writeln!(out, "{awaited} other objects come when they are opened")?;
        }
        Ok(())
    }
}
