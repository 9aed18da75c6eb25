// SPDX-License-Identifier: GPL-2.0-only
//! How much of the driver's code tests come by: KCOV's word for each basic block of it, in the kernel
//! that looks for its own bugs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::suite::Suite;
use crate::toolchain::Toolchain;
use crate::{debug_kernel, note, place, process};

/// What runs in the guest in place of run-tests.
pub const RUNNER: &str = "/opt/composefs/coverage/run";

/// Prints `ADDRESS <FUNCTION>` for each basic block of the kernel at $1 that says that it is come by:
/// the address where the call of who takes that down returns to.
const BLOCKS: &str = r#"
llvm-objdump --disassemble --no-show-raw-insn "$1" | awk '
    told { sub(":", "", $1); print $1, function_; told = 0 }
    /^[0-9a-f]+ <.*>:$/ { function_ = $2 }
    /<__sanitizer_cov_trace_pc>$/ { told = 1 }
' | llvm-cxxfilt"#;

/// What there is of the driver, and what was come by.
pub struct Coverage {
    /// The functions of basic blocks, by their addresses.
    blocks: BTreeMap<u64, String>,
    reached: BTreeSet<u64>,
}

impl Coverage {
    /// Puts what collects it into the payload of a guest.
    pub fn of(suite: Suite, payload: &Path) -> Result<Self> {
        note!("coverage: looking for the driver's basic blocks (usually 2 minutes)");
        let toolchain = Toolchain::clang()?;
        let kernel = debug_kernel::path(suite)?;
        let to = payload.join("coverage");
        let from = place::checkout("scripts/in-guest/coverage");
        process::run(Command::new("cp").arg("-r").args([from.as_path(), &to]))?;
        let mut compile = toolchain.command(&[&to], "gcc")?;
        compile.args([
            "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o",
        ]);
        compile.args([to.join("collect.so"), to.join("collect.c")]);
        process::run(&mut compile)?;

        let mut list = toolchain.command(&[&kernel], "bash")?;
        list.args(["-euo", "pipefail", "-c", BLOCKS, "bash"]);
        list.arg(kernel.join("upper/vmlinux"));
        let blocks = parse(&process::output(&mut list)?)?;
        if blocks.is_empty() {
            bail!("coverage: the kernel has no basic block that says that it is come by");
        }
        Ok(Self {
            blocks,
            reached: BTreeSet::new(),
        })
    }

    /// Takes a line of the guest's, if it is about this.
    pub fn take(&mut self, line: &str) -> bool {
        let address = line.strip_prefix("#block ").map(str::trim_end);
        let address = address.and_then(|text| u64::from_str_radix(text, 16).ok());
        self.reached.extend(address);
        address.is_some()
    }

    /// Writes which functions were not come by, or only in part; what is to be said of all.
    pub fn tell(&self, to: &Path) -> Result<String> {
        if self.reached.is_empty() {
            bail!("coverage: the guest came by nothing of the driver");
        }
        let mut functions: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (address, function) in &self.blocks {
            let (reached, all) = functions.entry(function).or_default();
            *reached += usize::from(self.reached.contains(address));
            *all += 1;
        }
        let mut lines = String::new();
        for (function, (reached, all)) in &functions {
            lines += &format!("{reached} of {all}: {function}\n");
        }
        fs::write(to, lines).with_context(|| format!("{}: cannot be written", to.display()))?;
        let reached: usize = functions.values().map(|(reached, _)| reached).sum();
        let entered = functions.values().filter(|(reached, _)| *reached > 0);
        Ok(format!(
            "came by {reached} of the driver's {} basic blocks, and {} of its {} functions",
            self.blocks.len(),
            entered.count(),
            functions.len()
        ))
    }
}

/// What [`BLOCKS`] prints.
fn parse(list: &str) -> Result<BTreeMap<u64, String>> {
    let each = |line: &str| {
        let (address, function) = line.split_once(' ')?;
        let function = function.strip_prefix('<')?.strip_suffix(">:")?;
        Some((u64::from_str_radix(address, 16).ok()?, function.to_owned()))
    };
    list.lines()
        .map(|line| each(line).with_context(|| format!("coverage: no basic block: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_counted_by_functions() -> Result<()> {
        let mut coverage = Coverage {
            blocks: parse("ff10 <a>:\nff18 <a>:\nff20 <b::<c>::d>:\nff30 <e>:")?,
            reached: BTreeSet::new(),
        };
        assert!(!coverage.take("ok 1 - a point"));
        for line in ["#block ff18\n", "#block ff20", "#block ff18", "#block aa"] {
            assert!(coverage.take(line));
        }
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("coverage");
        let said = coverage.tell(&file)?;
        assert_eq!(
            said,
            "came by 2 of the driver's 4 basic blocks, and 2 of its 3 functions"
        );
        let functions = "1 of 2: a\n1 of 1: b::<c>::d\n0 of 1: e\n";
        assert_eq!(fs::read_to_string(file)?, functions);
        Ok(())
    }

    #[test]
    fn who_came_by_nothing_says_so() -> Result<()> {
        let coverage = Coverage {
            blocks: parse("ff10 <a>:")?,
            reached: BTreeSet::new(),
        };
        assert!(coverage.tell(Path::new("/dev/null")).is_err());
        Ok(())
    }
}
