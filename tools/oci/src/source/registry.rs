// SPDX-License-Identifier: GPL-2.0-only
//! A registry, as the OCI distribution specification has it.

mod auth;
mod challenge;
mod config;
mod name;
mod push;
mod referrers;
mod resume;
mod token;

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{bail, Context, Error, Result};
use composefs_http::retry::{self, Patience, Refused, Verdict};
use composefs_http::{is_same_server, Access, Action, Client, Failure, Request, Response};
use composefs_tools::lock::lock;
use composefs_tools::quote;

use self::auth::Credentials;
use self::config::Place;
use self::name::{Name, Version};
use self::resume::Resuming;
use self::token::Token;
use super::{read_some, Root, Source};
use crate::digest::BlobDigest;
use crate::manifest::{Descriptor, DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

pub use self::config::Trust;

/// How registries are spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether their certificates are checked.
    pub trust: Trust,
    /// How long the first pause is when one has to be asked again.
    pub pause: Duration,
    /// How long one may be slow.
    pub stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trust: Trust::Configured,
            pause: Duration::from_secs(1),
            stall: Duration::from_secs(30),
        }
    }
}

/// What a registry is asked for leave to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Pull,
    Push,
}

impl Leave {
    /// In the words of those who give it.
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// An image in a registry, or in one of its mirrors.
#[derive(Debug)]
pub struct Registry {
    name: Name,
    places: Vec<Hosted>,
}

/// What is done about a place that does not answer, or is busy.
#[derive(Clone, Copy)]
enum Insistence {
    /// The next place is asked.
    Once,
    /// It is asked again, with pauses.
    Patient,
}

/// One of the places that it may be in.
#[derive(Debug)]
struct Hosted {
    place: Place,
    client: Client,
    patience: Patience,
    leave: Leave,
    token: Mutex<Option<Token>>,
    /// Whether it did not answer, and so is not asked again while there are others. To find that
    /// out costs: with TLS, to read all authorities.
    is_gone: AtomicBool,
}

impl Registry {
    /// The image of this name, wherever the configuration says that it may be.
    ///
    /// # Errors
    /// If it is not a name, the configuration cannot be read, or forbids it.
    pub fn open(name: &str, settings: &Settings) -> Result<Self> {
        Self::open_to(Leave::Pull, name, settings)
    }

    fn open_to(leave: Leave, name: &str, settings: &Settings) -> Result<Self> {
        let parsed = Name::parse(name)?;
        let places = config::places(&parsed, settings.trust)?;
        let hosted = |place: Place| Hosted {
            client: Client::new(Access {
                is_verified: place.is_verified,
                may_be_plain: place.is_plain,
                authority: place.authority.clone(),
                stall: settings.stall,
            }),
            place,
            patience: Patience::new(settings.pause),
            leave,
            token: Mutex::default(),
            is_gone: AtomicBool::new(false),
        };
        Ok(Self {
            places: places.into_iter().map(hosted).collect(),
            name: parsed,
        })
    }

    /// The places, and how each is asked: those that another follows once, lest a mirror that is
    /// gone holds everything up.
    fn insistently(&self) -> impl Iterator<Item = (&Hosted, Insistence)> {
        let last = self.places.len().saturating_sub(1);
        let all = self.places.iter().enumerate().map(move |(at, hosted)| {
            let insistence = match at == last {
                true => Insistence::Patient,
                false => Insistence::Once,
            };
            (hosted, insistence)
        });
        all.filter(|(hosted, insistence)| match insistence {
            Insistence::Once => !hosted.is_gone.load(Ordering::Relaxed),
            Insistence::Patient => true,
        })
    }

    /// Asks one place after the other. The last is the registry itself, whose refusal counts.
    fn ask<'a, T>(
        &'a self,
        by_digest: bool,
        ask: impl Fn(&'a Hosted, Insistence) -> Result<T>,
    ) -> Result<T> {
        let mut last = None;
        for (hosted, insistence) in self.insistently() {
            if hosted.place.only_by_digest && !by_digest {
                continue;
            }
            match ask(hosted, insistence).with_context(|| hosted.place.to_string()) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    hosted
                        .is_gone
                        .fetch_or(is_unreachable(&error), Ordering::Relaxed);
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) => Err(error),
            None => bail!("there is nowhere to fetch it from"),
        }
    }
}

