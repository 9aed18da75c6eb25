// SPDX-License-Identifier: GPL-2.0-only
//! Objects on a web server.

use std::io::Read;

use anyhow::{anyhow, Context};
use composefs_http::{Access, Action, Client, Request};
use composefs_tools::fsverity::object_path;

use super::{Refusal, Source};
use crate::missing::Wanted;

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

    fn open(&self, wanted: &Wanted) -> Result<Box<dyn Read>, Refusal> {
        let path = object_path(&wanted.digest);
        let request = Request {
            url: format!("{}/{path}", self.name.trim_end_matches('/')),
            accept: &[],
            authorization: None,
            from: 0,
            action: Action::Get,
        };
        let response = self.client.send(&request).context(path.clone());
        let response = response.map_err(Refusal::Broken)?;
        match response.status {
            200 => Ok(Box::new(response.body)),
            404 | 410 => Err(Refusal::Absent),
            status => Err(Refusal::Broken(
                anyhow!("the server says {status}").context(path),
            )),
        }
    }
}
