//! The login: the server's greeting, TLS, authentication (MySQL internals manual, "Connection Phase").

use bridge_net::{Socket, TlsClient};

use super::auth::{self, CACHING_SHA2, NATIVE};
use super::dial::Privacy;
use super::link::Link;
use super::packet::{CUT_SHORT, ERROR, Fields, OK, capability, push_string, server_error};
use super::{ConnectOptions, TlsError, WireError};

/// Packets that an authentication may take. An honest one takes five.
const PACKET_LIMIT: usize = 50;
/// utf8mb4_general_ci, which both families know; the session asks for its server's own default afterwards.
const UTF8MB4: u8 = 45;
const PROTOCOL_VERSION: u8 = 10;
const AUTH_SWITCH: u8 = 0xFE;
const AUTH_MORE: u8 = 0x01;
const FAST_AUTH_OK: &[u8] = &[3];
const FULL_AUTH: &[u8] = &[4];

/// What the two sides have agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// For `KILL`.
    pub(super) id: u32,
    pub(super) is_mariadb: bool,
    capabilities: u64,
}

impl Session {
    /// Whether columns and rows end with packets of their own, as before MySQL 5.7.
    pub(super) fn has_old_ends(self) -> bool {
        self.capabilities & capability::DEPRECATE_EOF == 0
    }

    /// Whether columns come with MariaDB's metadata.
    pub(super) fn has_extended_metadata(self) -> bool {
        self.capabilities & capability::MARIADB_EXTENDED_METADATA != 0
    }
}

/// Logs in over a fresh socket. `required` says that without TLS there is no login.
pub(super) async fn log_in(
    socket: Box<dyn Socket>,
    privacy: Privacy,
    tls: Option<&TlsClient>,
    required: bool,
    options: &ConnectOptions,
) -> Result<(Link, Session), WireError> {
    let mut link = Link::new(socket);
    let greeting = Greeting::read(&link.packet().await?)?;
    let offered = greeting.capabilities & capability::SSL != 0;
    let client = match tls {
        Some(client) if offered => Some(client),
        Some(_) if required => return Err(TlsError::NotOffered.into()),
        _ => None,
    };
    let session = greeting.session(options, client.is_some());
    let mut privacy = privacy;
    if let Some(client) = client {
        link.reply(&response_head(session));
        link.flush().await?;
        link = link.encrypted(client).await?;
        privacy = Privacy::Private;
    }
    let mut login = Login { link, options, privacy };
    login.begin(&greeting, session).await?;
    login.finish(greeting.plugin).await?;
    Ok((login.link, session))
}

struct Greeting {
    version: String,
    id: u32,
    capabilities: u64,
    nonce: Vec<u8>,
    plugin: String,
}

impl Greeting {
    fn read(packet: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        match fields.u8()? {
            PROTOCOL_VERSION => {}
            ERROR => return Err(WireError::Server(server_error(packet))),
            _ => return Err(WireError::Protocol("a greeting of another protocol")),
        }
        let version = String::from_utf8_lossy(fields.until_nul()?).into_owned();
        let id = fields.u32()?;
        let mut nonce = fields.bytes(8)?.to_vec();
        fields.bytes(1)?;
        let low = fields.u16()?;
        let _charset_and_status = fields.bytes(3)?;
        let high = fields.u16()?;
        let nonce_length = fields.u8()?;
        let _reserved = fields.bytes(6)?;
        let extended = fields.u32()?;
        let mut capabilities = u64::from(low) | u64::from(high) << 16;
        // Only MariaDB does not set MySQL's first flag, and puts its own flags where MySQL has zeros.
        if capabilities & capability::LONG_PASSWORD == 0 {
            capabilities |= u64::from(extended) << 32;
        }
        let rest = usize::from(nonce_length).saturating_sub(8).max(13);
        nonce.extend_from_slice(fields.bytes(rest)?);
        nonce.truncate(20);
        let plugin = fields.until_nul().unwrap_or(NATIVE.as_bytes());
        let plugin = String::from_utf8_lossy(plugin).into_owned();
        let needed = capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
        if capabilities & needed != needed {
            return Err(WireError::Protocol("the server is older than MySQL 5.6"));
        }
        Ok(Self { version, id, capabilities, nonce, plugin })
    }

    /// What both sides can do of what we want.
    fn session(&self, options: &ConnectOptions, encrypted: bool) -> Session {
        let mut wanted = capability::LONG_PASSWORD
            | capability::LONG_FLAG
            | capability::PROTOCOL_41
            | capability::TRANSACTIONS
            | capability::SECURE_CONNECTION
            | capability::PLUGIN_AUTH
            | capability::PLUGIN_AUTH_LENENC
            | capability::CONNECT_ATTRS
            | capability::SESSION_TRACK
            | capability::DEPRECATE_EOF
            | capability::MARIADB_EXTENDED_METADATA;
        if options.database.is_some() {
            wanted |= capability::CONNECT_WITH_DB;
        }
        if encrypted {
            wanted |= capability::SSL;
        }
        let is_mariadb =
            self.capabilities & capability::LONG_PASSWORD == 0 || self.version.contains("MariaDB");
        Session { id: self.id, is_mariadb, capabilities: wanted & self.capabilities }
    }
}

