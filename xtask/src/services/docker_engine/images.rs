//! The images that tests of containers use, under names of their own.
//!
//! An engine that can reach a registry has them from there. Elsewhere they are made of Debian's packages, once: the
//! file system is kept as a tar beside the other downloads.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::daemon::remove_folder;
use crate::services::docker_engine::api::Api;
use crate::services::downloads::{Debian, Suite, cached};
use crate::services::hashed;

pub(super) const SCRIPT: &str = include_str!("../../../services/docker/image.sh");
/// In every engine.
pub(super) const BUSYBOX: &str = "semilayer-test/busybox";

const MAKE_LIMIT: Duration = Duration::from_mins(2);
/// On images that were made here: the recipe that they were made from.
const LABEL: &str = "com.semilayer.test.recipe";

/// An image, in both ways to have it.
struct Image {
    /// Its repository; the tag is `latest`.
    name: &'static str,
    /// What it is called in a registry.
    pulled: &'static str,
    /// What it is made of elsewhere.
    packages: Debian,
    /// What runs in it when nothing else is said, as JSON.
    command: &'static str,
}

/// Everything in them is newer than the engine's own packages, so that they meet today's Python and Node.
const SUITE: Suite = Suite::Named("trixie");

static IMAGES: [Image; 3] = [
    Image {
        name: BUSYBOX,
        pulled: "alpine:3.19",
        packages: packages("image-busybox", &["busybox-static"]),
        command: r#"["/bin/sh"]"#,
    },
    Image {
        name: "semilayer-test/python",
        pulled: "python:3.12-slim",
        packages: packages("image-python", &["busybox-static", "python3"]),
        command: r#"["python3"]"#,
    },
    Image {
        name: "semilayer-test/node",
        pulled: "node:22-slim",
        packages: packages("image-node", &["busybox-static", "nodejs"]),
        command: r#"["node"]"#,
    },
];

const fn packages(name: &'static str, packages: &'static [&'static str]) -> Debian {
    Debian { name, suite: SUITE, packages, programs: &[] }
}

/// The images of the engine that is started as `service`.
fn images(service: &str) -> &'static [Image] {
    let (first, _) = IMAGES.split_at(1);
    if service == super::BARE.name { first } else { &IMAGES }
}

/// Their names, as a client gives them.
pub(super) fn names(service: &str) -> Vec<String> {
    images(service).iter().map(|image| image.name.to_owned()).collect()
}

/// Makes sure that the engine has its images, from a registry if `pull` and one can be reached.
pub(super) fn provide(api: &Api, service: &str, pull: bool) -> Result<(), Error> {
    let mut reachable = pull;
    for image in images(service).iter().filter(|image| !image.is_in(api)) {
        reachable = reachable && image.pull(api);
        if !reachable {
            image.make(api)?;
        }
    }
    Ok(())
}

impl Image {
    /// Whether it is there and what would be made or pulled now.
    fn is_in(&self, api: &Api) -> bool {
        let Ok(image) = api.get(&format!("/images/{}:latest/json", self.name)) else { return false };
        let label = image.get("Config").and_then(|config| config.get("Labels")?.get(LABEL)?.as_str());
        let is_called = |name: &Value| name.as_str() == Some(self.pulled);
        let names = image.get("RepoTags").and_then(Value::as_array);
        label == Some(&self.recipe()) || names.is_some_and(|names| names.iter().any(is_called))
    }

    /// False where it cannot be had from a registry.
    fn pull(&self, api: &Api) -> bool {
        println!("pulling {} as {}", self.pulled, self.name);
        api.pull(self.pulled).and_then(|()| api.tag(self.pulled, self.name)).is_ok()
    }

    fn make(&self, api: &Api) -> Result<(), Error> {
        let tar = self.file_system()?;
        let length = fs::metadata(&tar).map_err(Error::io("look at", &tar))?.len();
        let mut file = File::open(&tar).map_err(Error::io("open", &tar))?;
        let changes = [
            format!("CMD {}", self.command),
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "ENV LANG=C.UTF-8".to_owned(),
            format!("LABEL {LABEL}={}", self.recipe()),
        ];
        api.import(self.name, &changes, &mut file, length)
    }

    /// A tar of everything that is in it.
    fn file_system(&self) -> Result<PathBuf, Error> {
        let folder =
            cached(&Account::Own, self.packages.name, &(SCRIPT, self.packages.packages), |folder| {
                println!("making {}", self.name);
                let root = folder.join("root");
                fs::create_dir(&root).map_err(Error::io("create", &root))?;
                self.packages.unpack_merged(&root)?;
                pack(&root, &folder.join("rootfs.tar"))?;
                remove_folder(&root)
            })?;
        Ok(folder.join("rootfs.tar"))
    }

    fn recipe(&self) -> String {
        hashed(&(SCRIPT, self.packages.packages, self.command))
    }
}

fn pack(root: &Path, tar: &Path) -> Result<(), Error> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "image.sh"]).arg(root).arg(tar);
    Run::new(command, "image.sh", MAKE_LIMIT).capture().map(drop)
}
