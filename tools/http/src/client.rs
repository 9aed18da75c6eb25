// SPDX-License-Identifier: GPL-2.0-only
//! HTTP, by libcurl: proxies, certificates and connections that stay open are its business.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::str;
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};
use composefs_tools::lock::lock;
use composefs_tools::pipe::{pipe, Filler, Pipe};
use composefs_tools::quote;
use curl::easy::{Easy2, Handler, List, ReadError, SeekResult, WriteError};

use crate::content::{Content, ContentReader};

const CONNECT_MAX: Duration = Duration::from_secs(30);
/// Bytes in a second. Whoever is slower for too long is taken for dead.
const SLOW: u32 = 128;
/// Most redirections of one request.
const REDIRECTIONS_MAX: u32 = 5;
/// Bytes of headers.
const HEAD_MAX: usize = 64 << 10;
const AGENT: &str = concat!("composefs/", env!("CARGO_PKG_VERSION"));

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where.
    pub url: String,
    /// Types that are known.
    pub accept: &'a [&'a str],
    /// Who asks: the value of a header.
    pub authorization: Option<String>,
    /// From which byte on.
    pub from: u64,
    /// Up to which byte, which is not asked for any more.
    pub to: Option<u64>,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// To give what is there.
    Get,
    /// To say what is there.
    Head,
    /// To take a form.
    Form(String),
    /// To begin something that needs nothing else.
    Post,
    /// To take content of a type.
    Put(&'static str, Content),
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: u32,
    headers: Vec<(String, String)>,
    /// What it holds.
    pub body: Pipe,
}

impl Response {
    /// The values of a header, whose name is in lower case.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.headers.iter().filter(move |(found, _)| found == name);
        found.map(|(_, value)| &**value)
    }
}

/// How servers may be reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whether they have to prove who they are.
    pub is_verified: bool,
    /// Whether HTTP without TLS will do.
    pub may_be_plain: bool,
    /// Who vouches for them, in place of those whom the system trusts: a file.
    pub authority: Option<PathBuf>,
    /// How long they may be slow.
    pub stall: Duration,
}

/// Who asks.
#[derive(Debug)]
pub struct Client {
    access: Access,
    /// Handles that are not in use, with connections that may be open.
    handles: Arc<Mutex<Vec<Easy2<Collector>>>>,
}

impl Client {
    /// One that has asked nobody yet.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            handles: Arc::default(),
        }
    }

    /// Sends a request, and gives the answer as soon as it begins.
    ///
    /// # Errors
    /// If there is none.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let mut url = request.url.clone();
        let mut authorization = request.authorization.as_deref();
        for _ in 0..=REDIRECTIONS_MAX {
            let response = self.send_to(&url, authorization, request)?;
            let may_follow = matches!(request.action, Action::Get | Action::Head);
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) || !may_follow {
                return Ok(response);
            }
            let next = self.location(&url, &response)?;
            if !is_same_server(&next, &url) {
                // What is for the registry is not for others.
                authorization = None;
            }
            url = next;
        }
        bail!("the server redirects more than {REDIRECTIONS_MAX} times")
    }

    /// Where the answer to what was asked at `url` leads: nobody is to be led to a file, or from TLS
    /// to where there is none.
    ///
    /// # Errors
    /// If it leads there, or nowhere.
    pub fn location(&self, url: &str, response: &Response) -> Result<String> {
        self.resolve(url, response.headers("location").next().unwrap_or_default())
    }

    /// The same, of any reference in an answer.
    ///
    /// # Errors
    /// As of [`Client::location`].
    pub fn resolve(&self, url: &str, location: &str) -> Result<String> {
        let may = |scheme: &str| scheme == "https" || scheme == "http" && self.access.may_be_plain;
        match location.split_once("://") {
            Some((scheme, _)) if may(scheme) => Ok(location.to_owned()),
            None if location.starts_with('/') && !location.starts_with("//") => {
                Ok(format!("{}{location}", origin(url)))
            }
            _ => bail!(
                "the server redirects to {}",
                quote::bytes(location.as_bytes())
            ),
        }
    }

    fn send_to(
        &self,
        url: &str,
        authorization: Option<&str>,
        request: &Request,
    ) -> Result<Response> {
        if url.starts_with("https:") && curl::Version::get().ssl_version().is_none() {
            let reason = "this program was built with a libcurl that has no TLS".into();
            bail!(Failure {
                reason,
                is_final: true
            });
        }
        let (filler, body) = pipe();
        let (head, answered) = sync_channel(1);
        let collector = Collector {
            filler: Some(filler),
            head: Some(head),
            status: 0,
            headers: Vec::new(),
            head_size: 0,
            sent: match &request.action {
                Action::Put(_, content) => Some(content.reader()),
                _ => None,
            },
        };
        let handle = lock(&self.handles).pop();
        let mut easy = match handle {
            Some(mut easy) => {
                easy.reset();
                *easy.get_mut() = collector;
                easy
            }
            None => Easy2::new(collector),
        };
        self.set(&mut easy, url, authorization, request)
            .context("cannot ask")?;
        let handles = Arc::clone(&self.handles);
        thread::spawn(move || {
            let done = easy.perform();
            let collector = easy.get_mut();
            match done {
                Ok(()) => collector.tell(),
                Err(error) => collector.fail(&error),
            }
            // Whoever reads comes to the end only now.
            collector.filler = None;
            lock(&handles).push(easy);
        });
        let (status, headers) = answered
            .recv()
            .map_err(|_| anyhow!("there is no answer"))??;
        Ok(Response {
            status,
            headers,
            body,
        })
    }

    fn set(
        &self,
        easy: &mut Easy2<Collector>,
        url: &str,
        authorization: Option<&str>,
        request: &Request,
    ) -> Result<(), curl::Error> {
        easy.url(url)?;
        easy.useragent(AGENT)?;
        easy.connect_timeout(CONNECT_MAX)?;
        easy.low_speed_limit(SLOW)?;
        easy.low_speed_time(self.access.stall)?;
        easy.signal(false)?;
        if !self.access.is_verified {
            easy.ssl_verify_peer(false)?;
            easy.ssl_verify_host(false)?;
        }
        if let Some(authority) = &self.access.authority {
            easy.cainfo(authority)?;
        }
        let mut headers = List::new();
        if !request.accept.is_empty() {
            headers.append(&format!("Accept: {}", request.accept.join(", ")))?;
        }
        if let Some(authorization) = authorization {
            headers.append(&format!("Authorization: {authorization}"))?;
        }
        if let Action::Put(media_type, _) = &request.action {
            headers.append(&format!("Content-Type: {media_type}"))?;
            // Who sends waits for nobody's leave.
            headers.append("Expect:")?;
        }
        easy.http_headers(headers)?;
        match request.to {
            // Ranges of HTTP name their last byte.
            Some(to) => easy.range(&format!("{}-{}", request.from, to.saturating_sub(1)))?,
            None if request.from > 0 => easy.range(&format!("{}-", request.from))?,
            None => {}
        }
        match &request.action {
            Action::Get => Ok(()),
            Action::Head => easy.nobody(true),
            Action::Form(form) => {
                easy.post(true)?;
                easy.post_fields_copy(form.as_bytes())
            }
            Action::Post => {
                easy.post(true)?;
                easy.post_fields_copy(b"")
            }
            Action::Put(_, content) => {
                easy.upload(true)?;
                easy.in_filesize(content.size())
            }
        }
    }
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub struct Failure {
    reason: String,
    /// It will be the same another time.
    pub is_final: bool,
}

