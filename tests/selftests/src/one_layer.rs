// SPDX-License-Identifier: GPL-2.0-only
//! An OCI image of one layer in a directory, made without others' tools for that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::run;

/// How the layer is compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// It is not.
    Nothing,
    Gzip,
}

/// Makes one of a tree in the directory `image`, which is made.
///
/// # Errors
/// If it cannot be.
pub fn make(image: &Path, tree: &Path, by: By) -> Result<()> {
    let image = Image(image.to_owned());
    fs::create_dir_all(image.blobs())?;
    let layer = image.0.join("layer");
    let paths = [
        Path::new("-cf"),
        &layer,
        Path::new("-C"),
        tree,
        Path::new("."),
    ];
    run(
        "tar",
        [
            &[Path::new("--format=pax"), Path::new("--sort=name")][..],
            &paths,
        ]
        .concat(),
    )?;
    let diff_id = sha256(&layer)?;
    let layer = match by {
        By::Nothing => image.blob(&layer, "layer.v1.tar")?,
        By::Gzip => {
            run("gzip", [&layer])?;
            image.blob(&layer.with_extension("gz"), "layer.v1.tar+gzip")?
        }
    };
    let config = format!(
        "{{\"architecture\": \"amd64\", \"os\": \"linux\", \
         \"rootfs\": {{\"type\": \"layers\", \"diff_ids\": [\"sha256:{diff_id}\"]}}}}"
    );
    let config = image.text(&config, "config.v1+json")?;
    let manifest = format!(
        "{{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \
         \"config\": {config}, \"layers\": [{layer}]}}"
    );
    let manifest = image.text(&manifest, "manifest.v1+json")?;
    let index = format!("{{\"schemaVersion\": 2, \"manifests\": [{manifest}]}}");
    Ok(fs::write(image.0.join("index.json"), index)?)
}

struct Image(PathBuf);

impl Image {
    fn blobs(&self) -> PathBuf {
        self.0.join("blobs/sha256")
    }

    fn text(&self, text: &str, kind: &str) -> Result<String> {
        let path = self.0.join("text");
        fs::write(&path, text)?;
        self.blob(&path, kind)
    }

    /// Moves a file to the blobs, and describes it.
    fn blob(&self, path: &Path, kind: &str) -> Result<String> {
        let (digest, size) = (sha256(path)?, fs::metadata(path)?.len());
        fs::rename(path, self.blobs().join(&digest))?;
        Ok(format!(
            "{{\"mediaType\": \"application/vnd.oci.image.{kind}\", \
             \"digest\": \"sha256:{digest}\", \"size\": {size}}}"
        ))
    }
}

fn sha256(path: &Path) -> Result<String> {
    let line = run("sha256sum", [path])?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}
