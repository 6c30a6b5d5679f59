//! The login: who, which database, and what kind of server it is.

use protocol::Secret;

use super::{ConnectOptions, Connection, Reply, ServerError, WireError};

/// What `CLIENT LIST` shows.
const CLIENT_NAME: &[u8] = b"semilayer-runner";

/// Logs in and selects the database. A server that shows a part of the keys only is refused, or rows would be missing
/// without a word.
pub(crate) async fn log_in(connection: &mut Connection, options: &ConnectOptions) -> Result<(), WireError> {
    let done = introduce(connection, options).await;
    done.map_err(|error| without_password(error, options.password.as_ref()))
}

async fn introduce(connection: &mut Connection, options: &ConnectOptions) -> Result<(), WireError> {
    if let Some(password) = &options.password {
        let password = password.expose().as_bytes();
        let reply = match &options.user {
            Some(user) => connection.ask(&[b"AUTH", user.as_bytes(), password]).await?,
            None => connection.ask(&[b"AUTH", password]).await?,
        };
        reply.checked()?;
    }
    if options.database > 0 {
        connection.ask(&[b"SELECT", options.database.to_string().as_bytes()]).await?.checked()?;
    }
    connection.ask(&[b"PING"]).await.and_then(accepted)?;
    match mode(&connection.ask(&[b"HELLO", b"2"]).await?).as_deref() {
        Some("cluster") => return Err(WireError::Cluster),
        Some("sentinel") => return Err(WireError::Sentinel),
        Some(_) | None => {}
    }
    // A name is a courtesy; a user without the right to have one can still read.
    connection.ask(&[b"CLIENT", b"SETNAME", CLIENT_NAME]).await.map(drop)
}

/// A server that does not know a command repeats its arguments, and here the password is one.
fn without_password(error: WireError, password: Option<&Secret>) -> WireError {
    match error {
        WireError::Server(ServerError { code, message }) => {
            let message = message.split(", with args").next().unwrap_or_default();
            let repeats = password.is_some_and(|password| message.contains(password.expose()));
            let message = if repeats { "the server repeats the password" } else { message };
            WireError::Server(ServerError { code, message: message.to_owned() })
        }
        other => other,
    }
}

/// A user who may not `PING` has logged in all the same.
fn accepted(reply: Reply) -> Result<(), WireError> {
    match reply.checked() {
        Err(WireError::Server(error)) if !error.is("NOPERM") => Err(WireError::Server(error)),
        Err(WireError::Server(_)) | Ok(_) => Ok(()),
        Err(other) => Err(other),
    }
}

/// `mode` of `HELLO`; nothing from servers before version 6, and for users who may not ask.
fn mode(hello: &Reply) -> Option<String> {
    let pairs = hello.entries().chunks_exact(2);
    pairs.filter_map(|pair| pair.first().zip(pair.get(1))).find_map(|(name, value)| {
        (name.bytes() == b"mode").then(|| String::from_utf8_lossy(value.bytes()).into_owned())
    })
}
