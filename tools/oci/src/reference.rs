// SPDX-License-Identifier: GPL-2.0-only
//! Where an image is: `docker://host/name:tag`, `oci:directory:tag` and the like, as skopeo has them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{anyhow, bail, Error, Result};
use composefs_tools::quote;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In a registry: its name there, with all that follows.
    Registry(String),
    /// In a directory, as OCI lays it out, under a tag if it says so.
    Layout(PathBuf, Option<String>),
    /// In an archive of such a directory.
    Archive(PathBuf, Option<String>),
    /// In the storage of podman and its fellows.
    Storage(String),
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (transport, rest) = text.split_once(':')?;
            Some(match transport {
                "docker" => Self::Registry(rest.strip_prefix("//")?.to_owned()),
                "registry" => Self::Registry(rest.to_owned()),
                "oci" => layout(rest, Self::Layout),
                "oci-archive" => layout(rest, Self::Archive),
                "containers-storage" => Self::Storage(rest.to_owned()),
                _ => return None,
            })
        };
        let text = quote::bytes(text.as_bytes());
        let reference = parse().ok_or_else(|| {
            anyhow!("{text} does not say where the image is: docker://…, oci:…, oci-archive:… or containers-storage:…")
        })?;
        match &reference {
            Self::Registry(name) | Self::Storage(name) if name.is_empty() => {
                bail!("{text} has no name")
            }
            Self::Layout(path, _) | Self::Archive(path, _) if path.as_os_str().is_empty() => {
                bail!("{text} has no path")
            }
            _ => Ok(reference),
        }
    }
}

impl Reference {
    /// What it is called from wherever one is; `None` if there is nothing to call it.
    pub fn absolute(&self) -> Option<String> {
        match self {
            Self::Registry(name) => Some(format!("docker://{name}")),
            Self::Storage(name) => Some(format!("containers-storage:{name}")),
            Self::Layout(path, tag) => layout_text("oci", path, tag.as_deref()),
            Self::Archive(path, tag) => layout_text("oci-archive", path, tag.as_deref()),
        }
    }
}

fn layout_text(transport: &str, path: &Path, tag: Option<&str>) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let path = path.to_str()?;
    match tag {
        Some(tag) => Some(format!("{transport}:{path}:{tag}")),
        // What is behind a colon there would be taken for the tag.
        None if path.rsplit('/').next()?.contains(':') => None,
        None => Some(format!("{transport}:{path}")),
    }
}

/// A path, and a tag behind the last colon if no slash follows that.
fn layout(text: &str, make: impl FnOnce(PathBuf, Option<String>) -> Reference) -> Reference {
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => make(path.into(), Some(tag.to_owned())),
        _ => make(text.into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_from_elsewhere() {
        let here = std::env::current_dir().expect("directory");
        let here = here.to_str().expect("text");
        for (text, want) in [
            ("docker://a/b:c", "docker://a/b:c".to_owned()),
            ("registry:a/b", "docker://a/b".to_owned()),
            ("oci:a/b:c", format!("oci:{here}/a/b:c")),
            ("oci-archive:/a:1/b", "oci-archive:/a:1/b".to_owned()),
            ("containers-storage:a", "containers-storage:a".to_owned()),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.absolute(), Some(want));
        }
    }

    #[test]
    fn references() {
        let parse = |text: &str| text.parse::<Reference>().expect(text);
        assert_eq!(parse("docker://a/b:c"), Reference::Registry("a/b:c".into()));
        assert_eq!(parse("oci:/a/b"), Reference::Layout("/a/b".into(), None));
        assert_eq!(
            parse("oci:/a:1/b:c"),
            Reference::Layout("/a:1/b".into(), Some("c".into()))
        );
        assert_eq!(
            parse("oci-archive:a:b"),
            Reference::Archive("a".into(), Some("b".into()))
        );
        assert_eq!(
            parse("containers-storage:a"),
            Reference::Storage("a".into())
        );
        for text in [
            "",
            "debian",
            "docker:a",
            "docker://",
            "oci:",
            "oci-archive::a",
            "tar:a",
        ] {
            text.parse::<Reference>().expect_err(text);
        }
    }
}
