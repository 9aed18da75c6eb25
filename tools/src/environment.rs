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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_in_the_home_directory() {
        std::env::set_var("COMPOSEFS_TEST_SAID", "/said");
        std::env::set_var("COMPOSEFS_TEST_EMPTY", "");
        assert_eq!(path("COMPOSEFS_TEST_SAID"), Some("/said".into()));
        assert_eq!(path("COMPOSEFS_TEST_EMPTY"), None);
        assert_eq!(path("COMPOSEFS_TEST_UNSET"), None);

        let home = path("HOME").map(|home| home.join("name"));
        let found = |variable| path_or_in_home(variable, "name");
        assert_eq!(found("COMPOSEFS_TEST_SAID"), Some("/said".into()));
        assert_eq!(found("COMPOSEFS_TEST_EMPTY"), home);
        assert_eq!(found("COMPOSEFS_TEST_UNSET"), home);
    }
}
