//! Images with the steps of `run` baked in: built once for each base image and list of steps, removed when they were not
//! used for long.
//!
//! An image's tag is the digest of what it is made of, so that finding it is asking for a tag. The base is taken by the
//! text that names it: a tag that moves to another image does not make a new one.

mod dockerfile;
mod usage;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::{BuildInfo, ImageSummary};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures::{Stream, StreamExt as _};

use self::dockerfile::LABEL;
use self::usage::Usage;
use crate::engine::{failed, is_unreachable, message, status};
use crate::{SandboxError, SandboxErrorCode};

pub(crate) use dockerfile::validate;

/// The name of all cached images; the digest is the tag.
const REPOSITORY: &str = "light-runner-cache";
/// A build is the operator's, and may install much: until it ends, whether it talks or not.
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
/// Layers of a build that is under way are images without a name too.
const BUILDING: Duration = BUILD_TIMEOUT;
/// What is told of the output of a build that failed.
const TOLD: usize = 4 << 10;

/// The cached images of one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    usage: Usage,
    builds: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Cache {
    /// With the times of last use in this folder.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { usage: Usage::new(state_dir), builds: Mutex::default() }
    }

    /// The image that has `steps` on top of `image`, which is `image` itself without any. Builds it where the engine does
    /// not have it; who asks for what is being built waits for that build.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for an image that cannot stand in a Dockerfile, `INVALID_RUN_STEP`, and `BUILD_FAILED` with the
    /// last output of the step that failed.
    pub(crate) async fn image_for(
        &self,
        docker: &Docker,
        image: &str,
        steps: &[String],
    ) -> Result<String, SandboxError> {
        if steps.is_empty() {
            return Ok(image.to_owned());
        }
        let dockerfile = dockerfile::of(image, steps)?;
        let tag = format!("{REPOSITORY}:{}", dockerfile::digest(image, steps));
        // Before it is looked for, so that a sweep does not take it away between the look and its use.
        self.usage.touch(&tag).await;
        if !is_there(docker, &tag).await? {
            self.build_once(docker, &tag, &dockerfile).await?;
        }
        Ok(tag)
    }

    /// Removes images that were not used for `age`. Those of a container stay. Answers how many.
    ///
    /// # Errors
    /// `ENGINE_FAILED`.
    pub(crate) async fn cleanup(&self, docker: &Docker, age: Duration) -> Result<u64, SandboxError> {
        let used = self.usage.all().await;
        let mut removed = 0;
        let mut kept = Vec::new();
        for image in ours(docker, &[]).await? {
            for tag in image.repo_tags.iter().filter(|tag| is_cached(tag)) {
                let last = used.get(tag).copied().unwrap_or_else(|| milliseconds(image.created));
                if is_older(last, age) && remove(docker, tag).await? {
                    removed += 1;
                } else {
                    kept.push(tag.clone());
                }
            }
        }
        self.usage.keep(kept, age).await;
        Ok(removed)
    }

    /// Removes the layers that failed builds have left, an hour after.
    ///
    /// # Errors
    /// `ENGINE_FAILED`.
    pub(crate) async fn remove_dangling(&self, docker: &Docker) -> Result<u64, SandboxError> {
        let mut removed = 0;
        for image in ours(docker, &[("dangling", "true")]).await? {
            if is_older(milliseconds(image.created), BUILDING) {
                removed += u64::from(remove(docker, &image.id).await?);
            }
        }
        Ok(removed)
    }

    async fn build_once(&self, docker: &Docker, tag: &str, dockerfile: &str) -> Result<(), SandboxError> {
        let turn = self.turn(tag);
        let _one_at_a_time = turn.lock().await;
        if is_there(docker, tag).await? { Ok(()) } else { build(docker, tag, dockerfile).await }
    }

    fn turn(&self, tag: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds.retain(|_tag, turn| Arc::strong_count(turn) > 1);
        Arc::clone(builds.entry(tag.to_owned()).or_default())
    }
}

async fn build(docker: &Docker, tag: &str, dockerfile: &str) -> Result<(), SandboxError> {
    let context = dockerfile::context(dockerfile).map_err(|error| broken(&error.to_string(), ""))?;
    let options = BuildImageOptionsBuilder::new().t(tag).rm(true).forcerm(true).build();
    let docker = docker.clone().with_timeout(BUILD_TIMEOUT);
    let output = docker.build_image(options, None, Some(bollard::body_full(context)));
    in_time(read_to_end(output)).await?;
    // An engine that ends its output without a word has not always built anything.
    if is_there(&docker, tag).await? {
        Ok(())
    } else {
        Err(broken("the engine ended it without an image", ""))
    }
}

async fn in_time(build: impl Future<Output = Result<(), SandboxError>>) -> Result<(), SandboxError> {
    tokio::time::timeout(BUILD_TIMEOUT, build).await.unwrap_or_else(|_| {
        Err(broken(&format!("it has not ended within {} s", BUILD_TIMEOUT.as_secs()), ""))
    })
}

/// The answer's head says that all is well whatever becomes of the build: a failure is in its body.
async fn read_to_end(
    output: impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>,
) -> Result<(), SandboxError> {
    let mut output = std::pin::pin!(output);
    let mut last = String::new();
    while let Some(info) = output.next().await {
        match info {
            Ok(BuildInfo { error_detail: Some(detail), .. }) => {
                return Err(broken(&detail.message.unwrap_or_default(), &last));
            }
            Ok(info) => keep_last(&mut last, &info.stream.unwrap_or_default()),
            Err(error) if is_unreachable(&error) => {
                return Err(failed(SandboxErrorCode::BuildFailed, "build", error));
            }
            Err(error) => return Err(broken(&message(&error), &last).because(error)),
        }
    }
    Ok(())
}

