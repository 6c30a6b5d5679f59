//! A server to be hurt: of the same programs as the shared one, in a folder of its own. It dies with the test process,
//! however that ends.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde_json::{Value, json};

use crate::server::{Engine, server};

/// Run at each start.
const INIT: &str = "CREATE DATABASE IF NOT EXISTS d;
CREATE TABLE IF NOT EXISTS d.t (id INT PRIMARY KEY);
INSERT IGNORE INTO d.t VALUES (1), (2);
CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'pw';
GRANT ALL ON d.* TO app@'%';
";

pub(crate) struct Victim {
    engine: Engine,
    pub(crate) port: u16,
    folder: PathBuf,
    process: Child,
}

impl Victim {
    /// Makes and starts a server and waits until it answers.
    pub(crate) fn start(engine: Engine) -> Self {
        let folder = new_folder();
        fs::write(folder.join("init.sql"), INIT).unwrap();
        if is_root() {
            [folder.clone(), folder.join("init.sql")].iter().for_each(|path| {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            });
        }
        initialize(engine, &folder);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let victim = Self { engine, port, process: spawn(engine, &folder, port), folder };
        victim.wait_until_it_answers();
        victim
    }

    pub(crate) fn config(&self) -> Value {
        json!({ "host": "127.0.0.1", "port": self.port, "database": "d", "user": "app", "password": "pw" })
    }

    /// Runs a statement by a client that is not ours.
    pub(crate) async fn run(&self, sql: &str) {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.port);
        let options = options.user(Some("app")).pass(Some("pw")).db_name(Some("d")).prefer_socket(false);
        Conn::new(options).await.unwrap().query_drop(sql).await.unwrap();
    }

    /// Kills the server and all its sessions as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), at the same port.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.engine, &self.folder, self.port);
        self.wait_until_it_answers();
    }

    /// It listens only when everything else is done.
    fn wait_until_it_answers(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "the server does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Makes the tables of a server.
fn initialize(engine: Engine, folder: &Path) {
    let mut command = match engine {
        Engine::Mysql => {
            let mut command = program(engine);
            command.args(["--initialize-insecure", "--innodb-redo-log-capacity=16M"]);
            command
        }
        Engine::Mariadb => {
            let mut command = as_server();
            command.args(["mariadb-install-db", "--no-defaults", "--skip-test-db"]);
            command.args(["--auth-root-authentication-method=normal", "--innodb-log-file-size=16M"]);
            command
        }
        Engine::Mariadb11 => {
            let mut command = program(engine);
            command.args(["--bootstrap", "--innodb-log-file-size=16M"]).stdin(tables_of_mariadb(folder));
            command
        }
    };
    command.arg(format!("--datadir={}", folder.join("data").display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `mariadb-install-db` would feed to a server of unpacked packages; it needs the folder of the data.
fn tables_of_mariadb(folder: &Path) -> fs::File {
    let mut script = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n".to_owned();
    for name in ["mariadb_system_tables.sql", "mariadb_system_tables_data.sql"] {
        let path = packages(Engine::Mariadb11).join("usr/share/mariadb").join(name);
        script.push_str(&fs::read_to_string(path).unwrap());
    }
    fs::create_dir(folder.join("data")).unwrap();
    if is_root() {
        chown(folder.join("data"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let path = folder.join("tables.sql");
    fs::write(&path, script).unwrap();
    fs::File::open(path).unwrap()
}

/// The server without settings but those of its place.
fn program(engine: Engine) -> Command {
    let programs = programs(engine);
    let mut command = as_server();
    match engine {
        Engine::Mariadb => {
            command.arg(programs.join("mariadbd")).arg("--no-defaults");
        }
        Engine::Mariadb11 => {
            command.arg(programs.join("mariadbd")).arg("--no-defaults").args(places(engine, "mariadb"));
        }
        Engine::Mysql => {
            command
                .arg(programs.join("mysqld"))
                .arg("--no-defaults")
                .args(["--mysqlx=OFF", "--secure-file-priv=NULL"])
                .args(places(engine, "mysql"));
        }
    }
    command
}

/// Where unpacked packages have what their server would look for elsewhere.
fn places(engine: Engine, share: &str) -> [String; 4] {
    let packages = packages(engine);
    let share = packages.join("usr/share").join(share);
    [
        ("basedir", packages.join("usr")),
        ("lc-messages-dir", share.clone()),
        ("character-sets-dir", share.join("charsets")),
        ("plugin-dir", packages.join("usr/lib/mysql/plugin")),
    ]
    .map(|(name, place)| format!("--{name}={}", place.display()))
}

/// The folder above that of the programs.
fn packages(engine: Engine) -> PathBuf {
    programs(engine).join("..")
}

fn programs(engine: Engine) -> PathBuf {
    let programs = server(engine).programs.clone();
    programs.unwrap_or_else(|| panic!("a server in a container cannot be hurt: its programs are not here"))
}

fn spawn(engine: Engine, folder: &Path, port: u16) -> Child {
    let mut command = program(engine);
    command.args([format!("--port={port}"), "--bind-address=127.0.0.1".to_owned()]);
    command.args(["--skip-log-bin", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]);
    for (name, file) in [
        ("datadir", "data"),
        ("socket", "socket"),
        ("pid-file", "pid"),
        ("log-error", "log"),
        ("init-file", "init.sql"),
    ] {
        command.arg(format!("--{name}={}", folder.join(file).display()));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    spawn_for_life(command)
}

/// Folders are named after the process that uses them; those of processes that are gone go too.
fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    const PREFIX: &str = "semilayer-mysql-";
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

/// Neither server runs as root; Linux's account for nobody does where the tests do.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn as_server() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    command
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
    receive.recv().unwrap().unwrap_or_else(|error| panic!("cannot start the server: {error}"))
}
