//! Byte streams: the interface `net`.

use std::sync::Arc;

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Resource;

use super::connect::{Line, Outlet, Target};
use super::error::NetworkError;
use super::host::Host;
use super::tls::Choice;
use crate::bindings::{net, types};
use crate::call::CallState;
use crate::state::State;

/// What one read hands over at the most.
const READ: usize = 64 << 10;

/// A connection of a guest.
#[expect(unreachable_pub, reason = "the bindings re-export it with what is theirs")]
pub struct Socket {
    host: Host,
    /// Nothing when a call was given up in the middle: where the stream stands is not known any more.
    stream: Option<Box<dyn bridge_net::Socket>>,
    outlet: Arc<Outlet>,
    _slot: OwnedSemaphorePermit,
}

impl Socket {
    /// Connects, if that is allowed.
    pub(super) async fn connect(
        outlet: &Arc<Outlet>,
        call: &CallState,
        target: (&str, u16),
        tls: Option<net::TlsOptions>,
    ) -> Result<Self, NetworkError> {
        let (host, port) = target;
        let host = Host::parse(host).ok_or(NetworkError::invalid("host", "a host name or an address"))?;
        if port == 0 {
            return Err(NetworkError::invalid("port", "1 to 65535"));
        }
        let tls = tls.map(Choice::parse).transpose()?;
        let target = Target { host, port };
        let Line { stream, slot } = call.bounded(outlet.connect(&target, tls.as_ref())).await??;
        Ok(Self { host: target.host, stream: Some(stream), outlet: Arc::clone(outlet), _slot: slot })
    }

    /// The next bytes, none at the end. Nothing is lost when it is given up.
    pub(super) async fn read(&mut self, call: &CallState, most: u32) -> Result<Vec<u8>, NetworkError> {
        let most = usize::try_from(most).unwrap_or(READ).min(READ);
        if most == 0 {
            return Err(NetworkError::invalid("max-bytes", "at least 1"));
        }
        let stream = self.stream.as_mut().ok_or(NetworkError::Abandoned)?;
        let mut room = Vec::with_capacity(most).limit(most);
        call.bounded(stream.read_buf(&mut room)).await?.map_err(NetworkError::Broken)?;
        Ok(room.into_inner())
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, call: &CallState, bytes: &[u8]) -> Result<(), NetworkError> {
        let mut stream = self.stream.take().ok_or(NetworkError::Abandoned)?;
        let work = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        call.bounded(work).await?.map_err(NetworkError::Broken)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Goes on under TLS.
    pub(super) async fn start_tls(
        &mut self,
        call: &CallState,
        options: net::TlsOptions,
    ) -> Result<(), NetworkError> {
        let choice = Choice::parse(options)?;
        let stream = self.stream.take().ok_or(NetworkError::Abandoned)?;
        self.stream = Some(call.bounded(self.outlet.secure(stream, &self.host, &choice)).await??);
        Ok(())
    }

    /// Says that nothing more will be written.
    pub(super) async fn shutdown(&mut self, call: &CallState) -> Result<(), NetworkError> {
        let stream = self.stream.as_mut().ok_or(NetworkError::Abandoned)?;
        call.bounded(stream.shutdown()).await?.map_err(NetworkError::Broken)
    }
}

impl Socket {
    /// What the guest is told. Once the stream is no longer there, neither is the connection that it was.
    pub(super) fn told<T>(&self, outcome: Result<T, NetworkError>) -> Result<T, types::Error> {
        outcome.map_err(|error| {
            let error = types::Error::from(error);
            types::Error { connection_lost: error.connection_lost || self.stream.is_none(), ..error }
        })
    }
}

/// What a host function answers: the outer failure is a trap.
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

impl net::Host for State {
    async fn connect(
        &mut self,
        host: String,
        port: u16,
        tls: Option<net::TlsOptions>,
    ) -> Answer<Resource<Socket>> {
        match Socket::connect(&self.network.outlet, &self.call, (&host, port), tls).await {
            Ok(socket) => Ok(Ok(self.table.push(socket)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl net::HostSocket for State {
    async fn read(&mut self, socket: Resource<Socket>, max_bytes: u32) -> Answer<Vec<u8>> {
        let socket = self.table.get_mut(&socket)?;
        let read = socket.read(&self.call, max_bytes).await;
        Ok(socket.told(read))
    }

    async fn write(&mut self, socket: Resource<Socket>, bytes: Vec<u8>) -> Answer<()> {
        let socket = self.table.get_mut(&socket)?;
        let written = socket.write(&self.call, &bytes).await;
        Ok(socket.told(written))
    }

    async fn start_tls(&mut self, socket: Resource<Socket>, options: net::TlsOptions) -> Answer<()> {
        let socket = self.table.get_mut(&socket)?;
        let started = socket.start_tls(&self.call, options).await;
        Ok(socket.told(started))
    }

    async fn shutdown(&mut self, socket: Resource<Socket>) -> Answer<()> {
        let socket = self.table.get_mut(&socket)?;
        let shut = socket.shutdown(&self.call).await;
        Ok(socket.told(shut))
    }

    async fn drop(&mut self, socket: Resource<Socket>) -> wasmtime::Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
