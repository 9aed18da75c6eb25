// SPDX-License-Identifier: GPL-2.0-only
//! An image that is mounted before its objects are here, and who has them: Debian's nginx.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context as _, Result};

use crate::containers::{text, Containers};
use crate::image::{self, Image};
use crate::lazy::FetchService;
use crate::mount::Mount;
use crate::nginx::Nginx;
use crate::repository::Repository;
use crate::setup;

/// How many files the image has, each of which is an object.
pub const FILES: usize = 120;

/// The image, its service and its server.
pub struct LazyImage {
    // In this order they go.
    pub service: FetchService,
    pub server: Option<Nginx>,
    pub containers: Containers,
    pub work: PathBuf,
    pub image: Image,
    /// The content of each file.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl LazyImage {
    /// Makes the image, and starts the service and the server.
    ///
    /// # Errors
    /// If that fails.
    pub fn new() -> Result<Self> {
        setup::require_driver()?;
        setup::load_module()?;
        setup::modprobe("fuse")?;
        let work = setup::work_directory("lazy")?;
        let containers = Containers::set_up(&work)?;
        let source = work.join("source");
        let mut files = BTreeMap::new();
        for number in 0..FILES {
            let name = format!("d{}/f{number}", number % 7);
            let content = format!("{number} ").repeat(200 + number * 40).into_bytes();
            setup::create_dir(&source.join(format!("d{}", number % 7)))?;
            fs::write(source.join(&name), &content)?;
            files.insert(name, content);
        }
        let image = image::build(&setup::mkcomposefs(), &source, &work.join("built"), &[])?;
        let mut this = Self {
            service: FetchService::start(&work.join("service"))?,
            server: None,
            containers,
            work,
            image,
            files,
        };
        this.start_server()?;
        Ok(this)
    }

    /// Starts the server again.
    ///
    /// # Errors
    /// If that fails.
    pub fn start_server(&mut self) -> Result<()> {
        let (work, store) = (self.work.join("nginx"), &self.image.store);
        self.server = Some(Nginx::start(&self.containers, &work, 8080, store, None)?);
        Ok(())
    }

    /// The server.
    ///
    /// # Errors
    /// If that fails.
    pub fn server(&self) -> Result<&Nginx> {
        self.server.as_ref().context("no server")
    }

    /// A repository that knows the image, and has none of its objects.
    ///
    /// # Errors
    /// If not.
    pub fn repository(&self, sources: &[&str]) -> Result<Repository> {
        let path = self.work.join("repository");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        self.repository_at(&path, sources)
    }

    /// The same at `path`, where there is none.
    ///
    /// # Errors
    /// If not.
    pub fn repository_at(&self, path: &Path, sources: &[&str]) -> Result<Repository> {
        let repository = Repository::at(path);
        let file = text(&self.image.file)?;
        let mut arguments = vec![
            "fetch",
            file,
            "image",
            "--digest",
            &self.image.digest,
            "--lazy",
        ];
        for source in sources {
            arguments.extend(["--from", source]);
        }
        repository.run(&arguments)?;
        Ok(repository)
    }

    /// Mounts it.
    ///
    /// # Errors
    /// If that fails.
    pub fn mount(&self, repository: &Repository, more: &[&str]) -> Result<Mount> {
        let target = self.work.join("mount");
        self.service.mount(repository, "image", &target, more)
    }

    /// Mounted with nothing but what is opened.
    ///
    /// # Errors
    /// If not.
    pub fn lazily(&self) -> Result<(Repository, Mount)> {
        let repository = self.repository(&[self.server()?.address()])?;
        let mount = self.mount(&repository, &["--no-fill"])?;
        Ok((repository, mount))
    }

    /// Every file is what it should be.
    ///
    /// # Errors
    /// If not.
    pub fn expect_all(&self, root: &Path) -> Result<()> {
        for (name, content) in &self.files {
            ensure!(
                &fs::read(root.join(name))? == content,
                "{name} is something else"
            );
        }
        Ok(())
    }

    /// One of the files.
    ///
    /// # Errors
    /// If that fails.
    pub fn first(&self) -> Result<(&String, &Vec<u8>)> {
        self.files.first_key_value().context("no files")
    }
}

/// Removes all objects but the image.
///
/// # Errors
/// If that fails.
pub fn evict(repository: &Repository, image: &Image) -> Result<()> {
    for directory in directories(repository)? {
        for object in fs::read_dir(directory)? {
            let path = object?.path();
            if !path.ends_with(&image.digest[2..]) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// The directories of objects. A server that is killed may leave a file beside them, under a temporary
/// name, until `gc` comes.
fn directories(repository: &Repository) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(repository.path().join("objects"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

/// Whether there is nothing but objects among the objects.
///
/// # Errors
/// If they cannot be listed, or there is.
pub fn expect_only_objects(repository: &Repository) -> Result<()> {
    let all = fs::read_dir(repository.path().join("objects"))?.count();
    let more = all - directories(repository)?.len();
    ensure!(more == 0, "{more} temporary names are left");
    Ok(())
}

/// How many objects there are, besides the image.
///
/// # Errors
/// If they cannot be listed.
pub fn objects(repository: &Repository) -> Result<usize> {
    let mut count = 0_usize;
    for directory in directories(repository)? {
        count += fs::read_dir(directory)?.count();
    }
    count.checked_sub(1).context("not even the image")
}
