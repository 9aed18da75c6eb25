// SPDX-License-Identifier: GPL-2.0-only
//! Where things are: the checkout, and the cache outside it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file or directory of the checkout, by its path there.
pub fn checkout(path: &str) -> PathBuf {
    let top = env::var_os("COMPOSEFS_TOP").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    top.join(path)
}

/// What is built from the checkout, in it.
pub fn build(path: &str) -> Result<PathBuf> {
    let path = checkout("build").join(path);
    let dir = path.parent().unwrap_or(&path);
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(path)
}

/// The cache of what takes long to make, made if it is not there.
pub fn cache() -> Result<PathBuf> {
    let dir = match (
        env::var_os("COMPOSEFS_CACHE"),
        env::var_os("XDG_CACHE_HOME"),
    ) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(dir)) => Path::new(&dir).join(NAME),
        (None, None) => Path::new(&env::var_os("HOME").context("HOME is not set")?)
            .join(".cache")
            .join(NAME),
    };
    for part in ["tmp", "lock", "log", "run"] {
        std::fs::create_dir_all(dir.join(part)).with_context(|| {
            format!(
                "cannot write to the cache directory {}; set COMPOSEFS_CACHE to another",
                dir.display()
            )
        })?;
    }
    Ok(dir.canonicalize()?)
}

const NAME: &str = "composefs-in-rust";
