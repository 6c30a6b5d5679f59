//! Documents on their way: one request where one is enough, else a place at the server and request after request.
//!
//! Requests are as large as answers of about four megabytes allow, which is learned from the answers before.

use std::collections::VecDeque;
use std::rc::Rc;

use semilayer_plugin::{Batch, Column, Cursor, Error, ErrorCode, JsonRows, Room, Rows, Tail, is_cancelled};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use crate::connect::{Answer, Body, Hit, KEEP_ALIVE, LONG_KEEP_ALIVE, Place, Server, Source};
use crate::error::{is_context_missing, is_page_too_large};
use crate::introspect::Index;
use crate::position::{Kept, Position, refusal};
use crate::values::{Columns, Residual};

/// Documents of the first request; those of later ones depend on how long they are.
const FIRST_PAGE: u64 = 1_000;
/// Documents that one request may have (`index.max_result_window`), where no operator has said otherwise.
const LARGEST_PAGE: u64 = 10_000;
const SMALLEST_PAGE: u64 = 10;
/// How long an answer should be.
const ANSWER_BYTES: u64 = 4 << 20;

/// What to find, and what to make of it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: String,
    pub(crate) index: Rc<Index>,
    pub(crate) query: Json,
    /// Keys of the order.
    pub(crate) sort: Vec<Json>,
    pub(crate) residual: Option<Residual>,
    pub(crate) columns: Columns,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
    /// How many rows match, where that is known before; whether it is to be found out otherwise.
    pub(crate) total: Total,
    pub(crate) paging: Paging,
    /// Values behind which the rows begin.
    pub(crate) after: Vec<Box<RawValue>>,
    /// What rows hold, for a runner that looks at them.
    pub(crate) announced: Vec<Column>,
}

/// How many rows match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Total {
    Unasked,
    Asked,
    Known(u64),
}

/// How the caller goes on behind the last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paging {
    /// Not at all.
    None,
    /// By the values of the last row in this order.
    Values { order: String },
    /// By the same, at the place that the page before has left open.
    Place { order: String, open: Option<Kept> },
}

/// The documents of a plan.
pub(crate) struct Scan {
    server: Server,
    plan: Plan,
    source: Source,
    /// Dates that documents have in a form of their own.
    dates: Vec<Json>,
    /// The keys by which requests follow one another.
    sort: Vec<Json>,
    after: Vec<Box<RawValue>>,
    place: Option<Place>,
    hits: VecDeque<Hit>,
    /// Documents of the next request.
    page: u64,
    /// Documents that one request of this target may have.
    largest_page: u64,
    skip: u64,
    left: Option<u64>,
    is_started: bool,
    /// Whether one request is all that it takes.
    is_single: bool,
    /// Whether the server has no more.
    is_exhausted: bool,
    total: Option<u64>,
    rows: JsonRows,
    last: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    is_done: bool,
}

impl Plan {
    /// The rows.
    pub(crate) fn rows(self, server: &Server) -> Rows {
        Rows::new(Scan::new(server.clone(), self))
    }
}

impl Scan {
    pub(crate) fn new(server: Server, plan: Plan) -> Self {
        let source = plan.columns.source(plan.residual.as_ref());
        let dates = plan.columns.dates(plan.residual.as_ref(), &plan.index);
        let total = match plan.total {
            Total::Known(total) => Some(total),
            Total::Asked | Total::Unasked => None,
        };
        Self {
            source,
            dates,
            sort: plan.sort.clone(),
            after: plan.after.clone(),
            place: None,
            hits: VecDeque::new(),
            page: FIRST_PAGE,
            largest_page: LARGEST_PAGE,
            skip: plan.offset,
            left: plan.limit,
            is_started: false,
            is_single: false,
            is_exhausted: false,
            total,
            rows: JsonRows::new(),
            last: Vec::new(),
            next_cursor: None,
            is_done: plan.limit == Some(0) && plan.total != Total::Asked,
            server,
            plan,
        }
    }

