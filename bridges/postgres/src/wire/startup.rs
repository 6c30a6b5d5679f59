//! The login: startup message, authentication, and the server's first reports.

use std::io;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as Gs2, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use protocol::Secret;

use super::cancel::BackendKey;
use super::dial::Privacy;
use super::link::Link;
use super::message::{Authentication, Backend};
use super::session::Session;
use super::{AuthError, ChannelBinding, ConnectOptions, ServerError, WireError};

/// Messages that a login may take. An honest one takes some twenty; a deadline alone would let a server keep us busy.
const MESSAGE_LIMIT: usize = 500;

/// Logs in over a fresh link and returns when the server is ready for the first statement.
pub(super) async fn log_in(
    link: &mut Link,
    options: &ConnectOptions,
    privacy: &Privacy,
) -> Result<(Option<BackendKey>, Session), WireError> {
    send_startup(link, options).await?;
    let mut login = Login { link, options, privacy, messages: 0, session: Session::new(options) };
    login.authenticate().await?;
    let key = login.await_ready().await?;
    Ok((key, login.session))
}

async fn send_startup(link: &mut Link, options: &ConnectOptions) -> Result<(), WireError> {
    let fixed = [
        ("user", options.user.as_str()),
        ("database", options.database.as_str()),
        ("application_name", options.application_name.as_str()),
        ("client_encoding", "UTF8"),
    ];
    let own = options
        .parameters
        .iter()
        .filter(|_| options.parameters_at_start)
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let own = own.filter(|(name, _)| !fixed.iter().any(|(fixed, _)| fixed == name));
    let route = options.route.as_deref().map(|route| ("options", route));
    link.encode(|out| frontend::startup_message(fixed.into_iter().chain(route).chain(own), out))?;
    link.flush().await
}

struct Login<'l, 'o> {
    link: &'l mut Link,
    options: &'o ConnectOptions,
    privacy: &'o Privacy,
    messages: usize,
    session: Session,
}

