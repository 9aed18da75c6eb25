// SPDX-License-Identifier: GPL-2.0-only
//! What a registry is shown: a token from whom it names, or a password.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure, Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use composefs_http::{Action, Client, Request};
use composefs_tools::quote;
use serde::Deserialize;

use super::auth::Credentials;
use super::challenge::Challenge;
use super::config::Place;
use crate::source::read_some;

/// How long a token is good for if that is not said.
const LIFE: Duration = Duration::from_secs(60);
/// How much earlier it is not shown any more.
const MARGIN: Duration = Duration::from_secs(5);

/// What is shown.
#[derive(Clone, Debug)]
pub struct Token {
    header: String,
    until: Option<Instant>,
}

/// What comes from whom a registry names.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// The value of the header.
    pub fn header(&self) -> String {
        self.header.clone()
    }

    /// Whether it is still good.
    pub fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// Gets one, as a registry asks for; if it does not say what it is to be good for, for `actions`.
///
/// # Errors
/// If it is not given.
pub fn get(
    client: &Client,
    place: &Place,
    actions: &str,
    headers: &[String],
    credentials: Option<&Credentials>,
) -> Result<Token> {
    let challenges: Vec<_> = headers
        .iter()
        .flat_map(|header| Challenge::parse(header))
        .collect();
    let find = |scheme: &str| {
        challenges
            .iter()
            .find(|challenge| challenge.scheme == scheme)
    };
    if let Some(challenge) = find("bearer") {
        return bearer(client, place, actions, challenge, credentials);
    }
    match (find("basic"), credentials) {
        (Some(_), Some(credentials)) => Ok(Token {
            header: basic(credentials),
            until: None,
        }),
        (Some(_), None) => bail!("access is denied: it asks for a user and a password"),
        (None, _) => bail!("access is denied, and the server does not say what would grant it"),
    }
}

fn basic(Credentials { user, password, .. }: &Credentials) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

fn bearer(
    client: &Client,
    place: &Place,
    actions: &str,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
) -> Result<Token> {
    let realm = challenge
        .get("realm")
        .ok_or_else(|| anyhow!("access is denied by a server that does not say who grants it"))?;
    ensure!(
        realm.starts_with("https://") || place.is_plain && realm.starts_with("http://"),
        "the server names {} as who grants access, which is not to be trusted",
        quote::bytes(realm.as_bytes())
    );
    let scope = format!("repository:{}:{actions}", place.path);
    let scopes = challenge.get("scope").unwrap_or(&scope).split(' ');
    let mut fields: Vec<_> = scopes.map(|scope| ("scope", scope)).collect();
    fields.extend(challenge.get("service").map(|service| ("service", service)));
    let identity = credentials.and_then(|credentials| credentials.identity.as_deref());
    if let Some(identity) = identity {
        fields.extend([
            ("grant_type", "refresh_token"),
            ("client_id", "composefs"),
            ("refresh_token", identity),
        ]);
    }
    let query = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escape(value)));
    let query = query.collect::<Vec<_>>().join("&");
    let separator = if realm.contains('?') { '&' } else { '?' };
    let request = Request {
        url: match identity {
            Some(_) => realm.to_owned(),
            None => format!("{realm}{separator}{query}"),
        },
        accept: &[],
        authorization: credentials.filter(|_| identity.is_none()).map(basic),
        from: 0,
        to: None,
        action: match identity {
            Some(_) => Action::Form(query),
            None => Action::Get,
        },
    };
    let ask = || {
        let response = client.send(&request)?;
        ensure!(
            response.status == 200,
            "access is denied: the server says {}",
            response.status
        );
        let answer: Answer = serde_json::from_slice(&read_some(response.body)?)?;
        let token = answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| anyhow!("there is no token in the answer"))?;
        ensure!(
            token.bytes().all(|byte| byte.is_ascii_graphic()),
            "the token is not one"
        );
        let life = answer
            .expires_in
            .map_or(LIFE, Duration::from_secs)
            .saturating_sub(MARGIN);
        Ok(Token {
            header: format!("Bearer {token}"),
            until: Instant::now().checked_add(life),
        })
    };
    ask().with_context(|| quote::bytes(realm.as_bytes()).to_string())
}

/// What is not to be taken for something else in a query.
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
