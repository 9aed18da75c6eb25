// SPDX-License-Identifier: GPL-2.0-only
//! Putting an image into a registry.

use anyhow::{bail, ensure, Context, Result};
use composefs_http::retry::Refused;
use composefs_http::{Action, Content, Response};
use serde_json::{json, Value};

use super::name::{Name, Version};
use super::referrers::tag;
use super::{about, Hosted, Insistence, Leave, Registry, Settings};
use crate::destination::{Destination, Put};
use crate::digest::BlobDigest;
use crate::manifest::{Descriptor, OCI_INDEX};
use crate::reference::Reference;
use crate::source::read_some;

/// What a registry answers that knows by itself what a manifest is about.
const SUBJECT: &str = "oci-subject";

impl Registry {
    /// The registry that an image of this name is put into: not a mirror of it.
    ///
    /// # Errors
    /// If it is not a name, the configuration cannot be read, or forbids it, or nobody answers.
    pub fn open_to_push(name: &str, settings: &Settings) -> Result<Self> {
        let mut registry = Self::open_to(Leave::Push, name, settings)?;
        let Some(own) = registry.places.last() else {
            bail!("there is nowhere to put it");
        };
        let (host, path) = (own.place.host.clone(), own.place.path.clone());
        let is_own = |hosted: &Hosted| hosted.place.host == host && hosted.place.path == path;
        registry.places.retain(is_own);
        let mut last = None;
        // With TLS, or without it if that may be: whichever way there is an answer, of any kind.
        for hosted in std::mem::take(&mut registry.places) {
            let name = hosted.place.to_string();
            match hosted.ask(&hosted.place.url("tags/list"), 0, &Action::Get) {
                Err(error) if super::is_unreachable(&error) => last = Some(error.context(name)),
                _ => {
                    registry.places = vec![hosted];
                    return Ok(registry);
                }
            }
        }
        match last {
            Some(error) => Err(error),
            None => bail!("there is nowhere to put it"),
        }
    }

    fn put<T>(&self, put: impl Fn(&Hosted) -> Result<T>) -> Result<T> {
        let Some(hosted) = self.places.first() else {
            bail!("there is nowhere to put it");
        };
        put(hosted).with_context(|| hosted.place.to_string())
    }
}

impl Destination for Registry {
    fn has_blob(&self, digest: &BlobDigest) -> Result<bool> {
        self.put(|hosted| hosted.has(&format!("blobs/{digest}")))
    }

    fn take_blob(&self, digest: &BlobDigest, from: &Reference) -> Result<bool> {
        let Reference::Registry(from) = from else {
            return Ok(false);
        };
        let from = Name::parse(from)?;
        if from.host != self.name.host || from.path == self.name.path {
            return Ok(false);
        }
        self.put(|hosted| {
            let path = format!("blobs/uploads/?mount={digest}&from={}", from.path);
            let response =
                hosted.patiently(|| hosted.ask(&hosted.place.url(&path), 0, &Action::Post));
            // Who may not read there sends it.
            Ok(response.is_ok_and(|response| response.status == 201))
        })
    }

    fn put_blob(&self, digest: &BlobDigest, content: &Content) -> Result<()> {
        let put = || self.put(|hosted| hosted.patiently(|| hosted.send_blob(digest, content)));
        put().with_context(|| format!("blob {digest}"))
    }

    fn put_manifest(&self, manifest: &Put) -> Result<()> {
        let put = |hosted: &Hosted| hosted.send_manifest(manifest.digest.as_str(), manifest);
        self.put(put).map(drop)
    }

    fn put_referrer(&self, manifest: &Put, kind: &str, subject: &BlobDigest) -> Result<()> {
        self.put(|hosted| {
            let response = hosted.send_manifest(manifest.digest.as_str(), manifest)?;
            if response.headers(SUBJECT).next().is_some() {
                return Ok(());
            }
            let others = hosted.tagged_referrers(subject, Insistence::Patient)?;
            let index = index_with(&others, manifest, kind);
            hosted.send_manifest(&tag(subject), &Put::new(OCI_INDEX, index.as_bytes()))?;
            Ok(())
        })
    }

    fn name(&self, manifest: &Put) -> Result<()> {
        if let Version::Digest(digest) = self.name.version() {
            let found = &manifest.digest;
            ensure!(
                digest == found,
                "the image is another one: its digest is {found}"
            );
        }
        let version = self.name.version().to_string();
        self.put(|hosted| hosted.send_manifest(&version, manifest).map(drop))
    }
}

impl Hosted {
    /// Whether there is something at a path.
    fn has(&self, path: &str) -> Result<bool> {
        let url = self.place.url(path);
        let found = self.patiently(|| self.ask(&url, 0, &Action::Head));
        match found {
            Ok(_) => Ok(true),
            Err(error) => match error.downcast_ref() {
                Some(Refused { status: 404, .. }) => Ok(false),
                _ => Err(error),
            },
        }
    }

    fn send_blob(&self, digest: &BlobDigest, content: &Content) -> Result<()> {
        let url = self.place.url("blobs/uploads/");
        let begun = self.ask(&url, 0, &Action::Post)?;
        let location = self.client.location(&url, &begun)?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let action = Action::Put("application/octet-stream", content.clone());
        end(self.ask(&url, 0, &action)?)
    }

    fn send_manifest(&self, reference: &str, manifest: &Put) -> Result<Response> {
        let path = format!("manifests/{reference}");
        let action = Action::Put(manifest.media_type, Content::bytes(manifest.text));
        let sent = self.patiently(|| self.ask(&self.place.url(&path), 0, &action));
        sent.map_err(|error| about(&path, error))
    }
}

/// Reads what is left of an answer, so that the connection is good for more.
fn end(response: Response) -> Result<()> {
    read_some(response.body).map(drop)
}

/// An index of what was about an image and what is to be.
fn index_with(others: &[Descriptor], manifest: &Put, kind: &str) -> String {
    let mut all: Vec<Value> = Vec::new();
    for other in others
        .iter()
        .filter(|other| other.digest != manifest.digest)
    {
        let mut entry = json!({
            "mediaType": other.media_type,
            "digest": other.digest.as_str(),
            "size": other.size,
            "annotations": other.annotations,
        });
        if let (Some(entry), Some(kind)) = (entry.as_object_mut(), &other.artifact_type) {
            entry.insert("artifactType".into(), kind.as_str().into());
        }
        all.push(entry);
    }
    all.push(manifest.describe("artifactType", kind.into()));
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all}).to_string()
}
