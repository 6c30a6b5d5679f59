//! Real servers: the one that `cargo xtask test` started, or one of our own made from the same files.
//!
//! Roles are those of `xtask/services/postgres/init.sql`. A server of our own dies with the test process, however that
//! ends.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

/// What a test needs to know about a server.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) ca: PathBuf,
    pub(crate) other_ca: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
    pub(crate) database: String,
    /// By role, as strings.
    pub(crate) passwords: Value,
}

/// The server for tests that leave it as they found it.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match shared() {
        Some(state) => from_state(&state, "postgres").unwrap_or_else(|| panic!("no PostgreSQL runs")),
        None => Victim::start().server,
    })
}

/// The server that has the extension `vector`.
pub(crate) fn server_with_vectors() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let find = || shared().and_then(|state| from_state(&state, "pgvector"));
    SERVER.get_or_init(|| {
        find().unwrap_or_else(|| panic!("no server with vectors runs: cargo xtask test starts one"))
    })
}

/// A server with a unix socket in reach, which one in a container has not.
pub(crate) fn server_with_socket() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    if server().socket_dir.is_some() { server() } else { SERVER.get_or_init(|| Victim::start().server) }
}

impl Server {
    /// The role's password; empty where a certificate is the way in.
    pub(crate) fn password(&self, role: &str) -> Option<&str> {
        self.passwords[role].as_str()
    }
}

/// A server to be hurt.
pub(crate) struct Victim {
    pub(crate) server: Server,
    folder: PathBuf,
    process: Child,
}

/// Repeats `check` until it holds; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "how the test command tells tests about its servers")]
fn shared() -> Option<Value> {
    let path = std::env::var_os("SEMILAYER_TEST_SERVICES")?;
    let state = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    Some(serde_json::from_slice(&state).unwrap())
}