impl Failure {
    fn of(error: &curl::Error) -> Self {
        let is_final = error.is_peer_failed_verification()
            || error.is_ssl_cacert()
            || error.is_ssl_cacert_badfile()
            || error.is_url_malformed()
            || error.is_out_of_memory()
            || error.is_unsupported_protocol();
        let reason = error.extra_description().unwrap_or(error.description());
        Self {
            reason: reason.to_owned(),
            is_final,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

/// Whether two addresses are of one server.
pub fn is_same_server(one: &str, other: &str) -> bool {
    origin(one) == origin(other)
}

/// The scheme and the host of an address.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..start + end).unwrap_or(url)
}

type Head = (u32, Vec<(String, String)>);

/// Takes an answer as it comes.
#[derive(Debug)]
struct Collector {
    filler: Option<Filler>,
    head: Option<SyncSender<Result<Head>>>,
    status: u32,
    headers: Vec<(String, String)>,
    head_size: usize,
    /// What is sent.
    sent: Option<ContentReader>,
}

impl Collector {
    fn tell(&mut self) {
        if let Some(head) = self.head.take() {
            // Nobody wants to know if whoever asked is gone.
            let _ = head.send(Ok((self.status, std::mem::take(&mut self.headers))));
        }
    }

    fn fail(&mut self, error: &curl::Error) {
        let failure = match self.head_size > HEAD_MAX {
            true => Failure {
                reason: format!("the head of its answer is of more than {HEAD_MAX} bytes"),
                is_final: true,
            },
            false => Failure::of(error),
        };
        match (self.head.take(), &self.filler) {
            (Some(head), _) => drop(head.send(Err(failure.into()))),
            (None, Some(filler)) => filler.fail(io::Error::other(failure)),
            (None, None) => {}
        }
    }
}

impl Handler for Collector {
    fn header(&mut self, data: &[u8]) -> bool {
        self.head_size = self.head_size.saturating_add(data.len());
        if self.head_size > HEAD_MAX {
            return false;
        }
        let Ok(line) = str::from_utf8(data) else {
            return true;
        };
        if line.starts_with("HTTP/") {
            // That of a proxy may have come before.
            let status = line.split_whitespace().nth(1);
            self.status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
            self.headers.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            self.headers.push((name, value));
        }
        true
    }

    fn read(&mut self, data: &mut [u8]) -> Result<usize, ReadError> {
        match &mut self.sent {
            Some(sent) => sent.read(data).map_err(|_| ReadError::Abort),
            None => Ok(0),
        }
    }

    fn seek(&mut self, whence: SeekFrom) -> SeekResult {
        match self.sent.as_mut().map(|sent| sent.seek(whence)) {
            Some(Ok(_)) => SeekResult::Ok,
            _ => SeekResult::Fail,
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let len = data.len();
        self.tell();
        let filler = self.filler.as_ref();
        let is_wanted = data.is_empty() || filler.is_some_and(|filler| filler.hand_over_copy(data));
        Ok(if is_wanted { len } else { 0 })
    }
}