/// Adds to what is kept of an output, and forgets its beginning: at a line where it has any.
fn keep_last(kept: &mut String, more: &str) {
    kept.push_str(more);
    let excess = kept.len().saturating_sub(TOLD);
    if excess > 0 {
        let cut = kept.ceil_char_boundary(excess);
        kept.drain(..cut);
    }
}

fn broken(error: &str, output: &str) -> SandboxError {
    // The engine's builder colours what a step writes to its standard error.
    let output = output.replace("\u{1b}[91m", "").replace("\u{1b}[0m", "");
    let output = output.trim();
    let text = if output.is_empty() { error.to_owned() } else { format!("{error}\n{output}") };
    SandboxError::new(SandboxErrorCode::BuildFailed, text).during("build")
}

async fn is_there(docker: &Docker, tag: &str) -> Result<bool, SandboxError> {
    match docker.inspect_image(tag).await {
        Ok(_) => Ok(true),
        Err(error) if status(&error) == Some(404) => Ok(false),
        Err(error) => Err(failed(SandboxErrorCode::BuildFailed, "inspectImage", error)),
    }
}

/// Images with our label, which the layers of a build have from its first step on.
async fn ours(docker: &Docker, more: &[(&str, &str)]) -> Result<Vec<ImageSummary>, SandboxError> {
    let label = format!("{}={}", LABEL.0, LABEL.1);
    let mut filters = HashMap::from([("label", vec![label.as_str()])]);
    filters.extend(more.iter().map(|(key, value)| (*key, vec![*value])));
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = docker.list_images(Some(options)).await;
    images.map_err(|error| failed(SandboxErrorCode::EngineFailed, "listImages", error))
}

/// False where the image is in use, or gone already.
async fn remove(docker: &Docker, image: &str) -> Result<bool, SandboxError> {
    let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
    match docker.remove_image(image, Some(options), None).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(false),
        Err(error) => Err(failed(SandboxErrorCode::EngineFailed, "removeImage", error)),
    }
}

fn is_cached(tag: &str) -> bool {
    tag.strip_prefix(REPOSITORY).is_some_and(|rest| rest.starts_with(':'))
}

fn milliseconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn is_older(last: u64, age: Duration) -> bool {
    u128::from(now().saturating_sub(last)) >= age.as_millis()
}

#[cfg(test)]
mod tests {
    use bollard::errors::Error as EngineError;
    use bollard::models::ErrorDetail;
    use futures::stream;

    use super::*;

    fn line(text: &str) -> Result<BuildInfo, EngineError> {
        Ok(BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() })
    }

    #[tokio::test]
    async fn a_build_that_fails_tells_the_error_and_the_last_output() {
        let failure = EngineError::DockerStreamError { error: "returned a non-zero code: 3".to_owned() };
        let output =
            stream::iter([line("Step 1/2\n"), line("\u{1b}[91mno such package\n\u{1b}[0m"), Err(failure)]);
        let error = read_to_end(output).await.unwrap_err();
        assert_eq!((error.code(), error.docker_op()), (SandboxErrorCode::BuildFailed, Some("build")));
        assert_eq!(error.message(), "returned a non-zero code: 3\nStep 1/2\nno such package");
        let detail = ErrorDetail { message: Some("pull access denied".to_owned()), code: None };
        let output = [Ok(BuildInfo { error_detail: Some(detail), ..BuildInfo::default() })];
        assert_eq!(read_to_end(stream::iter(output)).await.unwrap_err().message(), "pull access denied");
    }

    #[tokio::test]
    async fn a_build_that_only_talks_succeeds_and_a_lost_engine_is_told_as_such() {
        read_to_end(stream::iter([line("Step 1/1\n"), line("Successfully built\n")])).await.unwrap();
        let lost = stream::iter([line("Step 1/1\n"), Err(EngineError::RequestTimeoutError)]);
        assert_eq!(read_to_end(lost).await.unwrap_err().code(), SandboxErrorCode::DockerUnreachable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_that_never_ends_is_given_up() {
        let silent = stream::iter([line("Step 1/1\n")]).chain(stream::pending());
        let begun = tokio::time::Instant::now();
        let error = in_time(read_to_end(silent)).await.unwrap_err();
        assert_eq!((error.code(), begun.elapsed()), (SandboxErrorCode::BuildFailed, BUILD_TIMEOUT));
    }

    #[test]
    fn of_a_long_output_the_end_is_kept_whole_characters_only() {
        let mut kept = String::new();
        for _ in 0..1000 {
            keep_last(&mut kept, "ümläut\n");
        }
        assert!(kept.len() <= TOLD && kept.ends_with("ümläut\n"));
    }

    #[test]
    fn only_tags_of_ours_are_cached_images() {
        assert!(is_cached("light-runner-cache:0a"));
        assert!(!is_cached("light-runner-cache-of-mine:1"));
        assert!(!is_cached("alpine:3.19"));
    }

    #[test]
    fn who_builds_the_same_takes_turns_and_nothing_is_kept_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let first = cache.turn("a");
        assert!(Arc::ptr_eq(&first, &cache.turn("a")));
        assert!(!Arc::ptr_eq(&first, &cache.turn("b")));
        drop(first);
        cache.turn("c");
        assert_eq!(cache.builds.lock().unwrap().len(), 1);
    }
}
