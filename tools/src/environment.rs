// SPDX-License-Identifier: GPL-2.0-only
//! Paths that the environment says.

use std::path::PathBuf;

/// The path that a variable says, unless it says nothing.
pub fn path(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable)?;
    (!value.is_empty()).then(|| value.into())
}

/// The directory that a variable says, or else the one of this name in the home directory.
pub fn path_or_in_home(variable: &str, name: &str) -> Option<PathBuf> {
    path(variable).or_else(|| Some(path("HOME")?.join(name)))
}
