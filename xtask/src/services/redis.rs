//! Redis: one server from the machine's packages, or a container. Valkey is started the same way.
//!
//! | role | may |
//! |---|---|
//! | `admin`, `app` | everything |
//! | `tls` | everything; its URL is that of the TLS port (Redis cannot refuse it at the other) |
//! | `reader` | commands of the categories `read` and `connection`, on every key |
//!
//! The TLS port verifies a client's certificate where one is shown and demands none. A test that wants it
//! demanded starts a server of its own and says `CONFIG SET tls-auth-clients yes` as `admin`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::docker::Container;
use crate::services::downloads::{Debian, Suite};
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::mysql::is_set_up;
use crate::services::site::{Site, encoded, free_port, password};
use crate::services::state::{Server, User};
use crate::services::{Edition, Service, packages};

pub(super) const SETTINGS: &str = include_str!("../../services/redis/settings.conf");
pub(super) const USERS: &str = include_str!("../../services/redis/users.acl");
pub(super) const ENTRYPOINT: &str = include_str!("../../services/redis/entrypoint.sh");

pub(super) const SERVICE: Service = Service {
    name: "redis",
    title: "Redis",
    recipe: &[SETTINGS, USERS],
    containers: &[SETTINGS, USERS, ENTRYPOINT],
    editions: &[Edition { title: "Redis 7", version: "7.", container: "redis7" }],
    port: 6379,
    tls_port: Some(6380),
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(|site, container| adopt(site, &SERVICE, container)),
    version,
};

const PACKAGES: Debian = Debian {
    name: "redis",
    suite: Suite::Named("bookworm"),
    packages: &["redis-server", "redis-tools", "libc6"],
    programs: &["usr/bin/redis-server", "usr/bin/redis-cli"],
};

const ASK_LIMIT: Duration = Duration::from_secs(5);
/// Of an answer: `INFO server` is about a kilobyte.
const ANSWER_LIMIT: u64 = 1 << 16;

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let programs = programs(&account)?;
    let facts = Facts { bin_dir: Some(programs.clone()), ..facts(site, &account, Some(free_port()?))? };
    let command = account.command(&programs.join("redis-server"));
    launch(site, &SERVICE, &account, command, facts)
}

/// Starts `command`, which is a server that wants a settings file and has TLS where `facts` have a port for it.
pub(super) fn launch(
    site: &Site,
    service: &'static Service,
    account: &Account,
    mut command: Command,
    facts: Facts,
) -> Result<Server, Error> {
    let folder = site.server_folder(service.name, account)?;
    let socket = site.socket_folder(&folder, "/server.sock")?;
    for path in [&folder.join("data"), &socket] {
        account.private_folder(path)?;
    }
    site.install_tls(&folder, account)?;
    let place = |name: &str| quoted(&folder.join(name));
    let mut settings = format!(
        "{SETTINGS}bind 127.0.0.1\nport {}\ndir {}\nunixsocket {}\nunixsocketperm 755\naclfile {}\n",
        facts.port,
        place("data"),
        quoted(&socket.join("server.sock")),
        place("data/users.acl")
    );
    if let Some(port) = facts.tls_port {
        settings.push_str(&format!(
            "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients optional\n",
            place("server.crt"),
            place("server.key"),
            place("ca.crt")
        ));
    }
    account.private_file(&folder.join("settings.conf"), settings.as_bytes())?;
    account.private_file(&folder.join("data/users.acl"), access(&facts.users)?.as_bytes())?;
    command.arg(folder.join("settings.conf"));
    let facts = Facts { socket_dir: Some(socket), ..facts };
    let log = folder.join("log");
    Launch { site, service, folder, log }.run(command, facts, is_set_up)
}

pub(super) fn facts(site: &Site, account: &Account, tls_port: Option<u16>) -> Result<Facts, Error> {
    let port = free_port()?;
    Ok(Facts {
        tls_port,
        database: "0",
        run_as: account.name(),
        users: users(site, port, tls_port)?,
        ..Facts::new(port)
    })
}

pub(super) fn adopt(site: &Site, service: &'static Service, container: Container) -> Result<Server, Error> {
    let (port, tls_port) = (container.port, container.tls_port);
    let facts = Facts { tls_port, database: "0", users: users(site, port, tls_port)?, ..Facts::new(port) };
    adopted(site, service, container, facts, add_users)
}

/// A new container knows `admin` alone.
fn add_users(site: &Site, server: &Server) -> Result<(), Error> {
    let script = access(&server.users)?;
    script.lines().filter(|line| !line.starts_with("user admin ")).try_for_each(|line| {
        let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(line.split(' ').skip(1)).collect();
        ask(site, server, &words).map(drop)
    })
}

pub(super) fn version(site: &Site, server: &Server) -> Result<String, Error> {
    let info = ask(site, server, &["INFO", "server"])?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    field("valkey_version:")
        .or_else(|| field("redis_version:"))
        .ok_or(Error::Unexpected { what: "INFO".to_owned(), found: info })
}

