//! One job: its limits, and the calls of a bridge that answer it.

mod answer;
mod rows;
mod shell;
mod targets;

use bridge_core::{Bridge, Call};
use protocol::{
    AggregateOptions, BatchReadOptions, Capabilities, CountOptions, Invalid, JobKind, JobRequest,
    QueryOptions, ReadOptions, SearchOptions, SimilarOptions, Tail,
};

pub(crate) use answer::Answer;
pub(crate) use shell::{KIND as SHELL, Lane as ShellLane, ShellJob, weight as shell_weight};

use crate::error::Failure;

/// Runs `request` on an opened source, whose bridge `can` do so much, and sends what it answers. Dropping the future cancels
/// the query at the server.
pub(crate) async fn run(
    bridge: &dyn Bridge,
    can: &Capabilities,
    call: &Call,
    request: &JobRequest,
    answer: &mut Answer,
) -> Result<Tail, Failure> {
    let options = request.options.as_ref();
    match &request.kind {
        // Without the kind its options do not matter: another gateway's may have other names.
        JobKind::Search if !can.search => Err(bridge.unsupported(&request.kind).into()),
        JobKind::Similar if !can.similar => Err(bridge.unsupported(&request.kind).into()),
        JobKind::Query => {
            let options = QueryOptions::parse(options)?;
            rows::send(bridge.query(call, target(request)?, options).await?, answer).await
        }
        JobKind::Read => {
            let options = ReadOptions::parse(options)?;
            rows::send(bridge.read(call, target(request)?, options).await?, answer).await
        }
        JobKind::BatchRead => {
            let options = BatchReadOptions::parse(options)?;
            rows::send(bridge.batch_read(call, target(request)?, options).await?, answer).await
        }
        JobKind::Aggregate => {
            let options = AggregateOptions::parse(options)?;
            rows::send(bridge.aggregate(call, target(request)?, options).await?, answer).await
        }
        JobKind::Count => {
            let options = CountOptions::parse(options)?;
            let counted = bridge.count(call, target(request)?, options).await?;
            let tail =
                Tail { total: Some(counted.total), approximate: counted.approximate, ..Tail::default() };
            answer.end("", 0, &tail).await?;
            Ok(tail)
        }
        JobKind::ListTargets => rows::send(targets::as_rows(bridge.list_targets(call).await?)?, answer).await,
        JobKind::IntrospectTarget => {
            let schema = bridge.introspect_target(call, target(request)?).await?;
            rows::send(targets::schema_row(&schema)?, answer).await
        }
        JobKind::Search => {
            let options = SearchOptions::parse(options)?;
            rows::send(bridge.search(call, target(request)?, options).await?, answer).await
        }
        JobKind::Similar => {
            let options = SimilarOptions::parse(options)?;
            rows::send(bridge.similar(call, target(request)?, options).await?, answer).await
        }
        JobKind::Test => {
            bridge.test(call).await?;
            Ok(Tail::default())
        }
        JobKind::Unknown(_) => Err(bridge.unsupported(&request.kind).into()),
    }
}

fn target(request: &JobRequest) -> Result<&str, Failure> {
    if request.target.is_empty() {
        return Err(Invalid::new("target", "the name of a target").into());
    }
    Ok(&request.target)
}
