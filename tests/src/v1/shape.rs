//! Which frames version 1 has, and which fields they have.

use serde_json::{Map, Value};

type Verdict = Result<(), String>;

/// The job kinds of version 1.
pub(super) const KINDS: [&str; 10] = [
    "query",
    "read",
    "batchRead",
    "count",
    "listTargets",
    "introspectTarget",
    "search",
    "similar",
    "test",
    "aggregate",
];

/// Whether a frame from a runner is one of version 1.
pub(super) fn of_runner(frame: &Value) -> Verdict {
    let object = frame.as_object().ok_or("not an object")?;
    match kind(object)? {
        "hello" => hello(object),
        "heartbeat" => heartbeat(object),
        "chunk" => chunk(object),
        "done" => done(object),
        "error" => error(object),
        other => Err(format!("version 1 has no frame {other:?} from a runner")),
    }
}

/// Whether a frame from a gateway is one of version 1.
pub(super) fn of_gateway(frame: &Value) -> Verdict {
    let object = frame.as_object().ok_or("not an object")?;
    match kind(object)? {
        "hello-ack" => {
            only(object, &["type", "serverVersion", "assignedSources"])?;
            text(object, "serverVersion")?;
            sources(object)
        }
        "assignments-changed" => {
            only(object, &["type", "assignedSources"])?;
            sources(object)
        }
        "job" => job(object),
        "cancel" => {
            only(object, &["type", "id"])?;
            text(object, "id").map(drop)
        }
        "ping" => only(object, &["type"]),
        other => Err(format!("version 1 has no frame {other:?} from a gateway")),
    }
}

fn hello(object: &Map<String, Value>) -> Verdict {
    // The last four are the offer of extensions.
    let offer = ["extensions", "instanceId", "runningJobs", "maxJobs"];
    only(object, &[&["type", "version", "runnerId", "capabilities", "runtimeVersion"], &offer[..]].concat())?;
    if object.get("version") != Some(&Value::from(1)) {
        return Err("hello.version is not 1".to_owned());
    }
    text(object, "runnerId")?;
    if !object
        .get("capabilities")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().all(Value::is_string))
    {
        return Err("hello.capabilities is not a list of texts".to_owned());
    }
    optional(object, "runtimeVersion", Value::is_string)
}

fn heartbeat(object: &Map<String, Value>) -> Verdict {
    only(object, &["type", "stats"])?;
    let Some(stats) = object.get("stats") else { return Ok(()) };
    let stats = stats.as_object().ok_or("heartbeat.stats is not an object")?;
    only(stats, &["activeJobs", "memoryMb"])?;
    whole(stats, "activeJobs")?;
    optional(stats, "memoryMb", Value::is_u64)
}

fn chunk(object: &Map<String, Value>) -> Verdict {
    // What a search answers beside its rows is open in version 1; `method` is ours.
    only(object, &["type", "id", "rows", "agg", "total", "approximate", "nextCursor", "method"])?;
    text(object, "id")?;
    let rows = list(object, "rows")?;
    if !rows.iter().all(Value::is_object) {
        return Err("a row is not an object".to_owned());
    }
    let full = !rows.is_empty();
    if object.contains_key("agg") {
        if full {
            return Err("a chunk of buckets has rows".to_owned());
        }
        for bucket in list(object, "agg")? {
            let bucket = bucket.as_object().ok_or("a bucket is not an object")?;
            only(bucket, &["dims", "measures", "count", "sketches"])?;
            whole(bucket, "count")?;
            optional(bucket, "dims", Value::is_object)?;
            optional(bucket, "measures", Value::is_object)?;
        }
    }
    tail(object)
}

fn done(object: &Map<String, Value>) -> Verdict {
    only(object, &["type", "id", "meta"])?;
    text(object, "id")?;
    let Some(meta) = object.get("meta") else { return Ok(()) };
    let meta = meta.as_object().ok_or("done.meta is not an object")?;
    only(meta, &["count", "durationMs", "total", "approximate", "nextCursor", "method"])?;
    whole(meta, "count")?;
    whole(meta, "durationMs")?;
    tail(meta)
}

fn tail(object: &Map<String, Value>) -> Verdict {
    optional(object, "total", Value::is_u64)?;
    optional(object, "approximate", Value::is_boolean)?;
    optional(object, "nextCursor", Value::is_string)
}

