// SPDX-License-Identifier: GPL-2.0-only
//! The test programs, which run in guests.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use crate::arch::Arch;
use crate::coverage::{self, Coverage};
use crate::kernel::Kernel;
use crate::suite::Suite;
use crate::tap::{Counts, Report};
use crate::{containers, guest, note, payload, qemu, vm};

/// Those that have more to do with the tools than with the driver, for a guest of their own beside
/// that of the others.
pub const TOOLS: &[&str] = &[
    "t_at_once",
    "t_c_library",
    "t_chain",
    "t_compare",
    "t_fetch",
    "t_interop",
    "t_kills",
    "t_lazy",
    "t_lazy_faults",
    "t_mountd",
    "t_mountd_attacks",
    "t_mountd_many",
    "t_prefetch",
    "t_registry",
    "t_repository",
    "t_same_bytes",
    "t_sealed",
];

/// Images from registries to mounts, as large as they come, and for long.
pub const LARGE: &[&str] = &[
    "t_registry",
    "pulls 50000 2147483648",
    "t_kills 200",
    "t_at_once 600",
];

/// What runs, and on what.
#[derive(Clone)]
pub struct Guest<'a> {
    pub suite: Suite,
    /// Whether to say how much of the driver they came by.
    pub coverage: bool,
    /// Whether there are others' programs for container images, and a web server: what needs them is
    /// skipped without.
    pub has_containers: bool,
    /// Patterns for names of programs.
    pub programs: &'a [&'a str],
    /// Patterns for those that do not run all the same.
    pub but: &'a [&'a str],
    /// Instead of one built here.
    pub module: Option<PathBuf>,
}

impl<'a> Guest<'a> {
    /// The same, with other programs.
    pub fn with(&self, programs: &'a [&'a str]) -> Self {
        Self {
            programs,
            ..self.clone()
        }
    }

    /// The same, but for some programs.
    pub fn without(&self, but: &'a [&'a str]) -> Self {
        Self {
            but,
            ..self.clone()
        }
    }

    /// Runs them, with what is left of that in the directory `logs`.
    pub fn run(
        &self,
        name: &str,
        logs: &Path,
        mut tell: &mut (dyn FnMut(String) + Send),
    ) -> Result<Counts> {
        fs::create_dir_all(logs)?;
        let payload = logs.join("payload");
        guest::root_image(self.suite.arch())?;
        payload::make(&payload::Options {
            tests: true,
            bench: false,
            suite: self.suite,
            module: self.module.clone(),
            part: None,
            dir: payload.clone(),
        })?;
        let mut programs = matching(&payload.join("tests"), self.programs)?;
        programs.retain(|name| !self.but.iter().any(|pattern| matches(name, pattern)));
        if programs.is_empty() {
            bail!("no test program {}", self.programs.join(" "));
        }
        let kernel = Kernel::of(self.suite)?.release;
        let usually = if programs.len() > 8 {
            "12 minutes"
        } else {
            "2 minutes"
        };
        note!("{name} tests: running on {kernel} (usually {usually})");

        // For one program, and for the whole guest, in seconds. Who gives numbers gives large ones.
        let has_numbers = programs.iter().any(|name| name.contains(' '));
        let (limit, whole) = match self.suite {
            _ if has_numbers => (10_800, 21_600),
            suite if suite.is_debug() => (3600, 10_800),
            suite if suite.arch() != Arch::Amd64 => (3600, 14_400),
            _ => (900, 3600),
        };
        let mut disks = Vec::new();
        if self.has_containers {
            let disk = containers::disk(self.suite.arch())?;
            disks.push(format!("{}:ro", disk.display()));
        }
        let coverage = self.coverage.then(|| Coverage::of(self.suite, &payload));
        let mut coverage = coverage.transpose()?;
        let runner = match coverage {
            Some(_) => coverage::RUNNER,
            None => "/opt/composefs/run-tests",
        };
        let mut command = vec![runner.into(), limit.to_string().into()];
        let path = |name: &String| format!("/opt/composefs/tests/{name}").into();
        command.extend(programs.iter().map(path));
        let options = vm::Options {
            payload: Some(payload.clone()),
            timeout: Some(whole),
            machine: qemu::Machine {
                memory: "3G".into(),
                blank_disk: vec![4 << 30],
                disks,
                // What waits for another CPU to come by would wait in vain for one that stands still.
                threads: self.suite == Suite::Kcsan,
                ..Default::default()
            },
            suite: self.suite,
            log: Some(logs.join("console.log")),
        };
        let mut tap = File::create(logs.join("guest.tap"))?;
        let mut report = Report::new(&mut tell);
        let status = {
            let mut take = |line: &[u8]| {
                let text = String::from_utf8_lossy(line);
                if coverage.as_mut().is_some_and(|some| some.take(&text)) {
                    return;
                }
                let _ = tap.write_all(line);
                report.line(text.trim_end_matches('\n'));
            };
            vm::run(&options, &vm::Program::Command(command), &mut take)?
        };
        let mut counts = report.finish();
        fs::remove_dir_all(payload)?;
        println!("{name}: {counts} on {kernel}");
        if let Some(coverage) = coverage {
            println!(
                "{name}: {}",
                coverage.tell(&logs.with_file_name("coverage"))?
            );
        }
        if status != 0 {
            tell(format!(
                "{name}: FAILED: status {status}: see above, and build/test/{name}/console.log"
            ));
            counts.failed += 1;
        }
        Ok(counts)
    }
}

/// The names in a directory that match any of the patterns, in their order, each with what follows
/// a blank in its pattern.
fn matching(dir: &Path, patterns: &[&str]) -> Result<Vec<String>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let fitting = |pattern: &&str| {
            let end = pattern.find(' ').unwrap_or(pattern.len());
            let (pattern, arguments) = pattern.split_at(end);
            matches(&name, pattern).then(|| format!("{name}{arguments}"))
        };
        programs.extend(patterns.iter().find_map(fitting));
    }
    programs.sort();
    Ok(programs)
}

/// Whether a name matches a pattern with `*`, and `[!x]` for any character but those.
fn matches(name: &str, pattern: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix('*') {
        let mut tails = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        return tails.any(|at| name.get(at..).is_some_and(|tail| matches(tail, rest)));
    }
    if let Some((but, rest)) = pattern
        .strip_prefix("[!")
        .and_then(|rest| rest.split_once(']'))
    {
        let mut tail = name.chars();
        return tail.next().is_some_and(|first| !but.contains(first))
            && matches(tail.as_str(), rest);
    }
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => {
            let behind = |text: &str| text.get(a.len_utf8()..).unwrap_or_default().to_owned();
            matches(&behind(name), &behind(pattern))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        assert!(
            matches("t_read", "t_read") && matches("t_read", "t_*") && matches("t_mounts", "t_m*s")
        );
        assert!(!matches("t_readdir", "t_read") && !matches("alloc", "t_*"));
        assert!(matches("t_files", "t_[!cdew]*") && !matches("t_compare", "t_[!cdew]*"));
    }
}