fn from_state(state: &Value, service: &str) -> Option<Server> {
    let servers = state["servers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["service"] == service)?;
    let tls = |name: &str| PathBuf::from(state["tls"][name].as_str().unwrap());
    let users = server["users"].as_object().unwrap();
    Some(Server {
        port: server["port"].as_u64().unwrap().try_into().unwrap(),
        socket_dir: server["socketDir"].as_str().map(PathBuf::from),
        ca: tls("ca"),
        other_ca: tls("otherCa"),
        client_cert: tls("clientCert"),
        client_key: tls("clientKey"),
        database: server["database"].as_str().unwrap().to_owned(),
        passwords: users.iter().map(|(role, user)| (role.clone(), user["password"].clone())).collect(),
    })
}

const PASSWORD: &str = "pä ss!word'\"";

const SETTINGS: &str = include_str!("../../../../xtask/services/postgres/settings.conf");
const ACCESS: &str = include_str!("../../../../xtask/services/postgres/pg_hba.conf");
const CERTIFICATE_NAMES: &str = include_str!("../../../../xtask/services/postgres/pg_ident.conf");
const ROLES: &str = include_str!("../../../../xtask/services/postgres/init.sql");

const PLACES: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
hba_file = '{folder}/access.conf'
ident_file = '{folder}/names.conf'
ssl_cert_file = '{folder}/server.crt'
ssl_key_file = '{folder}/server.key'
ssl_ca_file = '{folder}/ca.crt'
";

impl Victim {
    /// Makes and starts a server in a folder of its own and waits until it has its roles.
    pub(crate) fn start() -> Self {
        let folder = new_folder();
        write_certificates(&folder);
        fs::write(folder.join("access.conf"), ACCESS).unwrap();
        fs::write(folder.join("names.conf"), CERTIFICATE_NAMES).unwrap();
        fs::write(folder.join("password"), PASSWORD).unwrap();
        give_away(&folder);

        let data = folder.join("data");
        let mut initdb = as_server("initdb");
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(folder.join("password"));
        initdb.args(["-U", "admin", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        assert!(
            initdb.current_dir(&folder).stdout(Stdio::null()).status().unwrap().success(),
            "initdb failed"
        );

        let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        settings.push_str(SETTINGS);
        settings.push_str(&PLACES.replace("{folder}", folder.to_str().unwrap()));
        fs::write(data.join("postgresql.conf"), settings).unwrap();

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = described(&folder, port);
        let mut victim = Self { process: spawn(&folder, port), server, folder };
        victim.wait_until_it_answers();
        victim.run_script(ROLES);
        victim
    }

    /// Kills the server and all its sessions as a crash would.
    pub(crate) fn kill(&mut self) {
        // The sessions notice that their parent is gone.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), at the same port.
    pub(crate) fn restart(&mut self) {
        let begun = Instant::now();
        loop {
            // Until the last session of the old one has gone, its shared memory is in use and the new one gives up.
            self.process = spawn(&self.folder, self.server.port);
            if self.answers() {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "the server did not start again: {}",
                self.log()
            );
            self.process.wait().unwrap();
        }
    }

    fn wait_until_it_answers(&mut self) {
        assert!(self.answers(), "the server never answered: {}", self.log());
    }

    fn answers(&mut self) -> bool {
        for _ in 0..200 {
            let mut psql = self.psql();
            psql.args(["-c", "select 1"]).stdout(Stdio::null()).stderr(Stdio::null());
            if psql.status().unwrap().success() {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn run_script(&self, script: &str) {
        let file = self.folder.join("script.sql");
        fs::write(&file, script).unwrap();
        let mut psql = self.psql();
        for role in ROLES_WITH_PASSWORD {
            psql.arg("-v").arg(format!("{role}_password={PASSWORD}"));
        }
        let output = psql.arg("-f").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-q", "-h", "127.0.0.1", "-U", "admin", "-d", "postgres", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-p", &self.server.port.to_string()]).env("PGPASSWORD", PASSWORD);
        psql
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

const ROLES_WITH_PASSWORD: [&str; 5] = ["app", "tlsonly", "cleartext", "reader", "legacy"];

fn described(folder: &Path, port: u16) -> Server {
    let file = |name: &str| folder.join(name);
    let roles = ROLES_WITH_PASSWORD.into_iter().chain(["admin"]);
    Server {
        port,
        socket_dir: Some(folder.to_owned()),
        ca: file("ca.crt"),
        other_ca: file("other-ca.crt"),
        client_cert: file("client.crt"),
        client_key: file("client.key"),
        database: "semilayer".to_owned(),
        passwords: roles.map(|role| (role.to_owned(), Value::from(PASSWORD))).collect(),
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    let mut postgres = as_server("postgres");
    postgres.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]).current_dir(folder);
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    postgres.stdout(Stdio::null()).stderr(log);
    spawn_for_life(postgres)
}

/// Folders are named after the process that uses them; those of processes that are gone go too.
fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    const PREFIX: &str = "semilayer-postgres-";
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // Another test process may be faster.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    folder
}

fn write_certificates(folder: &Path) {
    let ca = authority("wire test authority");
    let write = |name: &str, pem: String| fs::write(folder.join(name), pem).unwrap();
    write("ca.crt", ca.pem());
    write("other-ca.crt", authority("another authority").pem());
    for (file, name) in [("server", "localhost"), ("client", "semilayer-client")] {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        write(&format!("{file}.crt"), parameters.signed_by(&key, &ca).unwrap().pem());
        write(&format!("{file}.key"), key.serialize_pem());
    }
    fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// PostgreSQL does not run as root; Linux's account for nobody does where the tests do.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn give_away(folder: &Path) {
    if is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

/// One of PostgreSQL's programs under an account that it accepts, ended by the kernel when we end.
fn as_server(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    command.arg(programs().join(program));
    command
}

/// Debian keeps the server's programs out of the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    newest.map_or_else(PathBuf::new, |entry| entry.path().join("bin"))
}

/// The signal at death follows the thread that started the process, so that is one that never ends.
fn spawn_for_life(mut command: Command) -> Child {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        send.send(command.spawn()).unwrap();
        loop {
            std::thread::park();
        }
    });
    receive.recv().unwrap().unwrap_or_else(|error| panic!("cannot start PostgreSQL: {error}"))
}
