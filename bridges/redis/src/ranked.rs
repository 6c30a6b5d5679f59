//! Search. Redis has no full text without modules, so words are looked for in every row.

use bridge_core::{BridgeError, Call, RowStream, RowWriter, answer_rows, push_json_f64};
use bridge_reduce::scan::Best;
use bridge_reduce::{Number, Order, Ranker, Value};
use protocol::{Direction, RawObject, SearchMethod, SearchOptions, Tail};

use crate::connect::Pool;
use crate::execute::{Run, Test, open};
use crate::values::{KEY, Key, Record, Renderer, Shape, View};

/// What the best rows so far may take.
const MEMORY: usize = 64 * 1024 * 1024;
/// The rows that hold most of the words, best first; equals by their keys.
pub(crate) async fn search(
    pool: &Pool,
    call: &Call,
    target: &str,
    options: SearchOptions,
) -> Result<RowStream, BridgeError> {
    let opened = open(pool, call, target).await?;
    let mut test = Test::new(&options.filter, None);
    let mut ranking = Ranking {
        ranker: Ranker::new(&options),
        // Keys repeat the target's name and are looked into only where somebody says so.
        looked_into: match &options.fields {
            Some(fields) if fields.iter().any(|field| field == KEY) => Shape::All,
            Some(_) | None => Shape::Fields,
        },
        shape: Shape::new(&options.projection),
        renderer: Renderer::ranked(),
        best: Best::new(
            Order::of_first([Direction::Descending, Direction::Ascending]),
            usize::try_from(options.limit).unwrap_or(usize::MAX),
            MEMORY,
        ),
        text: String::new(),
    };
    let mut run = Run::over(opened, target, &options.filter, call);
    run.each(&mut |record| if test.admits(record)? { ranking.take(record) } else { Ok(()) }).await?;
    drop(run);
    ranking.answer(call)
}

struct Ranking {
    ranker: Ranker,
    looked_into: Shape,
    shape: Shape,
    renderer: Renderer,
    /// By score, then by key.
    best: Best,
    text: String,
}

impl Ranking {
    fn take(&mut self, record: &Record<'_>) -> Result<(), BridgeError> {
        self.text.clear();
        self.text.push('{');
        self.renderer.render(record, &self.looked_into, View::Rows, &mut self.text);
        self.text.push('}');
        let Some(score) = self.ranker.score(&RawObject::from_text(&self.text)?)? else { return Ok(()) };
        let key = match record.key {
            Key::Bytes(key) => key.to_vec(),
            Key::Index(index) => index.to_be_bytes().to_vec(),
        };
        let rank = Number::from_f64(score).map_or(Value::Null, Value::Number);
        let columns = vec![rank, Value::Bytes(key)];
        if !self.best.wants(&columns) {
            return Ok(());
        }
        let mut text = String::new();
        self.renderer.render(record, &self.shape, View::Rows, &mut text);
        text.push_str(if text.is_empty() { "\"_score\":" } else { ",\"_score\":" });
        push_json_f64(&mut text, score);
        text.shrink_to_fit();
        Ok(self.best.take(columns, text)?)
    }

    fn answer(self, call: &Call) -> Result<RowStream, BridgeError> {
        let mut writer = RowWriter::new(call.row_limit);
        let mut batches = Vec::new();
        for row in self.best.into_sorted() {
            writer.begin_row();
            writer.json(&row.text);
            writer.end_row()?;
            if writer.len() >= protocol::CHUNK_BYTES {
                batches.extend(writer.take());
            }
        }
        batches.extend(writer.take());
        let tail = Tail { method: Some(SearchMethod::Containment), ..Tail::default() };
        Ok(answer_rows(batches, tail))
    }
}
