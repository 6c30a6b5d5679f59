//! A server whose words were written down beforehand, for tests and fuzzing: how to connect to it, and some of its words.

use std::path::PathBuf;

use bridge_net::{Address, Socket};

use super::connector::Connector;
use super::dial::Privacy;
use super::packet::{END, OK, push_string};
use super::{ConnectOptions, Connection, Endpoint, TlsMode, WireError, login};

/// Logs in over `socket`. The connection has no way to kill what runs on it.
pub(crate) async fn connect(
    socket: impl Socket + 'static,
    max_row_bytes: usize,
) -> Result<Connection, WireError> {
    let nowhere = PathBuf::from("/nowhere/at/all");
    let mut options = ConnectOptions::new(Endpoint::Unix { path: nowhere.clone() }, "someone");
    options.tls.mode = TlsMode::Disabled;
    options.max_row_bytes = max_row_bytes;
    let connector = Connector::load(options.clone()).await?;
    let (link, session) = login::log_in(Box::new(socket), Privacy::Private, None, false, &options).await?;
    Ok(Connection::new(connector, Address::Unix(nowhere), link, session, &options))
}

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL from 5.7 on.
    New,
    /// One that ends columns and rows with packets of their own.
    Old,
    /// MariaDB, whose columns say more of themselves.
    MariaDb,
}

impl Dialect {
    /// Greets and lets everybody in.
    pub fn login(self) -> Vec<u8> {
        let (low, high, extended) = match self {
            Self::New => (0xFFFF_u16, 0xFFFF_u16, 0_u32),
            Self::Old => (0xFFFF, 0xFEFF, 0),
            Self::MariaDb => (0xFFFE, 0xFFFF, 0xFF),
        };
        let mut greeting = b"\x0a9.7.4\0\x07\0\0\x0012345678\0".to_vec();
        greeting.extend(low.to_le_bytes());
        greeting.extend([255, 2, 0]);
        greeting.extend(high.to_le_bytes());
        greeting.push(21);
        greeting.extend([0; 6]);
        greeting.extend(extended.to_le_bytes());
        greeting.extend(b"abcdefghijkl\0mysql_native_password\0");
        [packet(&greeting), packet(&DONE)].concat()
    }

    /// Has prepared a statement without parameters, and ran it with this result. Rows are bodies of packets.
    pub fn result(self, columns: &[Vec<u8>], rows: &[Vec<u8>]) -> Vec<u8> {
        let mut out = packet(&[OK, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let count = u8::try_from(columns.len()).unwrap_or(u8::MAX);
        out.extend(packet(&[count]));
        out.extend(columns.iter().flat_map(|column| packet(column)));
        if self == Self::Old && !columns.is_empty() {
            out.extend(packet(&[END, 0, 0, 2, 0]));
        }
        out.extend(rows.iter().flat_map(|row| packet(row)));
        out.extend(match self {
            Self::Old => packet(&[END, 0, 0, 2, 0]),
            Self::New | Self::MariaDb => packet(&[END, 0, 0, 2, 0, 0, 0]),
        });
        out
    }

    /// Describes a column.
    pub fn column(self, name: &str, code: u8, charset: u16, flags: u16, decimals: u8) -> Vec<u8> {
        let mut out = Vec::new();
        for text in ["def", "", "t", "t", name, name] {
            push_string(&mut out, text.as_bytes());
        }
        if self == Self::MariaDb {
            push_string(&mut out, b"");
        }
        out.push(12);
        out.extend(charset.to_le_bytes());
        out.extend(1_024_u32.to_le_bytes());
        out.push(code);
        out.extend(flags.to_le_bytes());
        out.extend([decimals, 0, 0]);
        out
    }
}

/// An OK packet of a session that is as it was.
const DONE: [u8; 7] = [OK, 0, 0, 2, 0, 0, 0];

/// Appends a text of a row behind its length.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_string(out, text);
}

/// A packet of one frame.
pub fn packet(body: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = body.len().to_le_bytes();
    [&[a, b, c, 1], body].concat()
}
