// SPDX-License-Identifier: GPL-2.0-only
//! Two small images that share a layer, to be pulled again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;

use crate::command::{capture, run};
use crate::containers::Containers;
use crate::oci_image::{archive, OciImage, PAX};
use crate::repository::Repository;
use crate::setup::{self, create_dir};

/// Files of each layer: some in the stream, some objects.
const FILES: usize = 40;

/// A pair, and a repository that has nothing of it yet.
pub struct Context {
    _containers: Containers,
    pub work: PathBuf,
    pub pair: Pair,
    pub repository: Repository,
    /// How often something is done, or for how long, as the command line says.
    pub amount: u64,
}

impl Context {
    /// Brings it up for the program of this name, which takes a number.
    ///
    /// # Errors
    /// If it cannot be, or something else was given.
    pub fn set_up(name: &str, amount: u64) -> Result<Self> {
        setup::require_driver()?;
        setup::load_module()?;
        let given = std::env::args().nth(1);
        let given = given.map_or(Ok(amount), |text| text.parse());
        let work = setup::work_directory(name)?;
        let containers = Containers::set_up(&work)?;
        Ok(Self {
            pair: Pair::make(&containers, &work)?,
            _containers: containers,
            repository: Repository::at(&work.join("store")),
            work,
            amount: given.context("usage: PROGRAM [NUMBER]")?,
        })
    }
}

/// The images: where each is pulled from, and the tree that it was made of.
pub struct Pair {
    pub images: [(String, PathBuf); 2],
}

impl Pair {
    /// Makes them below a directory.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn make(containers: &Containers, work: &Path) -> Result<Self> {
        let part = |name: &str| work.join("parts").join(name);
        for (seed, name) in ["common", "first", "second"].into_iter().enumerate() {
            fill(&part(name).join("usr").join(name), seed as u64)?;
        }
        let one = |name: &str| -> Result<(String, PathBuf)> {
            let tree = work.join(name);
            let image = OciImage::new(containers, &work.join(format!("{name}-image")))?;
            for part in [part("common"), part(name)] {
                let file = work.join("layer.tar");
                archive(&part, &file, PAX)?;
                image.add(&file)?;
                run("cp", [Path::new("-aT"), &part, &tree])?;
            }
            Ok((image.reference()?, tree))
        };
        Ok(Self {
            images: [one("first")?, one("second")?],
        })
    }

    /// What is mounted is this tree.
    ///
    /// Another program looks: a program that is started by another thread has, until it runs, what
    /// is open here, and what is open cannot be unmounted.
    ///
    /// # Errors
    /// If it is not.
    pub fn expect(&self, tree: &Path, mounted: &Path) -> Result<()> {
        let mut compare = Command::new(std::env::current_exe()?.with_file_name("treecmp"));
        let compare = compare.arg("--links=files");
        let result = capture(compare.args([tree.join("usr"), mounted.join("usr")]))?;
        let said = [&result.stdout[..], &result.stderr].concat();
        ensure!(
            result.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
        Ok(())
    }
}

fn fill(directory: &Path, seed: u64) -> Result<()> {
    create_dir(directory)?;
    let mut random = Random::new(seed);
    for number in 0..FILES {
        let size = if number % 4 == 0 { 20 } else { 9000 };
        fs::write(directory.join(number.to_string()), random.bytes(size))?;
    }
    Ok(())
}
