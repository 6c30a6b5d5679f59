//! Which paths a read-only command may name.
//!
//! A path is resolved first, and the program is given what came of it. It must be below a folder that may be read, every
//! user of the host must be able to read it (so that it makes no difference as whom the runner runs), and it must not look
//! like a key, a token or something of the runner. Between the look and the program's own look a file can be changed by
//! whoever may change it; such a user could as well copy what is behind it.

use std::path::{Path, PathBuf};

use super::facts::{Facts, Files, Kind};
use super::rule::{Denied, Rule, shown};

/// Where files may be read, beside what the settings add.
const FOLDERS: &[&str] =
    &["/etc", "/proc", "/sys/block", "/sys/class", "/sys/devices", "/sys/fs/cgroup", "/usr", "/var/log"];

/// What may be read of `/proc`. Not a process's own folder: `environ`, `mem`, `cwd` and others are there, of our own as well.
const PROC: &[&str] = &[
    "cpuinfo",
    "devices",
    "diskstats",
    "filesystems",
    "interrupts",
    "loadavg",
    "meminfo",
    "modules",
    "partitions",
    "pressure",
    "softirqs",
    "stat",
    "swaps",
    "uptime",
    "version",
    "vmstat",
];

/// Names, in lower case, of files and folders that hold secrets.
const SECRET_NAMES: &[&str] = &[
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".env",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".vault-token",
    "gshadow",
    "gshadow-",
    "letsencrypt",
    "passwd-",
    "private",
    "shadow",
    "shadow-",
    "sudoers",
    "sudoers.d",
];

/// Ends of such names.
const SECRET_ENDS: &[&str] = &[
    ".asc",
    ".env",
    ".gpg",
    ".jks",
    ".kdbx",
    ".key",
    ".keystore",
    ".keytab",
    ".p12",
    ".pem",
    ".pfx",
    ".ppk",
    "_history",
    "_key",
    "_rsa",
    "_ecdsa",
    "_ed25519",
];

/// Parts of such names.
const SECRET_PARTS: &[&str] = &["credential", "password", "secret", "token"];

/// What a command does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathUse {
    /// Reads a file.
    Read,
    /// Lists a folder, or says what a file is like.
    List,
    /// Says how large it is, or how large the disk below it.
    Size,
}

/// The folders of one host that may be read, and those that may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    /// Folders beside [`FOLDERS`].
    pub(crate) also: Vec<PathBuf>,
    /// Files and folders of the runner: settings, state, tokens.
    pub(crate) own: Vec<PathBuf>,
}

impl Readable {
    /// The path that a program may be given for `text`.
    pub(crate) fn resolve(&self, text: &str, usage: PathUse, files: &dyn Files) -> Result<PathBuf, Denied> {
        let path = Path::new(text);
        if !path.is_absolute() {
            let message = format!("{} is not an absolute path", shown(text));
            return Err(Denied::new(Rule::PathRelative, message));
        }
        let Some(facts) = files.look_up(path) else { return Err(self.missing(path, text)) };
        let Some(target) = facts.first().cloned() else { return Err(self.missing(path, text)) };
        let denied = |rule, reason: &str| Err(Denied::new(rule, format!("{} {reason}", shown(text))));
        if !self.is_inside(&target.path, usage) {
            return Err(outside(text));
        }
        if self.is_secret(&target.path, files) || is_secret_text(path) {
            return denied(Rule::PathSecret, "may hold a secret");
        }
        if !is_kind(&target, usage) {
            return denied(Rule::PathKind, "is not a file that can be read to its end");
        }
        if usage != PathUse::Size && !is_public(&facts) {
            return denied(Rule::PathPrivate, "is not for every user of this host");
        }
        Ok(target.path)
    }

    /// What is said of a path that leads nowhere depends on where it would be, so that nothing is told of other folders.
    fn missing(&self, path: &Path, text: &str) -> Denied {
        let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
        if climbs || !self.is_inside(path, PathUse::Read) || is_secret_text(path) {
            return outside(text);
        }
        Denied::new(Rule::PathMissing, format!("there is no {}", shown(text)))
    }

    fn is_inside(&self, path: &Path, usage: PathUse) -> bool {
        if let Ok(below) = path.strip_prefix("/proc") {
            let first = below.components().next();
            return first.is_none_or(|name| PROC.iter().any(|known| name.as_os_str() == *known));
        }
        usage == PathUse::Size
            || (usage == PathUse::List && path == Path::new("/"))
            || FOLDERS.iter().any(|folder| path.starts_with(folder))
            || self.also.iter().any(|folder| path.starts_with(folder))
    }

    fn is_secret(&self, path: &Path, files: &dyn Files) -> bool {
        let is_own = |own: &PathBuf| {
            path.starts_with(own) || files.look(own).is_some_and(|facts| path.starts_with(facts.path))
        };
        is_secret_text(path) || self.own.iter().any(is_own)
    }
}

fn outside(text: &str) -> Denied {
    let message = format!(
        "{} is not in a folder that may be read: {}, but no process's own in /proc, and readonly.paths of the runner",
        shown(text),
        FOLDERS.join(", ")
    );
    Denied::new(Rule::PathOutside, message)
}

