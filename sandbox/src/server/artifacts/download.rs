//! A file as an answer: whole or a range of it (RFC 9110, sections 13 and 14), under its own name (RFC 6266).

use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::server::disk;

/// What is read at a time, and so what one download holds.
const PIECE: u64 = 64 * 1024;
/// What RFC 5987 lets stand in a parameter as it is.
const NOT_ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// What is asked of a file, seen from its size and tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// From the first to the last byte, both included.
    Range(u64, u64),
    /// The caller has it.
    NotModified,
    /// A range that there is nothing of.
    Unsatisfiable,
}

/// Answers with a file called `name`.
pub(crate) fn answer(mut file: File, name: &str, asked: &HeaderMap) -> std::io::Result<Response> {
    let found = file.metadata()?;
    let (size, tag) = (found.len(), tag(&found));
    let (status, start, length) = match wanted(asked, size, &tag) {
        Wanted::All => (StatusCode::OK, 0, size),
        Wanted::Range(first, last) => {
            (StatusCode::PARTIAL_CONTENT, first, last.saturating_sub(first).saturating_add(1))
        }
        Wanted::NotModified => return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response()),
        Wanted::Unsatisfiable => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    file.seek(SeekFrom::Start(start))?;
    let mut response = (status, Body::from_stream(pieces(file, length))).into_response();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
    set(header::CONTENT_LENGTH, length.to_string());
    set(header::CONTENT_DISPOSITION, disposition(name));
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::ETAG, tag);
    // What a stranger's code has written must not be taken for a page.
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    if status == StatusCode::PARTIAL_CONTENT {
        let last = start.saturating_add(length).saturating_sub(1);
        set(header::CONTENT_RANGE, format!("bytes {start}-{last}/{size}"));
    }
    Ok(response)
}

/// Names one content: artifacts are never changed, so size, time and number tell any two apart.
fn tag(found: &Metadata) -> String {
    format!("\"{:x}-{:x}-{:x}-{:x}\"", found.len(), found.ino(), found.mtime(), found.mtime_nsec())
}

fn wanted(asked: &HeaderMap, size: u64, tag: &str) -> Wanted {
    let of = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if of(header::IF_NONE_MATCH).is_some_and(|tags| matches_any(tags, tag)) {
        return Wanted::NotModified;
    }
    // A range of something else would be put together with what the caller has of it.
    let same = of(header::IF_RANGE).is_none_or(|had| had == tag);
    match of(header::RANGE).filter(|_| same) {
        None => Wanted::All,
        Some(range) => range_of(range, size),
    }
}

fn matches_any(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// One range of bytes. Several, or what is no range, are answered with the whole, as the standard allows.
fn range_of(text: &str, size: u64) -> Wanted {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    let ends = text.strip_prefix("bytes=").map(str::trim).and_then(|range| range.split_once('-'));
    let Some((first, last)) = ends else { return Wanted::All };
    match (number(first), number(last)) {
        (Some(None), Some(Some(0))) if first.is_empty() => Wanted::Unsatisfiable,
        (Some(None), Some(Some(count))) if first.is_empty() => match size.checked_sub(1) {
            None => Wanted::Unsatisfiable,
            Some(end) => Wanted::Range(size.saturating_sub(count), end),
        },
        (Some(Some(first)), Some(last_number)) if last_number.is_some() || last.is_empty() => {
            let last = last_number.unwrap_or(u64::MAX);
            match size.checked_sub(1) {
                Some(end) if first <= end && first <= last => Wanted::Range(first, last.min(end)),
                _ if first > last => Wanted::All,
                _ => Wanted::Unsatisfiable,
            }
        }
        _ => Wanted::All,
    }
}

/// `attachment` with the name, twice where ASCII cannot hold it.
fn disposition(name: &str) -> String {
    let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%');
    if name.chars().all(is_plain) {
        return format!("attachment; filename=\"{name}\"");
    }
    let fallback: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!(
        "attachment; filename=\"{fallback}\"; filename*=UTF-8''{}",
        utf8_percent_encode(name, NOT_ATTRIBUTE)
    )
}

/// The next `length` bytes of a file, piece by piece as they are taken.
fn pieces(file: File, length: u64) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    futures::stream::try_unfold((file, length), async |(file, left)| {
        if left == 0 {
            return Ok(None);
        }
        let (file, read) = disk::blocking(move || read(file, left.min(PIECE))).await?;
        let piece = read?;
        let left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(Some((piece, (file, left))))
    })
}

