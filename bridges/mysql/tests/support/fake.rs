//! A server of the protocol that says what a test tells it to.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What comes back for a statement that is executed.
pub(crate) enum Answer {
    Whole(Vec<u8>),
    /// The second again and again, behind the first.
    Endless(Vec<u8>, Vec<u8>),
    /// And then the connection is closed.
    Cut(Vec<u8>),
    /// And then nothing any more.
    Silent(Vec<u8>),
}

pub(crate) struct Fake;

impl Fake {
    /// Listens. The probe of a new source is answered; the statements after it get `answers`, one after the other.
    #[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
    pub(crate) async fn start(answers: Vec<Answer>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = Answer::Whole(rows(&[column("1", LONGLONG, 63)], &[plain_row(&1_u64.to_le_bytes())]));
        let answers: VecDeque<Answer> = [probe].into_iter().chain(answers).collect();
        let answers = Arc::new(Mutex::new(answers));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move { serve(client, &answers).await.ok() });
            }
        });
        port
    }
}

async fn serve(mut client: TcpStream, answers: &Mutex<VecDeque<Answer>>) -> io::Result<()> {
    client.write_all(&greeting()).await?;
    next_packet(&mut client).await?;
    client.write_all(&okay()).await?;
    loop {
        let command = next_packet(&mut client).await?;
        match command.first() {
            Some(0x03 | 0x0E) => client.write_all(&okay()).await?,
            Some(0x16) => client.write_all(&prepared(&command)).await?,
            Some(0x17) => {
                let answer = answers.lock().unwrap().pop_front();
                match answer.unwrap_or_else(|| panic!("a statement that no test has expected")) {
                    Answer::Whole(bytes) => client.write_all(&bytes).await?,
                    Answer::Endless(head, again) => {
                        client.write_all(&head).await?;
                        let many = again.repeat(1 + 1_000_000 / again.len());
                        loop {
                            client.write_all(&many).await?;
                        }
                    }
                    Answer::Cut(bytes) => return client.write_all(&bytes).await,
                    Answer::Silent(bytes) => {
                        client.write_all(&bytes).await?;
                        std::future::pending::<()>().await;
                    }
                }
            }
            Some(0x19) => {}
            _ => return Ok(()),
        }
    }
}

async fn next_packet(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let header = client.read_u32_le().await?;
    let mut body = vec![0; usize::try_from(header & 0xFF_FFFF).unwrap()];
    client.read_exact(&mut body).await?;
    Ok(body)
}

/// LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, DEPRECATE_EOF.
const CAPABILITIES: u32 = 1 | 1 << 3 | 1 << 9 | 1 << 15 | 1 << 19 | 1 << 24;

fn greeting() -> Vec<u8> {
    let [a, b, c, d] = CAPABILITIES.to_le_bytes();
    let mut packet = b"\x0a9.9.9\0\x07\0\0\x0012345678\0".to_vec();
    packet.extend([a, b, 45, 2, 0, c, d, 21]);
    packet.extend([0; 10]);
    packet.extend(b"abcdefghijkl\0mysql_native_password\0");
    frame(&packet)
}

fn okay() -> Vec<u8> {
    frame(&[0, 0, 0, 2, 0, 0, 0])
}

fn prepared(command: &[u8]) -> Vec<u8> {
    let params = u16::try_from(command.iter().filter(|byte| **byte == b'?').count()).unwrap();
    let [low, high] = params.to_le_bytes();
    let mut answer = frame(&[0, 1, 0, 0, 0, 0, 0, low, high, 0, 0, 0]);
    for _ in 0..params {
        answer.extend(column("?", TEXT, 45));
    }
    answer
}

/// `VARCHAR` and the like, in a row a length and the bytes.
pub(crate) const TEXT: u8 = 253;
const LONGLONG: u8 = 8;

/// A packet of one frame.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[a, b, c, 1], body].concat()
}

/// A text with its length before it.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let [a, b, ..] = bytes.len().to_le_bytes();
    assert!(bytes.len() < 0xFFFF);
    [&[0xFC, a, b], bytes].concat()
}

/// The description of a column.
pub(crate) fn column(name: &str, kind: u8, charset: u16) -> Vec<u8> {
    let mut packet = [counted(b"def"), vec![0, 0, 0], counted(name.as_bytes()), vec![0, 12]].concat();
    packet.extend(charset.to_le_bytes());
    packet.extend([0, 0, 0, 0, kind, 0, 0, 0, 0, 0]);
    frame(&packet)
}

/// A row of texts.
pub(crate) fn row(cells: &[&[u8]]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = cells.iter().map(|cell| counted(cell)).collect();
    binary_row(cells.len(), &values.concat())
}

/// A row of one value that has no length before it.
fn plain_row(value: &[u8]) -> Vec<u8> {
    binary_row(1, value)
}

fn binary_row(columns: usize, values: &[u8]) -> Vec<u8> {
    let nulls = vec![0; (columns + 9) / 8];
    frame(&[&[0], nulls.as_slice(), values].concat())
}

/// What ends rows.
pub(crate) fn end() -> Vec<u8> {
    frame(&[0xFE, 0, 0, 2, 0, 0, 0])
}

/// A whole result.
pub(crate) fn rows(columns: &[Vec<u8>], rows: &[Vec<u8>]) -> Vec<u8> {
    [frame(&[u8::try_from(columns.len()).unwrap()]), columns.concat(), rows.concat(), end()].concat()
}

/// What the information schema says about a table of one column.
pub(crate) fn description_of_a_table(name: &str, kind: &str) -> Vec<u8> {
    let texts = ["COLUMN_NAME", "DATA_TYPE", "COLUMN_TYPE", "IS_NULLABLE"];
    let mut columns: Vec<Vec<u8>> = texts.map(|name| column(name, TEXT, 45)).to_vec();
    columns.push(column("SEQ_IN_INDEX", LONGLONG, 63));
    columns.push(column("CHARACTER_SET_NAME", TEXT, 45));
    let texts = [name, kind, kind, "YES"].map(|text| counted(text.as_bytes())).concat();
    let values = [texts, counted(b"utf8mb4")].concat();
    // The fifth value is null; the bits begin with two that mean nothing.
    let described = frame(&[&[0, 1 << 6], values.as_slice()].concat());
    rows(&columns, &[described])
}
