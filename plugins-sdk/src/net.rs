//! Byte streams to the hosts that the operator allows for the plugin, and to the endpoints of the source's own settings.
//!
//! TLS is the runner's: its roots, its policy, and certificates by name. Everything here that waits ends at the job's
//! deadline, and at once when the job is cancelled.

use std::io::{self, Read, Write};

use crate::Error;
use crate::bindings::semilayer::bridge::net as wit;

/// How a stream is encrypted: by default with the runner's roots, for the host that was connected to.
#[derive(Debug, Clone)]
pub struct Tls(pub(crate) wit::TlsOptions);

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl Tls {
    /// The defaults.
    pub fn new() -> Self {
        Self(wit::TlsOptions { server_name: None, ca: None, certificate: None, key: None, alpn: Vec::new() })
    }

    /// The name that the server's certificate must have.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.0.server_name = Some(name.to_owned());
        self
    }

    /// PEM certificates to trust instead of the runner's roots.
    #[must_use]
    pub fn ca(mut self, pem: &str) -> Self {
        self.0.ca = Some(pem.to_owned());
        self
    }

    /// PEM certificate chain and key of the client.
    #[must_use]
    pub fn identity(mut self, certificate: &str, key: &str) -> Self {
        self.0.certificate = Some(certificate.to_owned());
        self.0.key = Some(key.to_owned());
        self
    }

    /// A protocol to offer by ALPN, after those offered before.
    #[must_use]
    pub fn alpn(mut self, protocol: &str) -> Self {
        self.0.alpn.push(protocol.to_owned());
        self
    }
}

/// A connection; dropping it closes it. Reads and writes go to the runner one by one: wrap it in a
/// [`BufReader`](io::BufReader) or [`BufWriter`](io::BufWriter) where they are small.
#[derive(Debug)]
pub struct Stream(wit::Socket);

impl Stream {
    /// Connects by name or address, in the clear.
    ///
    /// # Errors
    /// `permission-denied` when the host is not allowed, `unreachable`, `timeout`, `cancelled`.
    pub fn connect(host: &str, port: u16) -> Result<Self, Error> {
        connect(host, port, None).map(Self)
    }

    /// Connects and encrypts from the first byte.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_tls(host: &str, port: u16, tls: &Tls) -> Result<Self, Error> {
        connect(host, port, Some(&tls.0)).map(Self)
    }

    /// Goes on under TLS, as protocols do that begin in the clear.
    ///
    /// # Errors
    /// `unreachable`, with the connection lost.
    pub fn start_tls(&self, tls: &Tls) -> Result<(), Error> {
        Ok(self.0.start_tls(&tls.0)?)
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// `unreachable`, with the connection lost.
    pub fn shutdown(&self) -> Result<(), Error> {
        Ok(self.0.shutdown()?)
    }

    /// At most `max` bytes, at least one; nothing at the end of the stream.
    ///
    /// # Errors
    /// `unreachable`, `timeout`, `cancelled`.
    pub fn receive(&self, max: u32) -> Result<Option<Vec<u8>>, Error> {
        let bytes = self.0.read(max)?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// `unreachable`, `timeout`, `cancelled`.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.0.write(bytes)?)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let max = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let bytes = if max == 0 { None } else { self.receive(max)? };
        Ok(copy_into(buffer, &bytes.unwrap_or_default()))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies what there is room for, and says how much.
pub(crate) fn copy_into(buffer: &mut [u8], bytes: &[u8]) -> usize {
    let taken = buffer.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count();
    debug_assert_eq!(taken, bytes.len(), "the runner gives no more than it was asked for");
    taken
}

#[cfg(target_family = "wasm")]
fn connect(host: &str, port: u16, tls: Option<&wit::TlsOptions>) -> Result<wit::Socket, Error> {
    Ok(wit::connect(host, port, tls)?)
}

#[cfg(not(target_family = "wasm"))]
fn connect(host: &str, port: u16, _tls: Option<&wit::TlsOptions>) -> Result<wit::Socket, Error> {
    Err(Error::unreachable(format!("{host}:{port} cannot be reached: there is no runner in a native build")))
}