fn error(object: &Map<String, Value>) -> Verdict {
    // An operator that the bridge cannot do is named in fields of their own.
    let extra: &[&str] = match object.get("code").and_then(Value::as_str) {
        Some("unsupported_operator") => &["op", "target", "bridge"],
        _ => &[],
    };
    only(object, &[&["type", "id", "code", "message"], extra].concat())?;
    for field in ["id", "code", "message"] {
        text(object, field)?;
    }
    Ok(())
}

fn job(object: &Map<String, Value>) -> Verdict {
    only(object, &["type", "id", "params", "deadlineMs"])?;
    text(object, "id")?;
    whole(object, "deadlineMs")?;
    let params = object.get("params").and_then(Value::as_object).ok_or("job.params is not an object")?;
    only(params, &["source", "job"])?;
    text(params, "source")?;
    let inner = params.get("job").and_then(Value::as_object).ok_or("job.params.job is not an object")?;
    only(inner, &["kind", "target", "options"])?;
    let kind = text(inner, "kind")?;
    if !KINDS.contains(&kind) {
        return Err(format!("version 1 has no job kind {kind:?}"));
    }
    text(inner, "target")?;
    let options =
        inner.get("options").and_then(Value::as_object).ok_or("job.params.job.options is not an object")?;
    match kind {
        "query" => only(options, &["where", "orderBy", "limit", "offset", "select", "total"]),
        "count" => only(options, &["where"]),
        _ => Ok(()),
    }
}

fn sources(object: &Map<String, Value>) -> Verdict {
    for source in list(object, "assignedSources")? {
        let source = source.as_object().ok_or("an assigned source is not an object")?;
        only(source, &["id", "name", "bridge", "credentialsLocation", "config"])?;
        for field in ["id", "name", "bridge"] {
            text(source, field)?;
        }
        match text(source, "credentialsLocation")? {
            "managed" => optional(source, "config", Value::is_object)?,
            "runner-local" if !source.contains_key("config") => {}
            other => {
                return Err(format!("credentialsLocation {other:?}, or a config for a runner-local source"));
            }
        }
    }
    Ok(())
}

fn kind(object: &Map<String, Value>) -> Result<&str, String> {
    text(object, "type")
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Verdict {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("version 1 has no field {key:?} here")),
        None => Ok(()),
    }
}

fn text<'o>(object: &'o Map<String, Value>, field: &str) -> Result<&'o str, String> {
    object.get(field).and_then(Value::as_str).ok_or_else(|| format!("{field} is not a text"))
}

fn whole(object: &Map<String, Value>, field: &str) -> Verdict {
    if object.get(field).is_some_and(Value::is_u64) {
        Ok(())
    } else {
        Err(format!("{field} is not a whole number"))
    }
}

fn list<'o>(object: &'o Map<String, Value>, field: &str) -> Result<&'o [Value], String> {
    object
        .get(field)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| format!("{field} is not a list"))
}

fn optional(object: &Map<String, Value>, field: &str, is_right: impl Fn(&Value) -> bool) -> Verdict {
    match object.get(field) {
        Some(value) if !is_right(value) => Err(format!("{field} is {value}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_version_1_does_not_have_is_refused() {
        for frame in [
            json!({"type": "draining", "deadlineMs": 1}),
            json!({"type": "chunk", "id": "1", "rows": [], "seq": 0}),
            json!({"type": "heartbeat", "stats": {"activeJobs": 0, "freeSlots": 3}}),
            json!({"type": "done", "id": "1", "meta": {"count": 1, "durationMs": 1, "rows": 2}}),
            json!({"type": "error", "id": "1", "code": "bad_request", "message": "m", "field": "where"}),
        ] {
            assert!(of_runner(&frame).is_err(), "{frame}");
        }
        let job = |more: Value| {
            let mut job = json!({"type": "job", "id": "1", "deadlineMs": 1, "params":
                {"source": "s", "job": {"kind": "query", "target": "t", "options": {}}}});
            job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            job
        };
        assert_eq!(of_gateway(&job(json!({}))), Ok(()));
        for more in [json!({"credit": 5}), json!({"attempt": 2}), json!({"traceparent": "00"})] {
            assert!(of_gateway(&job(more.clone())).is_err(), "{more}");
        }
        assert!(of_gateway(&json!({"type": "credit", "id": "1", "bytes": 1})).is_err());
        assert!(
            of_gateway(
                &json!({"type": "hello-ack", "serverVersion": "1", "assignedSources": [], "extensions": []})
            )
            .is_err()
        );
    }
}