/// Whether a registry could not be asked at all.
pub fn is_unreachable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some()
}

impl Source for Registry {
    fn root(&self) -> Result<Root> {
        let version = self.name.version();
        let by_digest = matches!(version, Version::Digest(_));
        let text = self.ask(by_digest, |hosted, insistence| {
            let path = format!("manifests/{version}");
            read_some(hosted.get(&path, 0, insistence)?.body)
        })?;
        if let Version::Digest(digest) = version {
            let found = BlobDigest::of(&text);
            if found != *digest {
                bail!("manifest {digest}: is not what it should be: its digest is {found}");
            }
        }
        Ok(Root::Text(text))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.ask(true, |hosted, insistence| {
            let path = format!("manifests/{}", descriptor.digest);
            let response = hosted.get(&path, 0, insistence)?;
            Ok(Box::new(response.body) as Box<dyn Read + Send + '_>)
        })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let path = format!("blobs/{}", descriptor.digest);
        self.ask(true, |hosted, insistence| {
            let first = hosted.get(&path, 0, insistence)?.body;
            let path = path.clone();
            let again = move |at| Ok(hosted.get(&path, at, Insistence::Patient)?.body);
            let resuming = Resuming::new(first, descriptor.size, &hosted.patience, again);
            Ok(Box::new(resuming) as Box<dyn Read + Send + '_>)
        })
    }

    fn referrers(&self, subject: &BlobDigest, kind: &str) -> Result<Vec<Descriptor>> {
        self.all_referrers(subject, kind)
    }
}

/// Says what it was that the registry does not do; not, if it just could not be asked.
fn about(path: &str, error: Error) -> Error {
    match retry::is_passing(&error) {
        true => error,
        false => error.context(quote::bytes(path.as_bytes()).to_string()),
    }
}

impl Hosted {
    /// Gets what is at a path of the repository, from byte `from` on.
    fn get(&self, path: &str, from: u64, insistence: Insistence) -> Result<Response> {
        let got = self.get_at(&self.place.url(path), from, insistence);
        got.map_err(|error| about(path, error))
    }

    fn get_at(&self, url: &str, from: u64, insistence: Insistence) -> Result<Response> {
        let ask = || self.ask(url, from, &Action::Get);
        match insistence {
            Insistence::Once => ask(),
            Insistence::Patient => self.patiently(ask),
        }
    }

    /// Does something until it is done, or fails for good.
    fn patiently<T>(&self, act: impl Fn() -> Result<T>) -> Result<T> {
        let mut attempts = self.patience.attempts();
        loop {
            let error = match act() {
                Err(error) if retry::is_passing(&error) => error,
                done => return done,
            };
            let refused = error.downcast_ref::<Refused>();
            let after = refused.and_then(|refused| refused.after);
            attempts.wait(error, after)?;
        }
    }

    /// Asks once, and says who asks if that is wanted.
    fn ask(&self, url: &str, from: u64, action: &Action) -> Result<Response> {
        // What is for the registry is not for others.
        let is_registry = is_same_server(url, &self.place.url(""));
        let mut may_identify = is_registry;
        loop {
            let request = Request {
                url: url.to_owned(),
                accept: &[OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX],
                authorization: lock(&self.token)
                    .as_ref()
                    .filter(|token| token.is_fresh() && is_registry)
                    .map(Token::header),
                from,
                to: None,
                action: action.clone(),
            };
            match retry::judge(self.client.send(&request), from) {
                Verdict::Good(response) => return Ok(response),
                Verdict::Unauthorized(challenges) if may_identify => {
                    may_identify = false;
                    let credentials = Credentials::find(&self.place)?;
                    let token = token::get(
                        &self.client,
                        &self.place,
                        self.leave.actions(),
                        &challenges,
                        credentials.as_ref(),
                    )?;
                    *lock(&self.token) = Some(token);
                }
                Verdict::Unauthorized(_) => bail!("access is denied"),
                Verdict::Bad(error) => return Err(error),
            }
        }
    }
}
