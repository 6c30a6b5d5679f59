//! What plugins say, as events of the runner's log: cut, and not more often than the log can bear.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::Secret;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bindings::host::Level;
use crate::limits::{LOG_LINE_BYTES, LOG_LINES, STORY_BYTES};
use crate::stats::Stats;

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";
/// A shorter one would eat half of every line.
const LEAST_SECRET: usize = 4;
/// A shorter line of a secret says little of it.
const LEAST_LINE: usize = 16;

/// The log of one instance. Its lines have the target `semilayer_plugin` and the plugin's name as a field.
#[derive(Debug)]
pub(crate) struct GuestLog {
    plugin: Arc<str>,
    budget: Arc<Budget>,
    /// The end of what the guest has printed on its standard error: a panic's message is there.
    last_words: Mutex<String>,
    /// Never shown, whatever the guest writes.
    secrets: Vec<Secret>,
}

/// How many lines a plugin may still write.
#[derive(Debug)]
pub(crate) struct Budget {
    stats: Arc<Stats>,
    second: Mutex<Second>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl GuestLog {
    /// The log of an instance whose source has these secrets.
    pub(crate) fn new(plugin: Arc<str>, budget: Arc<Budget>, secrets: Vec<Secret>) -> Self {
        let secrets = secrets.iter().flat_map(|secret| with_lines(secret.expose()));
        let secrets = secrets.filter(|secret| secret.len() >= LEAST_SECRET).map(Secret::new).collect();
        Self { plugin, budget, last_words: Mutex::default(), secrets }
    }

    /// Writes one line, cut to its limit, unless there have been too many.
    pub(crate) fn line(&self, level: Level, message: &str) {
        if !self.enabled(level) {
            return;
        }
        let Some(left_out) = self.budget.take() else { return };
        let plugin = &*self.plugin;
        if left_out > 0 {
            tracing::warn!(target: "semilayer_plugin", plugin, lines = left_out, "lines of a plugin were left out");
        }
        let message = self.scrubbed(message, LOG_LINE_BYTES);
        let message = flat(&message);
        match level {
            Level::Trace => tracing::trace!(target: "semilayer_plugin", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "semilayer_plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "semilayer_plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "semilayer_plugin", plugin, "{message}"),
            Level::Error => tracing::error!(target: "semilayer_plugin", plugin, "{message}"),
        }
    }

    /// Whether lines of this level are kept.
    pub(crate) fn enabled(&self, level: Level) -> bool {
        match level {
            Level::Trace => tracing::enabled!(target: "semilayer_plugin", tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(target: "semilayer_plugin", tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: "semilayer_plugin", tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: "semilayer_plugin", tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: "semilayer_plugin", tracing::Level::ERROR),
        }
    }

    /// A line that the guest has printed.
    pub(crate) fn printed(&self, line: &str) {
        let mut last = lock(&self.last_words);
        if last.len() + line.len() > STORY_BYTES {
            last.clear();
        }
        if !last.is_empty() {
            last.push_str("; ");
        }
        last.push_str(&self.scrubbed(line.trim(), STORY_BYTES));
        drop(last);
        self.line(Level::Info, line);
    }

    /// The beginning of a text without secrets, at most so many bytes. A secret that the cut goes through is one, too.
    fn scrubbed<'t>(&self, text: &'t str, most: usize) -> Cow<'t, str> {
        let looked_at = cut(text, most.saturating_add(self.beyond()));
        let secrets = self.secrets.iter().map(Secret::expose);
        let found = secrets.flat_map(|secret| looked_at.match_indices(secret));
        let mut found: Vec<_> = found.map(|(at, secret)| at..at.saturating_add(secret.len())).collect();
        if found.is_empty() {
            return Cow::Borrowed(cut(text, most));
        }
        found.sort_unstable_by_key(|secret| secret.start);
        let mut out = String::new();
        let mut shown = 0;
        for secret in found.into_iter().filter(|secret| secret.start < most) {
            if let Some(plain) = looked_at.get(shown..secret.start) {
                out.push_str(plain);
                out.push_str(REDACTED);
            }
            // Secrets may overlap, or be parts of others.
            shown = shown.max(secret.end);
        }
        out.push_str(looked_at.get(shown..looked_at.floor_char_boundary(most)).unwrap_or_default());
        out.truncate(out.floor_char_boundary(most));
        Cow::Owned(out)
    }

