// SPDX-License-Identifier: GPL-2.0-only
//! Test suites of others, which a user has: how they run in a guest, and what came out of them
//! and of our own.
//!
//! Nothing of them is in this repository, nor where they come from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Result};
use serde_json::{json, Value};

use crate::artifact::{lock, Artifact};
use crate::kernel::Kernel;
use crate::process::Log;
use crate::root::{self, Variant};
use crate::suite::Suite;
use crate::tap::{Counts, Report};
use crate::{guest, note, payload, place, process, qemu, versions, vm};

/// What a runner ends with if it has nothing to run: kselftest's status for that.
pub const SKIPPED: i32 = 4;

/// The kernel that they run on.
const SUITE: Suite = Suite::Trixie;

/// Says that nothing is run because the user named no tree.
pub fn without_tree(name: &str) -> i32 {
    println!("{name}: SKIPPED: no tree of the suite: --tree says where one is");
    SKIPPED
}

/// A run of such a suite.
pub struct Run {
    name: &'static str,
    logs: PathBuf,
}

impl Run {
    /// With the module and the tools in its payload.
    pub fn new(name: &'static str) -> Result<Self> {
        let logs = place::build(&format!("suites/{name}/x"))?.with_file_name("");
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs)?;
        let run = Self { name, logs };
        guest::root_image(SUITE.arch())?;
        payload::make(&payload::Options {
            tests: false,
            bench: false,
            suite: SUITE,
            module: None,
            part: None,
            dir: run.payload(),
        })?;
        Ok(run)
    }

    pub fn payload(&self) -> PathBuf {
        self.logs.join("payload")
    }

    /// Copies a tree into the payload.
    pub fn copy(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.payload().join(name);
        process::run(Command::new("cp").arg("-a").args([from, to.as_path()]))
    }

    /// A disk, which the guest finds by the suite's name, with packages that were unpacked and trees,
    /// each under its name.
    pub fn disk(&self, packages: &Path, trees: &[(&str, PathBuf)]) -> Result<PathBuf> {
        let (all, disk) = (self.logs.join("disk"), self.logs.join("disk.img"));
        let log = Log::create(self.logs.join("disk.log"))?;
        let copy = |from: &Path, to: &Path| log.run(Command::new("cp").arg("-a").args([from, to]));
        copy(packages, &all)?;
        for (name, tree) in trees {
            copy(&tree.canonicalize()?, &all.join(name))?;
        }
        if let Err(error) = guest::make_disk(&all, &disk, self.name, 512, &log) {
            bail!("{error:#}: {}", process::reason(&log.text()));
        }
        fs::remove_dir_all(all)?;
        Ok(disk)
    }

    /// Runs a command, which prints TAP between lines `#begin NAME` and `#end NAME STATUS`.
    /// The counts for each of these names are kept for the table if all of what has that name
    /// `is_whole`.
    pub fn guest(
        self,
        command: &[String],
        machine: qemu::Machine,
        is_whole: bool,
    ) -> Result<Counts> {
        let Self { name, logs } = &self;
        let kernel = Kernel::of(SUITE)?.release;
        note!("{name}: running on {kernel}");
        let options = vm::Options {
            payload: Some(self.payload()),
            timeout: Some(0),
            machine,
            suite: SUITE,
            log: Some(logs.join("console.log")),
        };
        let mut tap = File::create(logs.join("tap"))?;
        let mut tell = |line: String| println!("{line}");
        let mut report = Report::new(&mut tell);
        let mut take = |line: &[u8]| {
            let _ = tap.write_all(line);
            report.line(String::from_utf8_lossy(line).trim_end_matches('\n'));
        };
        let command = command.iter().map(Into::into).collect();
        let status = vm::run(&options, &vm::Program::Command(command), &mut take)?;
        let each = report.finish_each();
        fs::remove_dir_all(self.payload())?;
        if is_whole {
            keep(name, &each, &kernel)?;
        }

        let mut counts = Counts::default();
        each.iter().for_each(|(_, some)| counts += *some);
        println!("{name}: {counts} on {kernel}");
        if status != 0 && counts.failed == 0 {
            bail!(
                "{name}: status {status}: see above, and {}",
                logs.join("console.log").display()
            );
        }
        Ok(counts)
    }
}

/// Debian's packages that a suite asks for and the guest's root does not have, unpacked; made first
/// if need be.
pub fn packages(
    name: &str,
    usually: &'static str,
    packages: &[&str],
    without: &[&str],
) -> Result<PathBuf> {
    let suite = guest::DISTRIBUTION;
    let dir = versions::with(suite, |versions| {
        let artifact = Artifact {
            name: format!("guest-{name}"),
            what: format!("what {name} asks for (Debian {suite})"),
            usually,
            inputs: [vec!["1".into(), without.join(" ")], versions.of(packages)].concat(),
        };
        artifact.get(|dir, log| {
            let without = [root::NO_DOCUMENTATION, without].concat();
            let variant = Variant::Extract;
            root::make(&dir.join("root"), suite, variant, packages, &without, log)
        })
    })?;
    Ok(dir.join("root"))
}

/// Where the counts of a suite are kept.
fn counts_file(name: &str) -> Result<PathBuf> {
    place::build(&format!("suites/{name}.json"))
}

/// The counts of a suite that are kept, by the names of parts.
pub fn kept(name: &str) -> Result<BTreeMap<String, Value>> {
    Ok(read(&counts_file(name)?))
}

/// Keeps the counts of a suite's parts for the table, beside those of what was not run this time.
pub fn keep(suite: &str, each: &[(String, Counts)], kernel: &str) -> Result<()> {
    // Parts of a run end beside each other.
    let own = File::create(place::build("suites/lock")?)?;
    lock(&own, false, "counts of suites: another run writes them")?;
    keep_in(&counts_file(suite)?, each, kernel)
}

fn keep_in(file: &Path, each: &[(String, Counts)], kernel: &str) -> Result<()> {
    let mut kept = read(file);
    for (part, counts) in each {
        let Counts {
            passed,
            failed,
            skipped,
        } = counts;
        let value =
            json!({"passed": passed, "failed": failed, "skipped": skipped, "kernel": kernel});
        kept.insert(part.clone(), value);
    }
    Ok(fs::write(file, serde_json::to_vec_pretty(&kept)?)?)
}

/// What is in such a file, by the names of parts.
fn read(file: &Path) -> BTreeMap<String, Value> {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_beside_those_of_other_parts() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("counts.json");
        let of = |name: &str, passed| (name.to_owned(), Counts::of(passed, 0, 0));
        keep_in(&file, &[of("a", 1), of("b", 2)], "7.3")?;
        keep_in(&file, &[of("b", 3)], "7.4")?;
        let kept = read(&file);
        assert_eq!(kept.len(), 2);
        assert_eq!(kept["a"]["passed"], 1);
        assert_eq!(kept["b"]["passed"], 3);
        assert_eq!(kept["b"]["kernel"], "7.4");
        Ok(())
    }
}
