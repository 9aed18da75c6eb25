// SPDX-License-Identifier: GPL-2.0-only
//! A registry that images are put into: with the API of referrers or without, and as others change
//! what it does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{json, Value};

use super::server::{Reply, Request, Server};
use super::sha256;

/// What is in it.
#[derive(Default)]
pub struct Stored {
    /// By repository and digest.
    pub blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository, and digest or tag: types and texts.
    pub manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: usize,
}

/// One that runs.
pub struct Hub {
    pub server: Server,
    pub stored: Arc<Mutex<Stored>>,
}

type Change = dyn Fn(&Request, Reply) -> Reply + Send + Sync;

impl Hub {
    pub fn new(has_referrers: bool) -> Self {
        Self::changed(has_referrers, |_, reply| reply)
    }

    /// One that does what `change` makes of its answers.
    pub fn changed(
        has_referrers: bool,
        change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let stored = Arc::new(Mutex::new(Stored::default()));
        let (all, change): (_, Box<Change>) = (Arc::clone(&stored), Box::new(change));
        let server = Server::run(move |request| {
            let reply = answer(&mut all.lock().expect("registry"), has_referrers, request);
            change(request, reply)
        });
        Self { server, stored }
    }

    /// What an image in it is called.
    pub fn name(&self, path: &str) -> String {
        format!("docker://{}/{path}", self.server.host)
    }

    /// The names that manifests have, which are not their digests.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let stored = self.stored.lock().expect("registry");
        let names = stored.manifests.keys();
        let names = names.filter(|(found, name)| found == repository && !name.contains(':'));
        names.map(|(_, name)| name.clone()).collect()
    }

    pub fn manifest(&self, repository: &str, name: &str) -> Value {
        let stored = self.stored.lock().expect("registry");
        let (_, text) = &stored.manifests[&(repository.to_owned(), name.to_owned())];
        serde_json::from_slice(text).expect("manifest")
    }

    /// Puts a blob, or a manifest of a type, as its owner can; the digest comes back.
    pub fn put(&self, repository: &str, data: &[u8], manifest: Option<&str>) -> String {
        let digest = format!("sha256:{}", sha256(data));
        let key = (repository.to_owned(), digest.clone());
        let mut stored = self.stored.lock().expect("registry");
        match manifest {
            Some(kind) => drop(stored.manifests.insert(key, (kind.into(), data.into()))),
            None => drop(stored.blobs.insert(key, data.into())),
        }
        digest
    }

    /// How often something was asked for in this way whose path has this in it.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let requests = self.server.requests().into_iter();
        let is_it = |request: &Request| request.method == method && request.path.contains(part);
        requests.filter(is_it).count()
    }
}

fn answer(stored: &mut Stored, has_referrers: bool, request: &Request) -> Reply {
    let Some(path) = request.path.strip_prefix("/v2/") else {
        return Reply::new(404, b"");
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parameter = |name: &str| {
        let mut all = query.split('&').filter_map(|part| part.split_once('='));
        all.find(|(found, _)| *found == name)
            .map(|(_, value)| value.to_owned())
    };
    for part in ["/blobs/uploads/", "/blobs/", "/manifests/", "/referrers/"] {
        let Some((repository, name)) = path.split_once(part) else {
            continue;
        };
        let key = (repository.to_owned(), name.to_owned());
        return match (&*request.method, part) {
            ("POST", "/blobs/uploads/") => {
                let from = parameter("from").zip(parameter("mount"));
                if let Some(blob) = from.and_then(|from| stored.blobs.get(&from).cloned()) {
                    let mount = parameter("mount").expect("digest");
                    stored.blobs.insert((repository.to_owned(), mount), blob);
                    return Reply::new(201, b"");
                }
                stored.uploads += 1;
                let location = format!("/v2/{repository}/blobs/uploads/{}?state=x", stored.uploads);
                Reply::new(202, b"").header("Location", &location)
            }
            ("PUT", "/blobs/uploads/") => {
                let digest = parameter("digest").expect("digest");
                if digest != format!("sha256:{}", sha256(&request.body)) {
                    return Reply::new(400, b"");
                }
                let key = (repository.to_owned(), digest);
                stored.blobs.insert(key, request.body.clone());
                Reply::new(201, b"")
            }
            ("PUT", "/manifests/") => put_manifest(stored, has_referrers, &key, request),
            ("GET" | "HEAD", "/blobs/") => {
                found(stored.blobs.get(&key).map(Vec::as_slice), request)
            }
            ("GET" | "HEAD", "/manifests/") => found(
                stored.manifests.get(&key).map(|(_, text)| text.as_slice()),
                request,
            ),
            ("GET", "/referrers/") if has_referrers => referrers(stored, repository, name),
            _ => Reply::new(404, b""),
        };
    }
    Reply::new(404, b"")
}

fn found(data: Option<&[u8]>, request: &Request) -> Reply {
    match data {
        Some(_) if request.method == "HEAD" => Reply::new(200, b""),
        Some(data) => Reply::new(200, data),
        None => Reply::new(404, b""),
    }
}

/// As registries do, it takes no manifest of what is not there.
fn put_manifest(
    stored: &mut Stored,
    has_referrers: bool,
    key: &(String, String),
    request: &Request,
) -> Reply {
    let manifest: Value = serde_json::from_slice(&request.body).expect("manifest");
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for blob in layers.chain(manifest.get("config")) {
        let digest = blob["digest"].as_str().expect("digest");
        if !stored
            .blobs
            .contains_key(&(key.0.clone(), digest.to_owned()))
        {
            return Reply::new(400, b"");
        }
    }
    let kind = request.headers["content-type"].clone();
    let digest = format!("sha256:{}", sha256(&request.body));
    if key.1.contains(':') && key.1 != digest {
        return Reply::new(400, b"");
    }
    for name in [digest, key.1.clone()] {
        let manifest = (kind.clone(), request.body.clone());
        stored.manifests.insert((key.0.clone(), name), manifest);
    }
    let reply = Reply::new(201, b"");
    match manifest["subject"]["digest"]
        .as_str()
        .filter(|_| has_referrers)
    {
        Some(subject) => reply.header("OCI-Subject", subject),
        None => reply,
    }
}

fn referrers(stored: &Stored, repository: &str, subject: &str) -> Reply {
    let all = stored.manifests.iter();
    let all = all.filter(|((found, name), _)| found == repository && name.contains(':'));
    let entries: Vec<Value> = all
        .filter_map(|((_, digest), (kind, text))| {
            let manifest: Value = serde_json::from_slice(text).expect("manifest");
            let is_about = manifest["subject"]["digest"] == subject;
            is_about.then(|| {
                json!({"mediaType": kind, "digest": digest, "size": text.len(),
                       "artifactType": manifest["artifactType"]})
            })
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": entries,
                       "mediaType": "application/vnd.oci.image.index.v1+json"});
    Reply::new(200, index.to_string().as_bytes())
}