/// Whether a part of the path has a name that secrets have.
fn is_secret_text(path: &Path) -> bool {
    path.components().any(|part| is_secret_name(&part.as_os_str().to_string_lossy().to_lowercase()))
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAMES.contains(&name)
        || name.starts_with("id_rsa")
        || name.starts_with(".env.")
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
        || SECRET_PARTS.iter().any(|part| name.contains(part))
}

fn is_kind(facts: &Facts, usage: PathUse) -> bool {
    match facts.kind {
        Kind::File => true,
        Kind::Folder => usage != PathUse::Read,
        Kind::Other => false,
    }
}

/// Whether every user may read what is there, and go through the folders above it.
fn is_public(facts: &[Facts]) -> bool {
    let Some((target, above)) = facts.split_first() else { return false };
    let wanted = if target.kind == Kind::Folder { 0o005 } else { 0o004 };
    target.mode & wanted == wanted && above.iter().all(|folder| folder.mode & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::facts::fixtures::FakeFiles;
    use super::*;

    fn files() -> FakeFiles {
        FakeFiles::default()
            .file("/etc/hostname", 0o644)
            .file("/etc/shadow", 0o640)
            .file("/etc/app/config.toml", 0o600)
            .folder("/etc/closed", 0o700)
            .file("/etc/closed/open.txt", 0o644)
            .file("/etc/ssl/private/x.txt", 0o644)
            .file("/etc/app.key", 0o644)
            .file("/etc/semilayer/runner.toml", 0o644)
            .link("/etc/innocent", "/etc/shadow")
            .link("/etc/home", "/home/u/notes")
            .file("/home/u/notes", 0o644)
            .file("/proc/1234/environ", 0o444)
            .file("/proc/1234/status", 0o444)
            .link("/proc/self", "/proc/1234")
            .file("/proc/meminfo", 0o444)
            .put("/usr/pipe", Kind::Other, 0, 0o666)
            .folder("/var/log", 0o755)
            .file("/srv/data/report.txt", 0o644)
    }

    fn read(path: &str) -> Result<PathBuf, Rule> {
        let own = vec![PathBuf::from("/etc/semilayer")];
        let readable = Readable { also: vec![PathBuf::from("/srv/data")], own };
        readable.resolve(path, PathUse::Read, &files()).map_err(|denied| denied.rule)
    }

    #[test]
    fn what_everybody_may_read_in_a_granted_folder_is_read() {
        for path in ["/etc/hostname", "/proc/meminfo", "/srv/data/report.txt"] {
            assert_eq!(read(path), Ok(PathBuf::from(path)));
        }
        assert_eq!(read("/etc/../etc/./hostname"), Ok(PathBuf::from("/etc/hostname")));
    }

    #[test]
    fn links_lead_to_where_they_lead() {
        assert_eq!(read("/etc/innocent"), Err(Rule::PathSecret));
        assert_eq!(read("/etc/home"), Err(Rule::PathOutside));
        assert_eq!(read("/proc/self/environ"), Err(Rule::PathOutside));
    }

    #[test]
    fn a_path_is_refused_by_the_rule_it_breaks() {
        for (path, rule) in [
            ("etc/hostname", Rule::PathRelative),
            ("-", Rule::PathRelative),
            ("/etc/none", Rule::PathMissing),
            ("/root/none", Rule::PathOutside),
            ("/etc/../root/none", Rule::PathOutside),
            ("/home/u/notes", Rule::PathOutside),
            ("/etc/shadow", Rule::PathSecret),
            ("/etc/ssl/private/x.txt", Rule::PathSecret),
            ("/etc/app.key", Rule::PathSecret),
            ("/etc/semilayer/runner.toml", Rule::PathSecret),
            ("/etc/app/config.toml", Rule::PathPrivate),
            ("/etc/closed/open.txt", Rule::PathPrivate),
            ("/proc/1234/environ", Rule::PathOutside),
            ("/proc/1234/status", Rule::PathOutside),
            ("/usr/pipe", Rule::PathKind),
            ("/var/log", Rule::PathKind),
        ] {
            assert_eq!(read(path), Err(rule), "{path}");
        }
    }

    #[test]
    fn folders_are_listed_and_measured() {
        let resolve = |path: &str, usage| {
            Readable::default().resolve(path, usage, &files()).map_err(|denied| denied.rule)
        };
        assert_eq!(resolve("/", PathUse::List), Ok(PathBuf::from("/")));
        assert_eq!(resolve("/var/log", PathUse::List), Ok(PathBuf::from("/var/log")));
        assert_eq!(resolve("/etc/closed", PathUse::List), Err(Rule::PathPrivate));
        assert_eq!(resolve("/home/u", PathUse::List), Err(Rule::PathOutside));
        assert_eq!(resolve("/home/u", PathUse::Size), Ok(PathBuf::from("/home/u")));
        assert_eq!(resolve("/proc/1234", PathUse::Size), Err(Rule::PathOutside));
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in [
            "id_rsa.pub",
            "server.pem",
            "api_token.txt",
            "db-credentials",
            ".env.local",
            ".bash_history",
            "ssh_host_rsa_key",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["passwd", "hostname", "os-release", "syslog", "environment"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