/// What the TLS request and the login have in common.
fn response_head(session: Session) -> Vec<u8> {
    let [a, b, c, d, extended @ ..] = session.capabilities.to_le_bytes();
    let mut out = vec![a, b, c, d];
    out.extend((1_u32 << 30).to_le_bytes());
    out.push(UTF8MB4);
    out.extend([0; 19]);
    out.extend(extended);
    out
}

struct Login<'o> {
    link: Link,
    options: &'o ConnectOptions,
    privacy: Privacy,
}

impl Login<'_> {
    async fn begin(&mut self, greeting: &Greeting, session: Session) -> Result<(), WireError> {
        // An account of another kind makes the server switch; MySQL 8 and later prefer theirs.
        let plugin = if greeting.plugin == CACHING_SHA2 { CACHING_SHA2 } else { NATIVE };
        let answer = auth::answer(plugin, self.password(), &greeting.nonce, self.privacy)?;
        let mut out = response_head(session);
        push_c_string(&mut out, &self.options.user)?;
        push_string(&mut out, &answer);
        if session.capabilities & capability::CONNECT_WITH_DB != 0 {
            push_c_string(&mut out, self.options.database.as_deref().unwrap_or_default())?;
        }
        push_c_string(&mut out, plugin)?;
        if session.capabilities & capability::CONNECT_ATTRS != 0 {
            push_string(&mut out, &attributes());
        }
        self.send(&out).await
    }

    async fn finish(&mut self, plugin: String) -> Result<(), WireError> {
        let mut plugin = if plugin == CACHING_SHA2 { plugin } else { NATIVE.to_owned() };
        for _ in 0..PACKET_LIMIT {
            let packet = self.link.packet().await?;
            match packet.split_first() {
                Some((&OK, _)) => return Ok(()),
                Some((&ERROR, _)) => return Err(WireError::Server(server_error(&packet))),
                Some((&AUTH_SWITCH, rest)) => {
                    let nonce;
                    (plugin, nonce) = switched(rest)?;
                    let answer = auth::answer(&plugin, self.password(), &nonce, self.privacy)?;
                    self.send(&answer).await?;
                }
                Some((&AUTH_MORE, FAST_AUTH_OK)) if plugin == CACHING_SHA2 => {}
                Some((&AUTH_MORE, FULL_AUTH)) if plugin == CACHING_SHA2 => {
                    let answer = auth::clear(CACHING_SHA2, self.password(), self.privacy)?;
                    self.send(&answer).await?;
                }
                _ => return Err(WireError::Protocol("an unexpected packet during the login")),
            }
        }
        Err(WireError::Protocol("the login does not end"))
    }

    async fn send(&mut self, packet: &[u8]) -> Result<(), WireError> {
        self.link.reply(packet);
        self.link.flush().await
    }

    fn password(&self) -> &str {
        self.options.password.as_ref().map_or("", |password| password.expose())
    }
}

/// The plugin that the server wants instead, and its nonce.
fn switched(packet: &[u8]) -> Result<(String, Vec<u8>), WireError> {
    let mut fields = Fields(packet);
    if packet.is_empty() {
        return Err(CUT_SHORT);
    }
    let plugin = String::from_utf8_lossy(fields.until_nul()?).into_owned();
    let mut nonce = fields.rest().to_vec();
    nonce.truncate(20);
    Ok((plugin, nonce))
}

/// Shown in `performance_schema.session_connect_attrs`.
fn attributes() -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in [("_client_name", "semilayer-runner"), ("program_name", "semilayer-runner")] {
        push_string(&mut out, name.as_bytes());
        push_string(&mut out, value.as_bytes());
    }
    out
}

fn push_c_string(out: &mut Vec<u8>, text: &str) -> Result<(), WireError> {
    if text.contains('\0') {
        return Err(WireError::Encode("a name with a NUL character"));
    }
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What MySQL 9.7 says first.
    fn greeting() -> Vec<u8> {
        let mut packet = b"\x0a9.7.4\0\x07\0\0\x0012345678\0".to_vec();
        packet.extend(0xFFFF_u16.to_le_bytes());
        packet.extend([255, 2, 0]);
        packet.extend(0xDFFF_u16.to_le_bytes());
        packet.push(21);
        packet.extend([0; 10]);
        packet.extend(b"abcdefghijkl\0caching_sha2_password\0");
        packet
    }

    #[test]
    fn a_greeting_tells_who_and_what_the_server_is() {
        let greeting = Greeting::read(&greeting()).unwrap();
        assert_eq!((greeting.version.as_str(), greeting.id), ("9.7.4", 7));
        assert_eq!(greeting.nonce, b"12345678abcdefghijkl");
        assert_eq!(greeting.plugin, CACHING_SHA2);
        let options = ConnectOptions::new(crate::wire::Endpoint::Unix { path: "/nowhere".into() }, "me");
        let session = greeting.session(&options, false);
        assert!(!session.is_mariadb && !session.has_old_ends() && !session.has_extended_metadata());
    }

    #[test]
    fn a_greeting_cut_anywhere_is_no_panic() {
        let whole = greeting();
        for end in 0..whole.len() - 22 {
            assert!(Greeting::read(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_server_that_is_full_says_so_before_the_login() {
        let refused = Greeting::read(b"\xff\x10\x04Too many connections").err().unwrap();
        assert!(matches!(refused, WireError::Server(error) if error.number == 1040));
    }
}
