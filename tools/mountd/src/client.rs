// SPDX-License-Identifier: GPL-2.0-only
//! A caller of the service.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use serde::Serialize;
use zlink::Call;

use crate::conversation::runtime;
use crate::interface::{Error, MountImage, Mounted};

/// What is asked for: open files, as [`MountImage`] has them.
pub struct Request<'a> {
    /// The image.
    pub image: BorrowedFd<'a>,
    /// Where its objects are.
    pub basedirs: &'a [BorrowedFd<'a>],
    /// A signature of it.
    pub signature: Option<BorrowedFd<'a>>,
    /// The fs-verity digest that it must have, in hexadecimal.
    pub digest: Option<String>,
    /// Whether objects must prove their digests in any case.
    pub verity: bool,
    /// Whose owners are shown.
    pub namespace: BorrowedFd<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "method", content = "parameters")]
enum Method {
    #[serde(rename = "org.composefs.MountFileSystem.MountImage")]
    MountImage(MountImage),
}

/// Asks the service at `socket` for a mount, which is nowhere yet.
///
/// # Errors
/// If there is no service, or it refuses: [`Error`].
pub fn mount(socket: &Path, request: &Request) -> Result<OwnedFd> {
    let mut descriptors = Vec::new();
    let mut add = |fd: BorrowedFd| -> std::io::Result<usize> {
        descriptors.push(fd.try_clone_to_owned()?);
        Ok(descriptors.len() - 1)
    };
    let parameters = MountImage {
        image_file_descriptor: add(request.image)?,
        basedir_file_descriptors: request
            .basedirs
            .iter()
            .map(|&basedir| add(basedir))
            .collect::<std::io::Result<_>>()?,
        signature_file_descriptor: request.signature.map(&mut add).transpose()?,
        digest: request.digest.clone(),
        user_namespace_file_descriptor: add(request.namespace)?,
        verity: Some(request.verity),
        no_exec: None,
    };
    let call = Call::new(Method::MountImage(parameters));
    runtime()?.block_on(async {
        let mut connection = zlink::unix::connect(socket)
            .await
            .with_context(|| format!("cannot call the mount service at {}", socket.display()))?;
        let (reply, mut received) = connection
            .call_method::<_, Mounted, Error>(&call, descriptors)
            .await
            .context("the mount service does not answer")?;
        let mounted = reply?.into_parameters();
        let mounted = mounted.ok_or_else(|| anyhow!("the mount service answers nothing"))?;
        let at = mounted.mount_file_descriptor;
        match at < received.len() {
            true => Ok(received.swap_remove(at)),
            false => Err(anyhow!("the mount service sends no mount")),
        }
    })
}
