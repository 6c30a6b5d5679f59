//! The files of a folder over HTTP, on loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// A folder that is served.
pub(super) struct Files {
    address: SocketAddr,
    folder: String,
}

impl Files {
    /// Makes the folder and serves what comes to lie in it.
    pub(super) fn serve(folder: &str) -> Self {
        fs::create_dir(folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, served) = (listener.local_addr().unwrap(), PathBuf::from(folder));
        // Ends with the test's process: it waits for connections only.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                std::thread::spawn(move || answer(&stream, &served));
            }
        });
        Self { address, folder: folder.to_owned() }
    }

    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers requests until the client has gone.
fn answer(stream: &TcpStream, folder: &Path) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        lines.by_ref().take_while(|header| !header.is_empty()).for_each(drop);
        // GET /first/schema.json HTTP/1.1
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let (status, body) = match fs::read(folder.join(path)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let mut out = stream;
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(&body)).is_err() {
            return;
        }
    }
}