    /// How many rows there are.
    pub(crate) fn count(mut self) -> Result<u64, Error> {
        let mut count = 0;
        while self.next_hit()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// The next document that was asked for.
    fn next_hit(&mut self) -> Result<Option<Hit>, Error> {
        loop {
            let Some(hit) = self.hits.pop_front() else {
                if self.is_exhausted {
                    return Ok(None);
                }
                self.fetch()?;
                continue;
            };
            if let Some(residual) = &self.plan.residual
                && !residual.matches(&hit)?
            {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            return Ok(Some(hit));
        }
    }

    /// Asks the server for more.
    fn fetch(&mut self) -> Result<(), Error> {
        if is_cancelled() {
            return Err(Error::cancelled());
        }
        self.start()?;
        let size = self.size();
        let answer = match self.search(size) {
            Ok(answer) => answer,
            // Documents are longer than those before: fewer of them.
            Err(error) if error.code() == ErrorCode::ResourceExhausted && size > 1 => {
                self.page = (size / 8).max(1);
                self.is_single = false;
                return self.ensure_place();
            }
            Err(error) if is_page_too_large(&error) && size > 1 => {
                self.largest_page = (size / 4).max(1);
                self.page = self.page.min(self.largest_page);
                self.is_single = false;
                return self.ensure_place();
            }
            Err(error) => return Err(self.explained(error)),
        };
        self.take(answer, size)
    }

    fn start(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_started, true) {
            return Ok(());
        }
        match &self.plan.paging {
            Paging::Place { open, .. } => {
                self.place = Some(match open {
                    Some(kept) => Place { id: kept.id.clone(), keep_alive: LONG_KEEP_ALIVE },
                    None => self.server.open(&self.plan.target, LONG_KEEP_ALIVE)?,
                });
                self.sort.push(json!({"_shard_doc": "asc"}));
            }
            Paging::None | Paging::Values { .. } => {
                self.is_single = self.fits_one_request();
                if !self.is_single {
                    self.ensure_place()?;
                }
            }
        }
        Ok(())
    }

    fn fits_one_request(&self) -> bool {
        let Some(limit) = self.plan.limit else { return false };
        let rows = limit.saturating_add(self.look_ahead());
        self.plan.residual.is_none()
            && rows <= FIRST_PAGE
            && rows.saturating_add(self.plan.offset) <= LARGEST_PAGE
    }

    /// Makes sure that requests follow one another over the same documents, in an order without ties.
    fn ensure_place(&mut self) -> Result<(), Error> {
        if self.place.is_some() {
            return Ok(());
        }
        self.place = Some(self.server.open(&self.plan.target, KEEP_ALIVE)?);
        if self.plan.paging == Paging::None {
            let has_order = self.server.flavour().has_shard_order();
            let tie = if has_order { json!({"_shard_doc": "asc"}) } else { json!({"_id": "asc"}) };
            self.sort.push(tie);
        }
        Ok(())
    }

    /// One row more than is given says whether there is another page.
    fn look_ahead(&self) -> u64 {
        u64::from(self.plan.paging != Paging::None)
    }

    fn size(&self) -> u64 {
        let most = if self.skips_unseen() { self.skip.min(self.largest_page) } else { self.page };
        match (self.left, &self.plan.residual) {
            (Some(left), None) => {
                let skip = if self.is_single { 0 } else { self.skip };
                most.min(left.saturating_add(self.look_ahead()).saturating_add(skip))
            }
            _ => most,
        }
    }

    /// Whether the next documents are passed over without a look at them.
    fn skips_unseen(&self) -> bool {
        !self.is_single && self.skip > 0 && self.plan.residual.is_none()
    }

    fn search(&self, size: u64) -> Result<Answer, Error> {
        let more = Map::new();
        let is_seen = !self.skips_unseen();
        let source = if is_seen { &self.source } else { &Source::None };
        let mut body = Body::new(&self.plan.query, size, source, &more);
        body.docvalue_fields = if is_seen { &self.dates } else { &[] };
        body.from = if self.is_single { self.plan.offset } else { 0 };
        body.sort = &self.sort;
        body.search_after = (!self.after.is_empty()).then_some(self.after.as_slice());
        body.track_total_hits = self.plan.total == Total::Asked && self.total.is_none();
        body.pit = self.place.as_ref();
        self.server.search(&self.plan.target, &body)
    }

    fn take(&mut self, answer: Answer, size: u64) -> Result<(), Error> {
        let found = answer.hits.len() as u64;
        if let (Some(id), Some(place)) = (answer.place, &mut self.place) {
            place.id = id;
        }
        if self.total.is_none() {
            self.total = answer.total;
        }
        // A place that a caller brings along may be anybody's.
        if matches!(&self.plan.paging, Paging::Place { open: Some(_), .. })
            && answer.hits.iter().any(|hit| !self.plan.index.has(&hit.index))
        {
            return Err(refusal());
        }
        self.is_exhausted = self.is_single || found < size || size == 0;
        if let Some(last) = answer.hits.last() {
            self.after.clone_from(&last.sort);
        }
        if self.skips_unseen() {
            self.skip = self.skip.saturating_sub(found);
            return Ok(());
        }
        if self.is_single {
            self.skip = 0;
        }
        let bytes = (answer.bytes as u64 / found.max(1)).max(1);
        let page = (ANSWER_BYTES / bytes).max(SMALLEST_PAGE).min(self.page.saturating_mul(10));
        self.page = page.min(self.largest_page);
        self.hits.extend(answer.hits);
        Ok(())
    }

    fn explained(&self, error: Error) -> Error {
        let is_callers = matches!(&self.plan.paging, Paging::Place { open: Some(_), .. });
        if is_callers && is_context_missing(&error) { refusal() } else { error }
    }

    /// Gives rows until there is no more room, or no more without waiting for them.
    fn fill(&mut self, room: Room) -> Result<(), Error> {
        while !self.is_done && room.has_left(self.rows.rows(), self.rows.bytes()) {
            if self.hits.is_empty() && !self.is_exhausted && !self.rows.is_empty() {
                return Ok(());
            }
            if self.left == Some(0) {
                return self.finish();
            }
            let Some(hit) = self.next_hit()? else { return self.finish() };
            self.rows.push(&self.plan.columns.row(&hit, &self.plan.index, false)?)?;
            self.last = hit.sort;
            self.left = self.left.map(|left| left - 1);
        }
        Ok(())
    }

    /// Says where the next page begins, if there is one.
    fn finish(&mut self) -> Result<(), Error> {
        self.is_done = true;
        if self.plan.limit == Some(0) {
            // Only the total was asked for.
            return self.fetch();
        }
        let order = match &self.plan.paging {
            Paging::None => return Ok(()),
            Paging::Values { order } | Paging::Place { order, .. } => order.clone(),
        };
        if self.left == Some(0) && self.next_hit()?.is_some() {
            let is_place = matches!(self.plan.paging, Paging::Place { .. });
            let place = if is_place { self.place.take() } else { None };
            let mut after = std::mem::take(&mut self.last);
            after.truncate(self.plan.sort.len() + usize::from(is_place));
            let kept = place.map(|place| Kept::new(place.id, &self.plan.target, &self.plan.index));
            self.next_cursor = Some(Position::new(&order, after, kept).encode());
        }
        Ok(())
    }
}

impl Cursor for Scan {
    fn columns(&self) -> &[Column] {
        &self.plan.announced
    }

    fn next_batch(&mut self, room: Room) -> Result<Option<Batch>, Error> {
        self.fill(room)?;
        Ok(self.rows.take())
    }

    fn tail(&mut self) -> Tail {
        Tail { next_cursor: self.next_cursor.take(), total: self.total, ..Tail::default() }
    }
}

/// The server keeps a place no longer than somebody wants it. That of a scan whose caller goes on from it is not open here
/// any more.
impl Drop for Scan {
    fn drop(&mut self) {
        let is_callers = matches!(&self.plan.paging, Paging::Place { .. }) && !self.is_done;
        if let Some(place) = self.place.take().filter(|_| !is_callers) {
            self.server.close(&place);
        }
    }
}
