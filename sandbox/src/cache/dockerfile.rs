//! The Dockerfile of an image with steps, and the checks that keep an image's name and a step from being more than that.

use std::io;

use bytes::Bytes;
use ring::digest::{SHA256, digest as sha256};
use tar::{Builder, Header};

use crate::{SandboxError, SandboxErrorCode};

/// What cached images, and all layers of their builds, are known by.
pub(super) const LABEL: (&str, &str) = ("light-runner.kind", "cache");
/// The engine reads lines of 64 KiB.
const LONGEST_STEP: usize = 65_000;

/// Whether each step can stand on a line of a Dockerfile of its own.
///
/// # Errors
/// `INVALID_RUN_STEP`.
pub(crate) fn validate(steps: &[String]) -> Result<(), SandboxError> {
    for (at, step) in steps.iter().enumerate() {
        if let Some(why) = flaw(step) {
            let text = format!("run[{at}]: {why}");
            return Err(SandboxError::new(SandboxErrorCode::InvalidRunStep, text));
        }
    }
    Ok(())
}

/// The Dockerfile, whose parts are checked first. The label comes first of all, so that a build that fails leaves no layer
/// without it.
pub(super) fn of(image: &str, steps: &[String]) -> Result<String, SandboxError> {
    check_image(image)?;
    validate(steps)?;
    let mut text = format!("FROM {image}\nLABEL {}={}\n", LABEL.0, LABEL.1);
    for step in steps {
        text.push_str("RUN ");
        text.push_str(step);
        text.push('\n');
    }
    Ok(text)
}

/// SHA-256 in hex of the compact JSON `[image, [step, ..]]`.
pub(super) fn digest(image: &str, steps: &[String]) -> String {
    let canonical = serde_json::json!([image, steps]).to_string();
    sha256(&SHA256, canonical.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The archive that the build reads: the Dockerfile alone.
pub(super) fn context(dockerfile: &str) -> io::Result<Bytes> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(u64::try_from(dockerfile.len()).map_err(io::Error::other)?);
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header, "Dockerfile", dockerfile.as_bytes())?;
    archive.into_inner().map(Bytes::from)
}

fn flaw(step: &str) -> Option<&'static str> {
    let trimmed = step.trim();
    if trimmed.is_empty() {
        Some("it is empty")
    } else if step.contains(['\n', '\r', '\0']) {
        Some("it has a line break or a NUL")
    } else if trimmed.ends_with('\\') {
        Some("it ends with a backslash, which would join the next line")
    } else if trimmed.starts_with("--") {
        Some("it begins with --, which would be an option of the build")
    } else if step.len() > LONGEST_STEP {
        Some("it is longer than a line of a Dockerfile")
    } else {
        None
    }
}

/// The characters that the name of an image has. A `$` or a space would be read as something else.
fn check_image(image: &str) -> Result<(), SandboxError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let begins = image.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && image.bytes().all(fits) {
        Ok(())
    } else {
        Err(SandboxError::invalid("image", format!("the name of an image, not {image:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    #[test]
    fn each_step_is_a_line_behind_the_base_and_the_label() {
        let text = of("alpine:3.19", &steps(&["apk add git", "echo \"a # b\" > /etc/x"])).unwrap();
        let expected =
            "FROM alpine:3.19\nLABEL light-runner.kind=cache\nRUN apk add git\nRUN echo \"a # b\" > /etc/x\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn steps_that_are_more_or_less_than_a_line_are_refused() {
        let long = "x".repeat(65_001);
        for step in [
            "",
            "  ",
            "a\nUSER root",
            "a\rb",
            "a\0b",
            "a \\",
            "a \\ ",
            "--mount=type=bind x",
            " --network=host x",
            &long,
        ] {
            let error = validate(&steps(&["true", step])).unwrap_err();
            assert_eq!(error.code(), SandboxErrorCode::InvalidRunStep, "{step:?}");
            assert!(error.message().starts_with("run[1]: "));
        }
        validate(&steps(&["a \\ b", "- -", "# nothing", "[\"true\"]"])).unwrap();
    }

    #[test]
    fn an_image_is_a_name_and_nothing_else() {
        for image in ["alpine", "alpine:3.19", "registry:5000/a/b@sha256:00", "A/b_c.d-e"] {
            of(image, &steps(&["true"])).unwrap();
        }
        for image in ["", "a b", "a\nRUN x", "--platform=x a", "$BASE", "a#b", ".a"] {
            assert_eq!(
                of(image, &steps(&["true"])).unwrap_err().code(),
                SandboxErrorCode::InvalidRequest,
                "{image}"
            );
        }
    }

    #[test]
    fn the_digest_is_of_compact_json_and_differs_with_every_part() {
        // printf '["alpine:3.19",["echo 1","echo 2"]]' | sha256sum
        let first = digest("alpine:3.19", &steps(&["echo 1", "echo 2"]));
        assert_eq!(first, "dfb8fb3e3935439624b8121f37ad7ef91632fc12244e78d6ead3b0958d57b59b");
        for (image, other) in [
            ("alpine:3.18", steps(&["echo 1", "echo 2"])),
            ("alpine:3.19", steps(&["echo 2", "echo 1"])),
            ("alpine:3.19", steps(&["echo 1\",\"echo 2"])),
        ] {
            assert_ne!(digest(image, &other), first);
        }
    }

    #[test]
    fn the_context_is_one_file() {
        let context = context("FROM a\n").unwrap();
        let mut archive = tar::Archive::new(context.as_ref());
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [std::path::PathBuf::from("Dockerfile")]);
    }
}
