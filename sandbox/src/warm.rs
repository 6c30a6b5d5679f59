//! Containers that were started before anybody asked, each for one run.
//!
//! Such a container is made like that of any run and has the same walls. Its process is a shell that waits for one line: what
//! to become. A run that wants nothing but the defaults takes one, with its id, tells it its command, and from then on is a
//! run like any other: the process becomes the command by `exec`, its end is the container's end, and the container is
//! removed. None is ever used twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::container::AttachContainerResults;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;

use crate::create::Spec;
use crate::execution::Live;
use crate::files::Staged;
use crate::run::{Run, is_empty};
use crate::sandbox::Core;
use crate::state::RunId;
use crate::{Command, Request, SandboxError};

/// Waits for one line, which has the bytes of a script as octal numbers, and becomes what the script says. A shell reads
/// no further than the line's end, so that what follows it is the command's own input.
const WAITING: &str = r#"IFS= read -r c && eval "$(printf %b "$c")""#;
/// The longest script. A shell reads it byte by byte.
const SCRIPT: usize = 16 * 1024;
/// Pauses after a container could not be made: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Containers that wait, by image.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: Mutex<HashMap<String, Vec<Ready>>>,
    taken: Notify,
}

/// One that waits.
pub(crate) struct Ready {
    pub(crate) id: RunId,
    pub(crate) staged: Option<Staged>,
    pub(crate) attached: AttachContainerResults,
    /// What it was made for.
    spec: Spec,
    /// The image has nothing where the workdir is, so that a seed would hide nothing.
    is_bare: bool,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Pool {
    /// A container for this run, if one fits and waits.
    pub(crate) fn take(&self, spec: &Spec, request: &Request, core: &Arc<Core>) -> Option<Ready> {
        if !request.run.is_empty() || script(spec).is_none() {
            return None;
        }
        loop {
            let mut ready = self.next(spec)?;
            self.taken.notify_one();
            if ready.is_alive() {
                return Some(ready);
            }
            bury(core, ready);
        }
    }

    /// Removes what has died while it waited, as all does when the engine is started again.
    pub(crate) fn bury_dead(&self, core: &Arc<Core>) {
        let is_dead = |ready: &mut Ready| !ready.is_alive();
        let dead: Vec<Ready> = self
            .lock()
            .values_mut()
            .flat_map(|ready| ready.extract_if(.., is_dead).collect::<Vec<_>>())
            .collect();
        if !dead.is_empty() {
            self.taken.notify_one();
        }
        for ready in dead {
            bury(core, ready);
        }
    }

    fn next(&self, spec: &Spec) -> Option<Ready> {
        let mut waiting = self.lock();
        let ready = waiting.get_mut(&spec.image)?;
        let at = ready.iter().position(|ready| ready.fits(spec))?;
        Some(ready.swap_remove(at))
    }

    /// Whether a container is one that waits.
    pub(crate) fn has(&self, id: &RunId) -> bool {
        self.lock().values().flatten().any(|ready| ready.id == *id)
    }

    fn add(&self, ready: Ready) {
        self.lock().entry(ready.spec.image.clone()).or_default().push(ready);
    }

    fn missing(&self, wanted: &[(String, usize)]) -> Option<String> {
        let waiting = self.lock();
        let has = |image: &String| waiting.get(image).map_or(0, Vec::len);
        wanted.iter().find(|(image, count)| has(image) < *count).map(|(image, _)| image.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Ready>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ready {
    /// Whether a run is like the one that it was made for, but for what a line can tell it.
    fn fits(&self, spec: &Spec) -> bool {
        let told = Spec {
            command: spec.command.clone(),
            env: spec.env.clone(),
            timeout: spec.timeout,
            seeded: spec.seeded,
            stdin: spec.stdin,
            ..self.spec.clone()
        };
        told == *spec && (!spec.seeded || self.is_bare)
    }

    /// The engine closes the stream of what does not run any more.
    fn is_alive(&mut self) -> bool {
        self.attached.output.next().now_or_never().is_none()
    }
}

fn bury(core: &Arc<Core>, Ready { id, staged, .. }: Ready) {
    let owner = Arc::clone(core);
    let discard = async move { Run::discard(&owner, id, staged).await };
    drop(core.drain.spawn("dead container", discard));
}

/// Keeps as many containers waiting as are wanted, until the program stops.
pub(crate) async fn keep(core: Arc<Core>) {
    let stopping = core.drain.stopping();
    let mut pause = PAUSES.0;
    while !stopping.is_cancelled() {
        let Some(image) = core.pool.missing(&core.options.warm) else {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = core.pool.taken.notified() => {}
            }
            continue;
        };
        // A stop ends this too, and leaves nothing of what was begun.
        match make(&core, &image).await {
            Ok(ready) => {
                core.pool.add(ready);
                pause = PAUSES.0;
            }
            Err(error) => {
                tracing::warn!(image, %error, "no container waits for a run");
                drop(tokio::time::timeout(pause, stopping.cancelled()).await);
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
    let left: Vec<Ready> = core.pool.lock().drain().flat_map(|(_, ready)| ready).collect();
    futures::future::join_all(left.into_iter().map(|ready| Run::discard(&core, ready.id, ready.staged)))
        .await;
}

async fn make(core: &Arc<Core>, image: &str) -> Result<Ready, SandboxError> {
    let request = Request {
        command: Command::Shell(WAITING.to_owned()),
        input: Some(Bytes::new()),
        ..Request::new(image)
    };
    let spec = Spec::of(&request, &core.options)?;
    let kill = core.drain.stopping().child_token();
    let live = Live::new(RunId::new(), core.engine.clone(), kill);
    let run = Run { core: Arc::clone(core), live, spec: spec.clone(), request, ready: Mutex::default() };
    let (staged, attached) = run.prepare().await?;
    let is_bare = staged.as_ref().is_some_and(is_empty);
    Ok(Ready { id: run.live.id.clone(), staged, attached, spec, is_bare })
}

/// The line that tells a waiting shell what to become. None for what a line cannot tell.
pub(crate) fn line(spec: &Spec) -> Option<Bytes> {
    let octal: String = script(spec)?.bytes().map(|byte| format!("\\0{byte:03o}")).collect();
    Some(Bytes::from(octal + "\n"))
}

fn script(spec: &Spec) -> Option<String> {
    let words = match &spec.command {
        Command::Image => return None,
        Command::Shell(line) => vec!["sh", "-c", line],
        Command::Argv(words) => words.iter().map(String::as_str).collect(),
    };
    // To `exec` it would be an option.
    if words.first().is_none_or(|program| program.starts_with('-')) {
        return None;
    }
    let exports = spec.env.iter().filter_map(|variable| variable.split_once('='));
    let exports: String = exports.map(|(name, value)| format!("export {name}={};", quoted(value))).collect();
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    let script = format!("{exports}exec {}", words.join(" "));
    (script.len() <= SCRIPT).then_some(script)
}

/// One word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The input of a run behind the line that tells what it is.
pub(crate) fn told(line: &Bytes, input: Option<&Bytes>) -> Bytes {
    match input {
        Some(input) => [line.as_ref(), input.as_ref()].concat().into(),
        None => line.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn spec(command: Command) -> Spec {
        let env = [("A".to_owned(), "it's; $(x)\n".to_owned())].into();
        let request = Request { command, env, ..Request::new("a") };
        Spec::of(&request, &Options::new("/state")).unwrap()
    }

    #[test]
    fn a_script_is_words_in_quotes() {
        let words = ["echo", "a'b", "$HOME"].map(str::to_owned).to_vec();
        let script = script(&spec(Command::Argv(words))).unwrap();
        assert_eq!(script, "export A='it'\\''s; $(x)\n';export HOME='/tmp';exec 'echo' 'a'\\''b' '$HOME'");
    }

    #[test]
    fn a_line_has_no_byte_that_could_end_it_early() {
        let line = line(&spec(Command::Shell("a\nb".to_owned()))).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line.iter().all(|byte| matches!(byte, b'\\' | b'0'..=b'7' | b'\n')));
    }

    #[test]
    fn what_a_line_cannot_tell_is_left_to_a_container_of_its_own() {
        assert!(line(&spec(Command::Image)).is_none());
        assert!(line(&spec(Command::Argv(vec!["-x".to_owned()]))).is_none());
        assert!(line(&spec(Command::Shell("x".repeat(SCRIPT)))).is_none());
    }
}
