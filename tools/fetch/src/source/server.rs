// SPDX-License-Identifier: GPL-2.0-only
//! Objects on a web server.

use std::io::Read;
use std::ops::Range;

use anyhow::{anyhow, Context};
use composefs_http::{Access, Action, Client, Request};

use super::{Refusal, Source};

/// Connections. Each waits for the way there and back for every object.
const PARALLEL: usize = 16;

/// A server, and the address below which it has objects.
#[derive(Debug)]
pub struct Server {
    name: String,
    client: Client,
}

impl Server {
    /// That at the address `name`.
    pub fn new(name: &str, access: Access) -> Self {
        Self {
            name: name.to_owned(),
            client: Client::new(access),
        }
    }
}

impl Source for Server {
    fn name(&self) -> &str {
        &self.name
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }

    fn open(&self, path: &str, part: Option<Range<u64>>) -> Result<Box<dyn Read>, Refusal> {
        let request = Request {
            url: format!("{}/{path}", self.name.trim_end_matches('/')),
            accept: &[],
            authorization: None,
            from: part.as_ref().map_or(0, |part| part.start),
            to: part.as_ref().map(|part| part.end),
            action: Action::Get,
        };
        let response = self.client.send(&request).context(path.to_owned());
        let response = response.map_err(Refusal::Broken)?;
        match (response.status, part) {
            (200, None) => Ok(Box::new(response.body)),
            // Whoever gives no parts gives the whole.
            (200, Some(part)) if part.start == 0 => Ok(Box::new(response.body.take(part.end))),
            (200, Some(_)) => Err(Refusal::Broken(
                anyhow!("the server gives no parts of files").context(path.to_owned()),
            )),
            (206, Some(part)) => {
                let len = part.end.saturating_sub(part.start);
                Ok(Box::new(response.body.take(len)))
            }
            (404 | 410, _) => Err(Refusal::Absent),
            (status, _) => Err(Refusal::Broken(
                anyhow!("the server says {status}").context(path.to_owned()),
            )),
        }
    }
}