/// Up to so many bytes; a file that has become shorter is an error, since its length has been told.
fn read(mut file: File, most: u64) -> (File, std::io::Result<Bytes>) {
    let mut piece = Vec::new();
    let read = file.by_ref().take(most).read_to_end(&mut piece).and_then(|count| match count {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(Bytes::from(piece)),
    });
    (file, read)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    async fn get(content: &[u8], asked: &[(HeaderName, &str)]) -> (u16, HeaderMap, Vec<u8>) {
        let headers = asked.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let (head, body) = answer(file(content), "a.bin", &headers).unwrap().into_parts();
        (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_file_comes_whole_with_its_name_and_tag() {
        let content = vec![7; 200_000];
        let (status, headers, body) = get(&content, &[]).await;
        assert_eq!((status, body), (200, content));
        assert_eq!(headers["content-length"], "200000");
        assert_eq!(headers["content-disposition"], "attachment; filename=\"a.bin\"");
        assert_eq!(
            (&headers["accept-ranges"], &headers["x-content-type-options"]),
            (&"bytes".parse().unwrap(), &"nosniff".parse().unwrap())
        );
        assert!(headers["etag"].to_str().unwrap().starts_with('"'));
    }

    #[tokio::test]
    async fn one_range_is_served_as_such() {
        for (range, status, told, expected) in [
            ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
            ("bytes=4-", 206, "bytes 4-9/10", "456789"),
            ("bytes=-2", 206, "bytes 8-9/10", "89"),
            ("bytes=-20", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=9-99", 206, "bytes 9-9/10", "9"),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=-0", 416, "bytes */10", ""),
            ("bytes=0-1,4-5", 200, "", "0123456789"),
            ("bytes=3-1", 200, "", "0123456789"),
            ("bytes=+1-2", 200, "", "0123456789"),
            ("lines=0-3", 200, "", "0123456789"),
        ] {
            let (got, headers, body) = get(b"0123456789", &[(header::RANGE, range)]).await;
            assert_eq!((got, String::from_utf8(body).unwrap().as_str()), (status, expected), "{range}");
            let content_range = headers.get("content-range").map_or("", |value| value.to_str().unwrap());
            assert_eq!(content_range, told, "{range}");
        }
        assert_eq!(get(b"", &[(header::RANGE, "bytes=0-")]).await.0, 416);
        assert_eq!(get(b"", &[]).await.0, 200);
    }

    #[test]
    fn a_known_tag_is_not_sent_again_and_another_one_gets_the_whole() {
        let ask = |asked: &[(HeaderName, &str)]| {
            let headers = asked.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            wanted(&headers, 10, "\"t\"")
        };
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"a\", W/\"t\"")]), Wanted::NotModified);
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "*")]), Wanted::NotModified);
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"a\"")]), Wanted::All);
        let range = (header::RANGE, "bytes=1-2");
        assert_eq!(ask(&[range.clone(), (header::IF_RANGE, "\"t\"")]), Wanted::Range(1, 2));
        assert_eq!(ask(&[range.clone(), (header::IF_RANGE, "\"a\"")]), Wanted::All);
        assert_eq!(ask(&[range, (header::IF_RANGE, "Sat, 01 Jan 2000 00:00:00 GMT")]), Wanted::All);
    }

    #[test]
    fn any_name_can_be_told() {
        assert_eq!(disposition("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(
            disposition("a\"\\.txt"),
            "attachment; filename=\"a__.txt\"; filename*=UTF-8''a%22%5C.txt"
        );
        assert_eq!(
            disposition("größe.txt"),
            "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt"
        );
        assert_eq!(
            disposition("a\r\nX: y"),
            "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"
        );
    }
}
