// SPDX-License-Identifier: GPL-2.0-only
//! The patches of `tests/mutants`.
//!
//! ```text
//! # SPDX-License-Identifier: GPL-2.0-only
//! Why this matters, or what is wrong then.
//!
//! Fails: PROGRAM POINT[, POINT]...      once for each program
//! Quick: yes                            one of the fast subset
//! --- a/fs/composefs/...                a patch, as by `git diff`
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::points;
use crate::place;

/// A way to break the driver.
#[derive(Debug)]
pub struct Mutant {
    pub name: String,
    pub patch: PathBuf,
    /// The files that it changes.
    pub files: BTreeSet<PathBuf>,
    /// What must fail: points of programs.
    pub fails: BTreeMap<String, BTreeSet<u64>>,
    pub is_quick: bool,
}

impl Mutant {
    fn parse(name: &str, patch: PathBuf, text: &str) -> Result<Self> {
        let mut mutant = Self {
            name: name.into(),
            patch,
            files: BTreeSet::new(),
            fails: BTreeMap::new(),
            is_quick: false,
        };
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next_if(|line| !line.starts_with("--- ")) {
            if let Some(what) = line.strip_prefix("Fails: ") {
                let (program, list) = what
                    .split_once(' ')
                    .context("Fails: names a program without points")?;
                let numbers = list.split(',').map(|number| number.trim().parse());
                let points = numbers
                    .collect::<Result<BTreeSet<u64>, _>>()
                    .with_context(|| format!("Fails: {list} is no list of points"))?;
                mutant.fails.insert(program.into(), points);
            } else if let Some(answer) = line.strip_prefix("Quick: ") {
                mutant.is_quick = answer == "yes";
            }
        }
        for line in lines {
            if let Some(file) = line.strip_prefix("+++ b/") {
                mutant.files.insert(file.into());
            }
        }
        if mutant.fails.is_empty() {
            bail!("does not say what Fails:");
        }
        if mutant.files.is_empty() {
            bail!("changes no file");
        }
        Ok(mutant)
    }

    /// What must fail, in words.
    pub fn expected(&self) -> String {
        let words: Vec<_> = self
            .fails
            .iter()
            .map(|(program, points)| format!("{program} {}", points::list(points)))
            .collect();
        words.join("; ")
    }
}

/// All of them, by name.
pub fn all() -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(place::checkout("tests/mutants"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "patch")
        {
            mutants.push(read(&path).with_context(|| format!("mutants: {}", path.display()))?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

fn read(path: &Path) -> Result<Mutant> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Mutant::parse(&name, path.canonicalize()?, &fs::read_to_string(path)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process;

    const HEAD: &str = "# SPDX\nWhy.\n\nFails: t_a 2, 1\nFails: t_b 7\n";
    const DIFF: &str = "--- a/fs/x.rs\n+++ b/fs/x.rs\n@@ -1 +1 @@\n-Quick: yes\n+Fails: t_c 1\n";

    fn parse(text: &str) -> Result<Mutant> {
        Mutant::parse("m", PathBuf::new(), text)
    }

    #[test]
    fn what_must_fail_is_in_the_head() {
        let mutant = parse(&format!("{HEAD}{DIFF}")).unwrap();
        assert_eq!(mutant.expected(), "t_a 1, 2; t_b 7");
        assert_eq!(mutant.files, BTreeSet::from(["fs/x.rs".into()]));
        assert!(!mutant.is_quick);
        assert!(
            parse(&format!("{HEAD}Quick: yes\n{DIFF}"))
                .unwrap()
                .is_quick
        );
    }

    /// Soon done, unlike running them: a change of the driver that one does not fit any more takes it
    /// along.
    #[test]
    fn all_fit_the_driver_and_name_programs() {
        let programs = place::checkout("tests/selftests/src/bin");
        let mut misfits = Vec::new();
        for mutant in all().unwrap() {
            let mut apply = Command::new("git");
            apply.args(["apply", "--check"]).arg(&mutant.patch);
            if process::output(apply.current_dir(place::checkout(""))).is_err() {
                misfits.push(format!("{} does not apply", mutant.name));
            }
            for program in mutant.fails.keys() {
                let file = programs.join(format!("{program}.rs"));
                if !file.exists() && !programs.join(program).is_dir() {
                    misfits.push(format!("{}: no test program {program}", mutant.name));
                }
            }
        }
        assert!(misfits.is_empty(), "{misfits:#?}");
    }

    #[test]
    fn a_patch_has_to_say_something() {
        assert!(parse(HEAD).is_err() && parse(DIFF).is_err());
        assert!(parse(&format!("Fails: t_a\n{DIFF}")).is_err());
        assert!(parse(&format!("Fails: t_a one\n{DIFF}")).is_err());
    }
}