    /// How far behind a cut one has to look for the end of a secret that begins before it.
    fn beyond(&self) -> usize {
        self.secrets.iter().map(|secret| secret.expose().len()).max().unwrap_or(0)
    }

    /// Takes what was printed last.
    pub(crate) fn last_words(&self) -> String {
        let words = std::mem::take(&mut *lock(&self.last_words));
        flat(&words).into_owned()
    }
}

impl Budget {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { stats, second: Mutex::new(Second { began: Instant::now(), lines: 0, left_out: 0 }) }
    }

    /// Room for one line, and how many were left out before it; nothing when there is no room.
    fn take(&self) -> Option<u64> {
        let mut second = lock(&self.second);
        let now = Instant::now();
        if now.saturating_duration_since(second.began) >= Duration::from_secs(1) {
            second.began = now;
            second.lines = 0;
        }
        if second.lines >= LOG_LINES {
            second.left_out += 1;
            self.stats.log_lines_left_out.one();
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.left_out))
    }
}

/// Standard output and standard error of a guest: lines for the log.
#[derive(Debug, Clone)]
pub(crate) struct Printed {
    log: Arc<GuestLog>,
    /// The line that has not ended. All streams of the guest share it.
    line: Arc<Mutex<Vec<u8>>>,
}

impl Printed {
    pub(crate) fn new(log: &Arc<GuestLog>) -> Self {
        Self { log: Arc::clone(log), line: Arc::default() }
    }

    fn print(&self, bytes: &[u8]) {
        let mut line = lock(&self.line);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // What a line has beyond its limit is left out, except for the end of a secret.
            let room = LOG_LINE_BYTES.saturating_add(self.log.beyond()).saturating_sub(line.len());
            line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.log.printed(String::from_utf8_lossy(&line).trim_end());
                line.clear();
            }
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LOG_LINE_BYTES)
    }
}

/// A secret, and its lines where it has several, such as a key: whoever prints it prints them one by one.
fn with_lines(secret: &str) -> impl Iterator<Item = &str> {
    let lines = secret.lines().map(str::trim).filter(move |line| line.len() >= LEAST_LINE && *line != secret);
    [secret].into_iter().chain(lines)
}

/// A text as one line of a log or a message, which nothing in it can end.
pub(crate) fn flat(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    Cow::Owned(text.chars().map(plain).collect())
}

/// The beginning of a text, at most so many bytes and whole characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(secrets: &[&str]) -> GuestLog {
        let budget = Arc::new(Budget::new(Arc::default()));
        GuestLog::new("plugin".into(), budget, secrets.iter().map(|secret| Secret::new(*secret)).collect())
    }

    #[test]
    fn no_part_of_a_secret_is_shown_wherever_a_text_is_cut() {
        let log = log(&["hunter2"]);
        let text = format!("{}hunter2 and more", "x".repeat(10));
        for most in 0..40 {
            let shown = log.scrubbed(&text, most);
            assert!(!shown.contains("hu") && shown.len() <= most, "{most}: {shown}");
        }
        assert_eq!(log.scrubbed(&text, 100), "xxxxxxxxxx[redacted] and more");
        assert_eq!(log.scrubbed("ünüsual", 3), "ün");
    }

    #[test]
    fn what_is_shorter_without_its_secrets_is_still_cut_where_it_was_looked_at() {
        let long = "secret".repeat(100);
        let log = log(&[&long]);
        let shown = log.scrubbed(&format!("{long}{long} a {long}"), 1_210).into_owned();
        assert_eq!(shown, "[redacted][redacted] a [redacted]");
    }

    #[test]
    fn secrets_that_overlap_or_hold_each_other_leave_nothing() {
        let log = log(&["abcd", "abcdef", "efgh", "bc"]);
        assert_eq!(log.scrubbed("<abcdefgh>", 100), "<[redacted]>");
        assert_eq!(log.scrubbed("<bc>", 100), "<bc>", "too short to be looked for");
    }

    #[test]
    fn a_key_is_no_more_shown_line_by_line() {
        let log = log(&["-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQ==\n-----END KEY-----\n"]);
        assert_eq!(log.scrubbed("  MIIEvQIBADANBgkqhkiG9w0B", 100), "  [redacted]");
        assert_eq!(log.scrubbed("AQ==", 100), "AQ==");
    }
}
