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
use crate::owners::Held;
use crate::run::{Run, is_empty};
use crate::sandbox::Core;
use crate::state::RunId;
use crate::{Command, Request, SandboxError, SandboxErrorCode};

/// Waits for one line, which has the bytes of a script as octal numbers, and becomes what the script says. A shell reads
/// no further than the line's end, so that what follows it is the command's own input.
const WAITING: &str = r#"IFS= read -r c && eval "$(printf %b "$c")""#;
/// The longest script. A shell reads it byte by byte.
const SCRIPT: usize = 16 * 1024;
/// Variables that the waiting shell uses itself, or that one of the shells does not take for plain ones: it refuses them,
/// or makes something else of them. Those of bash itself begin with `BASH` besides.
const SHELLS_OWN: [&str; 23] = [
    "_",
    "c",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OPTARG",
    "OPTIND",
    "PIPESTATUS",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
    "POSIXLY_CORRECT",
];
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
    /// A container for this run, if one fits and waits. It is entered as a run by `enter` before it leaves the pool, so
    /// that it is known at every moment.
    pub(crate) fn take(
        &self,
        spec: &Spec,
        request: &Request,
        core: &Arc<Core>,
        enter: impl Fn(&RunId) -> Arc<Live>,
    ) -> Option<(Ready, Arc<Live>)> {
        if !request.run.is_empty() || script(spec).is_none() {
            return None;
        }
        loop {
            let (ready, live) = self.next(spec, &enter)?;
            self.taken.notify_waiters();
            match live {
                Some(live) => return Some((ready, live)),
                None => bury(core, ready),
            }
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
            self.taken.notify_waiters();
        }
        for ready in dead {
            bury(core, ready);
        }
    }

    /// One that fits, entered unless it has died.
    fn next(&self, spec: &Spec, enter: impl Fn(&RunId) -> Arc<Live>) -> Option<(Ready, Option<Arc<Live>>)> {
        let mut waiting = self.lock();
        let ready = waiting.get_mut(&spec.image)?;
        let at = ready.iter().position(|ready| ready.fits(spec))?;
        let mut ready = ready.swap_remove(at);
        let live = ready.is_alive().then(|| enter(&ready.id));
        Some((ready, live))
    }

    /// Whether a container is one that waits.
    pub(crate) fn has(&self, id: &RunId) -> bool {
        self.lock().values().flatten().any(|ready| ready.id == *id)
    }

    fn add(&self, ready: Ready) {
        self.lock().entry(ready.spec.image.clone()).or_default().push(ready);
    }

    fn count(&self, image: &str) -> usize {
        self.lock().get(image).map_or(0, Vec::len)
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

/// Removes a container that no run becomes.
pub(crate) fn bury(core: &Arc<Core>, Ready { id, staged, .. }: Ready) {
    let owner = Arc::clone(core);
    let discard = async move { Run::discard(&owner, id, staged).await };
    drop(core.drain.spawn("dead container", discard));
}

/// Keeps as many containers of one image waiting as are wanted, until the program stops.
pub(crate) async fn keep(core: Arc<Core>, image: String, wanted: usize) {
    let stopping = core.drain.stopping();
    let mut pause = PAUSES.0;
    while !stopping.is_cancelled() {
        // Before the look, so that nothing that is taken after it goes unheard.
        let taken = core.pool.taken.notified();
        if core.pool.count(&image) >= wanted {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = taken => {}
            }
            continue;
        }
        // A stop ends this too, and leaves nothing of what was begun.
        match make(&core, &image).await {
            Ok((ready, claim)) => {
                core.pool.add(ready);
                // Only now: a sweep asks for the claim first and then for what waits.
                claim.remove();
                pause = PAUSES.0;
            }
            Err(error) => {
                tracing::warn!(image, %error, "no container waits for a run");
                drop(tokio::time::timeout(pause, stopping.cancelled()).await);
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
    let left: Vec<Ready> = core.pool.lock().remove(&image).unwrap_or_default();
    futures::future::join_all(left.into_iter().map(|ready| Run::discard(&core, ready.id, ready.staged)))
        .await;
}

/// With the claim that keeps its folder from sweeps while there is no container yet, as during a long pull.
async fn make(core: &Arc<Core>, image: &str) -> Result<(Ready, Held), SandboxError> {
    let request = Request {
        command: Command::Shell(WAITING.to_owned()),
        input: Some(Bytes::new()),
        ..Request::new(image)
    };
    let spec = Spec::of(&request, &core.options)?;
    let kill = core.drain.stopping().child_token();
    let live = Live::new(RunId::new(), core.engine.clone(), kill);
    let taken = || SandboxError::new(SandboxErrorCode::StateFailed, "a new id is held by another");
    let claim = core.owners.take_over(&live.id)?.ok_or_else(taken)?;
    let run = Run::new(core, live, spec.clone(), request, None);
    let (staged, attached) = match run.prepare().await {
        Ok(prepared) => prepared,
        Err(error) => {
            claim.remove();
            return Err(error);
        }
    };
    let is_bare = staged.as_ref().is_some_and(is_empty);
    Ok((Ready { id: run.live.id.clone(), staged, attached, spec, is_bare }, claim))
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
    let variables: Vec<_> = spec.env.iter().filter_map(|variable| variable.split_once('=')).collect();
    if variables.iter().any(|(name, _)| name.starts_with("BASH") || SHELLS_OWN.contains(name)) {
        return None;
    }
    let exports: String =
        variables.into_iter().map(|(name, value)| format!("export {name}={};", quoted(value))).collect();
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
        for name in ["UID", "BASH_ENV", "BASHOPTS", "IFS", "OPTIND", "c"] {
            let mut spec = spec(Command::Shell("true".to_owned()));
            assert!(line(&spec).is_some());
            spec.env.push(format!("{name}=1"));
            assert!(line(&spec).is_none(), "{name}");
        }
    }
}
