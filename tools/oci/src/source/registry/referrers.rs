// SPDX-License-Identifier: GPL-2.0-only
//! What a registry knows to be about an image: by its API for that, or if it has none, in an index
//! that has a tag made of the image's digest.

use anyhow::{bail, Context, Result};
use composefs_http::retry::Refused;
use composefs_http::{is_same_server, Response};

use super::{Hosted, Insistence, Registry};
use crate::digest::BlobDigest;
use crate::manifest::Descriptor;
use crate::source::read_index;

/// Parts that a list may come in.
const PAGES_MAX: usize = 16;

impl Registry {
    /// What all the places that an image may be in know to be about it: a mirror may not know.
    pub(super) fn all_referrers(
        &self,
        subject: &BlobDigest,
        kind: &str,
    ) -> Result<Vec<Descriptor>> {
        let mut all: Vec<Descriptor> = Vec::new();
        let mut last = None;
        let mut is_known = false;
        for (hosted, insistence) in self.insistently() {
            let found = hosted.referrers(subject, kind, insistence);
            match found.with_context(|| hosted.place.to_string()) {
                Ok(found) => {
                    is_known = true;
                    for descriptor in found {
                        if all.iter().all(|other| other.digest != descriptor.digest) {
                            all.push(descriptor);
                        }
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if !is_known => Err(error),
            _ => Ok(all),
        }
    }
}

impl Hosted {
    fn referrers(
        &self,
        subject: &BlobDigest,
        kind: &str,
        insistence: Insistence,
    ) -> Result<Vec<Descriptor>> {
        let mut all = Vec::new();
        let first = self
            .place
            .url(&format!("referrers/{subject}?artifactType={kind}"));
        let mut page = match self.answer(&first, insistence)? {
            Some(page) => Some(page),
            None => return self.tagged_referrers(subject, insistence),
        };
        let mut pages = 0;
        while let Some(response) = page {
            let next = next(&response)
                .map(|next| self.resolve(&next))
                .transpose()?;
            all.extend(read_index(response.body)?);
            pages += 1;
            page = match next {
                Some(next) if pages < PAGES_MAX => self.answer(&next, insistence)?,
                _ => None,
            };
        }
        Ok(all)
    }

    /// What the index of a tag has.
    pub(super) fn tagged_referrers(
        &self,
        subject: &BlobDigest,
        insistence: Insistence,
    ) -> Result<Vec<Descriptor>> {
        let url = self.place.url(&format!("manifests/{}", tag(subject)));
        let answer = self.answer(&url, insistence)?;
        let tagged = answer.map_or(Ok(Vec::new()), |response| read_index(response.body));
        tagged.with_context(|| tag(subject))
    }

    /// `None` if there is nothing at an address.
    fn answer(&self, url: &str, insistence: Insistence) -> Result<Option<Response>> {
        match self.get_at(url, 0, insistence) {
            Ok(response) => Ok(Some(response)),
            // Those that do not know what is asked for say so in several ways.
            Err(error) => match error.downcast_ref() {
                Some(Refused {
                    status: 400 | 404 | 405 | 406 | 410 | 501,
                    ..
                }) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// The address of another part of a list. It is to be on the same server.
    fn resolve(&self, next: &str) -> Result<String> {
        let url = self.client.resolve(&self.place.url(""), next)?;
        if !is_same_server(&url, &self.place.url("")) {
            bail!("its list goes on at another server");
        }
        Ok(url)
    }
}

/// The tag of the index of what is about an image.
pub(super) fn tag(subject: &BlobDigest) -> String {
    subject.as_str().replace(':', "-")
}

/// Where a list goes on: `<ADDRESS>; rel="next"`.
fn next(response: &Response) -> Option<String> {
    response.headers("link").find_map(|link| {
        let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
        let is_next = rest.contains("rel=\"next\"") || rest.contains("rel=next");
        is_next.then(|| address.to_owned())
    })
}
