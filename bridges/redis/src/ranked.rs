//! Search. Redis has no full text without modules, so words are looked for in every row.

use bridge_core::{BridgeError, Call, RowStream, RowWriter, answer_rows, push_json_f64};
use bridge_reduce::Ranker;
use protocol::{RawObject, SearchMethod, SearchOptions, Tail};

use crate::connect::Pool;
use crate::execute::{Run, Test, open};
use crate::values::{KEY, Key, Record, Renderer, Shape, View};

/// What the best rows so far may take.
const MEMORY: usize = 64 * 1024 * 1024;
/// What a row takes beside its text and its key.
const ENTRY: usize = 96;

/// A row that may be among the best.
struct Found {
    score: f64,
    key: Vec<u8>,
    text: String,
}

impl Found {
    fn size(&self) -> usize {
        ENTRY + self.text.len() + self.key.len()
    }
}

/// The rows that hold most of the words, best first; equals by their keys.
pub(crate) async fn search(
    pool: &Pool,
    call: &Call,
    target: &str,
    options: SearchOptions,
) -> Result<RowStream, BridgeError> {
    let opened = open(pool, call, target).await?;
    let mut test = Test::new(&options.filter, None);
    let mut best = Best {
        ranker: Ranker::new(&options),
        // Keys repeat the target's name and are looked into only where somebody says so.
        looked_into: match &options.fields {
            Some(fields) if fields.iter().any(|field| field == KEY) => Shape::All,
            Some(_) | None => Shape::Fields,
        },
        shape: Shape::new(&options.projection),
        renderer: Renderer::ranked(),
        keep: usize::try_from(options.limit).unwrap_or(usize::MAX),
        found: Vec::new(),
        used: 0,
        text: String::new(),
    };
    let mut run = Run::over(opened, target, &options.filter, call);
    run.each(&mut |record| if test.admits(record)? { best.take(record) } else { Ok(()) }).await?;
    drop(run);
    best.answer(call)
}

struct Best {
    ranker: Ranker,
    looked_into: Shape,
    shape: Shape,
    renderer: Renderer,
    keep: usize,
    found: Vec<Found>,
    used: usize,
    text: String,
}

impl Best {
    fn take(&mut self, record: &Record<'_>) -> Result<(), BridgeError> {
        self.text.clear();
        self.text.push('{');
        self.renderer.render(record, &self.looked_into, View::Rows, &mut self.text);
        self.text.push('}');
        let Some(score) = self.ranker.score(&RawObject::from_text(&self.text)?)? else { return Ok(()) };
        let mut text = String::new();
        self.renderer.render(record, &self.shape, View::Rows, &mut text);
        let key = match record.key {
            Key::Bytes(key) => key.to_vec(),
            Key::Index(index) => index.to_be_bytes().to_vec(),
        };
        text.shrink_to_fit();
        let found = Found { score, key, text };
        self.used += found.size();
        self.found.push(found);
        if self.found.len() / 2 >= self.keep.max(1) || self.used > MEMORY {
            self.sort_out();
        }
        if self.used > MEMORY {
            let limit = MEMORY / (1024 * 1024);
            return Err(BridgeError::query(format!(
                "the rows found take more than {limit} MiB: ask for fewer with limit or select"
            )));
        }
        Ok(())
    }

    fn sort_out(&mut self) {
        self.found
            .sort_by(|left, right| right.score.total_cmp(&left.score).then_with(|| left.key.cmp(&right.key)));
        self.found.truncate(self.keep);
        self.used = self.found.iter().map(Found::size).sum();
    }

    fn answer(mut self, call: &Call) -> Result<RowStream, BridgeError> {
        self.sort_out();
        let mut writer = RowWriter::new(call.row_limit);
        let mut batches = Vec::new();
        for mut found in self.found {
            found.text.push_str(if found.text.is_empty() { "\"_score\":" } else { ",\"_score\":" });
            push_json_f64(&mut found.text, found.score);
            writer.begin_row();
            writer.json(&found.text);
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