fn users(site: &Site, port: u16, tls_port: Option<u16>) -> Result<BTreeMap<String, User>, Error> {
    let mut roles = vec![
        ("admin", site.admin_password.clone(), "redis", port),
        ("app", password()?, "redis", port),
        ("reader", password()?, "redis", port),
    ];
    if let Some(tls_port) = tls_port {
        roles.push(("tls", password()?, "rediss", tls_port));
    }
    let users = roles.into_iter().map(|(role, password, scheme, port)| {
        let url = format!("{scheme}://{role}:{}@127.0.0.1:{port}/0", encoded(&password));
        let password = Some(password);
        (role.to_owned(), User { name: role.to_owned(), password, auth: "acl".to_owned(), url })
    });
    Ok(users.collect())
}

/// [`USERS`], with hashes of the passwords; users that are not there get none and cannot log in.
fn access(users: &BTreeMap<String, User>) -> Result<String, Error> {
    let known = USERS.lines().filter(|line| {
        let name = line.split(' ').nth(1).unwrap_or_default();
        name == "default" || users.contains_key(name)
    });
    let mut text: String = known.map(|line| format!("{line}\n")).collect();
    for (role, user) in users {
        let hash = sha256(user.password.as_deref().unwrap_or_default())?;
        text = text.replace(&format!("{{{role}}}"), &hash);
    }
    Ok(text)
}

fn sha256(text: &str) -> Result<String, Error> {
    let run = Run::new(Command::new("sha256sum"), "sha256sum", ASK_LIMIT).input(text.to_owned());
    let found = run.capture()?;
    match found.split_whitespace().next() {
        Some(hash) if hash.len() == 64 => Ok(hash.to_owned()),
        _ => Err(Error::Unexpected { what: "sha256sum".to_owned(), found }),
    }
}

/// An argument of a settings file.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', r"\\").replace('"', "\\\""))
}

/// The folder of the programs: the machine's own, or Debian's, unpacked.
fn programs(account: &Account) -> Result<PathBuf, Error> {
    let own = packages::find("redis-server").and_then(|path| path.parent().map(PathBuf::from));
    match own.filter(|folder| folder.join("redis-cli").is_file()) {
        Some(folder) => Ok(folder),
        None => Ok(PACKAGES.fetch(account)?.join("bin")),
    }
}

/// Sends one command as `admin` and returns the text of the answer.
fn ask(site: &Site, server: &Server, words: &[&str]) -> Result<String, Error> {
    let failed = |source| Error::Start { what: format!("a connection to {}", server.service), source };
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mut stream = TcpStream::connect_timeout(&address, ASK_LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(ASK_LIMIT)).map_err(failed)?;
    stream.set_write_timeout(Some(ASK_LIMIT)).map_err(failed)?;
    let mut answers = BufReader::new(stream.try_clone().map_err(failed)?.take(ANSWER_LIMIT));
    stream.write_all(&request(&["AUTH", "admin", &site.admin_password])).map_err(failed)?;
    answer(&mut answers)?;
    stream.write_all(&request(words)).map_err(failed)?;
    answer(&mut answers)
}

/// An array of strings, as the protocol has it.
fn request(words: &[&str]) -> Vec<u8> {
    let head = format!("*{}\r\n", words.len());
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    std::iter::once(head).chain(words).collect::<String>().into_bytes()
}

/// A simple or a bulk string; an error where the server says one.
fn answer(from: &mut impl BufRead) -> Result<String, Error> {
    let failed = |source| Error::Start { what: "an answer".to_owned(), source };
    let mut line = String::new();
    from.read_line(&mut line).map_err(failed)?;
    let unexpected =
        |found: &str| Error::Unexpected { what: "the server".to_owned(), found: found.to_owned() };
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("+", text)) => Ok(text.to_owned()),
        Some(("$", length)) => {
            let length: usize = length.parse().map_err(|_| unexpected(line))?;
            let mut text = vec![0; length.min(usize::from(u16::MAX))];
            from.read_exact(&mut text).map_err(failed)?;
            Ok(String::from_utf8_lossy(&text).replace('\r', ""))
        }
        _ => Err(unexpected(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_the_length_of_each_word_in_bytes() {
        assert_eq!(request(&["AUTH", "ä"]), "*2\r\n$4\r\nAUTH\r\n$2\r\nä\r\n".as_bytes());
    }

    #[test]
    fn an_answer_is_its_text_and_an_error_is_an_error() {
        assert_eq!(answer(&mut "+OK\r\n".as_bytes()).unwrap(), "OK");
        assert_eq!(answer(&mut "$3\r\na\r\n\r\n".as_bytes()).unwrap(), "a\n");
        let error = answer(&mut "-WRONGPASS invalid\r\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("WRONGPASS"), "{error}");
        assert!(answer(&mut "".as_bytes()).is_err());
    }

    #[test]
    fn the_access_list_has_hashes_and_only_users_that_are_there() {
        let user = User {
            name: "app".to_owned(),
            password: Some("abc".to_owned()),
            auth: String::new(),
            url: String::new(),
        };
        let list = access(&[("app".to_owned(), user)].into()).unwrap();
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(list, format!("user default off\nuser app on #{hash} ~* &* +@all\n"));
    }
}
