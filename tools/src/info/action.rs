// SPDX-License-Identifier: GPL-2.0-only
//! What composefs-info can do.

use std::fmt;

use clap::ValueEnum;

/// One of the commands, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Action {
    Ls,
    Objects,
    MissingObjects,
    Dump,
    MeasureFile,
    Verify,
    Sign,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