impl<'o> Login<'_, 'o> {
    async fn authenticate(&mut self) -> Result<(), WireError> {
        match self.next_request().await? {
            Authentication::Granted => self.refuse_without_binding(),
            Authentication::ClearText => self.clear_text().await,
            Authentication::Md5(salt) => self.md5(salt).await,
            Authentication::Sasl(mechanisms) => self.scram(&mechanisms).await,
            Authentication::Other(what) => Err(AuthError::Unsupported(what).into()),
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                Err(WireError::Protocol("SCRAM goes on that never began"))
            }
        }
    }

    async fn clear_text(&mut self) -> Result<(), WireError> {
        self.refuse_without_binding()?;
        if *self.privacy == Privacy::Open {
            return Err(AuthError::ClearText.into());
        }
        let password = self.password()?;
        self.send_password(password.as_bytes()).await
    }

    async fn md5(&mut self, salt: [u8; 4]) -> Result<(), WireError> {
        self.refuse_without_binding()?;
        let hash = md5_hash(self.options.user.as_bytes(), self.password()?.as_bytes(), salt);
        self.send_password(hash.as_bytes()).await
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), WireError> {
        self.link.encode(|out| frontend::password_message(password, out))?;
        self.link.flush().await?;
        self.await_grant().await
    }

    async fn scram(&mut self, mechanisms: &[u8]) -> Result<(), WireError> {
        let (mechanism, binding) = self.choose_mechanism(mechanisms)?;
        let scram = ScramSha256::new(self.password()?.as_bytes(), binding);
        self.link.encode(|out| frontend::sasl_initial_response(mechanism, scram.message(), out))?;
        self.link.flush().await?;

        let Authentication::SaslContinue(challenge) = self.next_request().await? else {
            return Err(WireError::Protocol("SCRAM without a challenge"));
        };
        let mut scram = answer_challenge(scram, challenge).await.map_err(AuthError::Scram)?;
        self.link.encode(|out| frontend::sasl_response(scram.message(), out))?;
        self.link.flush().await?;

        // Granted without the server's proof would mean that it need not know the password.
        let Authentication::SaslFinal(proof) = self.next_request().await? else {
            return Err(WireError::Protocol("SCRAM without the server's proof"));
        };
        scram.finish(&proof).map_err(AuthError::Scram)?;
        self.await_grant().await
    }

    /// SCRAM with channel binding where both ends can, else without; the first message says honestly which it was, so
    /// that nobody in between can take the better mechanism off the list.
    fn choose_mechanism(&self, mechanisms: &[u8]) -> Result<(&'static str, Gs2), AuthError> {
        let offers =
            |name: &str| mechanisms.split(|byte| *byte == 0).any(|offered| offered == name.as_bytes());
        let end_point = match (self.privacy, self.options.tls.channel_binding) {
            (Privacy::Encrypted { end_point }, ChannelBinding::Prefer | ChannelBinding::Require) => {
                end_point.clone()
            }
            _ => None,
        };
        match end_point {
            Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
                Ok((SCRAM_SHA_256_PLUS, Gs2::tls_server_end_point(end_point)))
            }
            _ if self.options.tls.channel_binding == ChannelBinding::Require => {
                Err(AuthError::NoChannelBinding)
            }
            _ if !offers(SCRAM_SHA_256) => {
                Err(AuthError::Unsupported("a SASL mechanism other than SCRAM-SHA-256"))
            }
            Some(_) => Ok((SCRAM_SHA_256, Gs2::unrequested())),
            None => Ok((SCRAM_SHA_256, Gs2::unsupported())),
        }
    }

    fn refuse_without_binding(&self) -> Result<(), WireError> {
        match self.options.tls.channel_binding {
            ChannelBinding::Require => Err(AuthError::NoChannelBinding.into()),
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
        }
    }

    fn password(&self) -> Result<&'o str, AuthError> {
        self.options.password.as_ref().map(Secret::expose).ok_or(AuthError::NoPassword)
    }

    async fn await_grant(&mut self) -> Result<(), WireError> {
        match self.next_request().await? {
            Authentication::Granted => Ok(()),
            _ => Err(WireError::Protocol("another request after the password")),
        }
    }

    async fn await_ready(&mut self) -> Result<Option<BackendKey>, WireError> {
        let mut key = None;
        loop {
            match self.next().await? {
                Backend::KeyData { process, secret } => key = Some(BackendKey { process, secret }),
                Backend::Ready(_) => return Ok(key),
                _ => return Err(WireError::Protocol("an unexpected message after the login")),
            }
        }
    }

    async fn next_request(&mut self) -> Result<Authentication, WireError> {
        match self.next().await? {
            Backend::Authentication(request) => Ok(request),
            _ => Err(WireError::Protocol("an unexpected message during the login")),
        }
    }

    /// The next message that is not an aside.
    async fn next(&mut self) -> Result<Backend, WireError> {
        while self.messages < MESSAGE_LIMIT {
            self.messages += 1;
            match self.link.next().await? {
                Backend::Aside => {}
                Backend::Report { name, value } => self.session.reported(&name, &value),
                Backend::Error(error) => return Err(refused(error)),
                message => return Ok(message),
            }
        }
        Err(WireError::Protocol("the login does not end"))
    }
}

fn refused(error: Box<ServerError>) -> WireError {
    if error.code.starts_with("28") { AuthError::Rejected(error).into() } else { WireError::Server(error) }
}

/// Thousands of hashes, so not on the thread that serves everybody's sockets. Their number, which the server chooses,
/// is limited by `postgres-protocol` to 100 000.
async fn answer_challenge(mut scram: ScramSha256, challenge: Vec<u8>) -> io::Result<ScramSha256> {
    let answered = tokio::task::spawn_blocking(move || {
        scram.update(&challenge)?;
        Ok(scram)
    });
    answered.await.map_err(io::Error::other)?
}
