// SPDX-License-Identifier: GPL-2.0-only
//! What was tampered with, and where it was stopped.

use std::fmt;

/// Who stops it.
#[derive(Clone, Copy)]
pub enum Stage {
    /// shim, the boot loader that the firmware checks, and that checks what it starts.
    Shim,
    /// The kernel, which does not load the module.
    Kernel,
    /// `composefs-setup-root`, in the initramfs.
    SetupRoot,
    /// The driver, in a system that has started.
    Driver,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shim => "shim",
            Self::Kernel => "kernel, loading the module",
            Self::SetupRoot => "initramfs, composefs-setup-root",
            Self::Driver => "driver, opening the file",
        })
    }
}

/// A table of all that was stopped.
#[derive(Default)]
pub struct Stopped(Vec<[String; 4]>);

impl Stopped {
    /// Adds what was found in the boot `name`.
    pub fn add(&mut self, name: &str, tampered: &str, stage: Stage, said: &str) {
        let row = [name, tampered, &stage.to_string(), said];
        self.0.push(row.map(str::to_owned));
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["boot", "tampered with", "stopped by", "what it says"].map(str::to_owned);
        let rows = || std::iter::once(&heading).chain(&self.0);
        let width = |column: fn(&[String; 4]) -> &String| {
            let widths = rows().map(|row| column(row).chars().count());
            widths.max().unwrap_or_default()
        };
        let (first, second, third) = (
            width(|[name, ..]| name),
            width(|[_, tampered, ..]| tampered),
            width(|[_, _, stage, _]| stage),
        );
        for [name, tampered, stage, said] in rows() {
            writeln!(
                f,
                "{name:first$} | {tampered:second$} | {stage:third$} | {said}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_need_be() {
        let mut stopped = Stopped::default();
        stopped.add("dracut", "a byte", Stage::Shim, "no");
        assert_eq!(
            stopped.to_string(),
            "boot   | tampered with | stopped by | what it says\n\
             dracut | a byte        | shim       | no\n"
        );
    }
}
