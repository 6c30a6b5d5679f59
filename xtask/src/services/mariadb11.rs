//! MariaDB 11.8, which has vectors: unpacked from the packages of a newer Debian than the machine's may be, or a
//! container. Everything else is as in the recipe of the machine's own MariaDB.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::downloads::{Debian, Suite};
use crate::services::mariadb::{self, INIT_LIMIT, Recipe};
use crate::services::mysql::{Layout, places_of};
use crate::services::site::Site;
use crate::services::state::Server;
use crate::services::{Edition, Service};

pub(super) const SERVICE: Service = Service {
    name: "mariadb11",
    title: "MariaDB (new)",
    editions: &[Edition { title: "MariaDB 11", version: "11.", container: "mariadb11" }],
    start: Some(start),
    adopt: Some(|site, container| mariadb::adopt(site, &SERVICE, container)),
    ..mariadb::SERVICE
};

/// A release keeps its version, which is one that is maintained for years.
const PACKAGES: Debian = Debian {
    name: "mariadb11",
    suite: Suite::Named("trixie"),
    packages: &["mariadb-server-core", "mariadb-client-core", "libc6"],
    programs: &["usr/sbin/mariadbd", "usr/bin/mariadb"],
};
/// In the packages; what `mariadb-install-db` runs, without the texts of `HELP` and the views for people.
const TABLES: [&str; 2] = ["mariadb_system_tables.sql", "mariadb_system_tables_data.sql"];

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let packages = PACKAGES.fetch(&account)?;
    let share = packages.join("usr/share/mariadb");
    let server = packages.join("bin/mariadbd");
    let make = |layout: &Layout, script: &str| bootstrap(account.command(&server), &share, layout, script);
    let places = places_of(&packages, &share);
    Recipe { service: &SERVICE, server: &server, places: &places, make: &make }.start(site, &account)
}

/// Makes the tables by the server's own hand: the script that does it elsewhere looks for programs that can only
/// be run by the loader they came with.
fn bootstrap(mut server: Command, share: &Path, layout: &Layout, script: &str) -> Result<(), Error> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(Error::io("read", path));
    let tables: Result<Vec<String>, Error> = TABLES.iter().map(|name| read(share.join(name))).collect();
    // A line is a statement here. The variable says that no account of the machine may come in as root.
    let begin = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n";
    server.arg(layout.settings_argument()).arg("--bootstrap");
    let input = format!("{begin}{}{script}", tables?.concat());
    Run::new(server, "mariadbd --bootstrap", INIT_LIMIT).input(input).capture().map(drop)
}
