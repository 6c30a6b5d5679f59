//! Answers that come in pages.

use serde::de::DeserializeOwned;

use super::address::Address;
use super::transport::Headers;
use super::{Request, Response};
use crate::Error;

/// Where the page after a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// At this URL, which may be relative to the page's own.
    Url(String),
    /// At the same URL, with this parameter set to this value.
    Parameter(String, String),
}

/// Says from a page and its headers where the next one is; nothing after the last. Any closure of that shape does.
pub trait Follow<T>: FnMut(&T, &Headers) -> Option<Next> {}

impl<T, F: FnMut(&T, &Headers) -> Option<Next>> Follow<T> for F {}

/// Pages, asked for one after the other: what [`Rows::pages`](crate::Rows::pages) takes.
pub struct Pages<T> {
    next: Option<Request>,
    follow: Box<dyn Follow<T>>,
}

/// Follows `Link: <…>; rel="next"` (RFC 8288).
pub fn next_link<T>() -> impl Follow<T> {
    |_: &T, headers: &Headers| linked(headers.get("link")?, "next").map(Next::Url)
}

/// Follows the URL that a page holds.
pub fn next_url<T>(url: impl Fn(&T) -> Option<String>) -> impl Follow<T> {
    move |page: &T, _: &Headers| url(page).filter(|url| !url.is_empty()).map(Next::Url)
}

/// Sends the cursor that a page holds as `parameter` of the next request.
pub fn next_cursor<T>(parameter: &str, cursor: impl Fn(&T) -> Option<String>) -> impl Follow<T> {
    let parameter = parameter.to_owned();
    move |page: &T, _: &Headers| {
        let cursor = cursor(page).filter(|cursor| !cursor.is_empty())?;
        Some(Next::Parameter(parameter.clone(), cursor))
    }
}

/// Counts `parameter` up from `first`, which the first request has, as long as `is_more` says of a page.
pub fn page_number<T>(parameter: &str, first: u64, is_more: impl Fn(&T) -> bool) -> impl Follow<T> {
    let parameter = parameter.to_owned();
    let mut number = first;
    move |page: &T, _: &Headers| {
        number += 1;
        is_more(page).then(|| Next::Parameter(parameter.clone(), number.to_string()))
    }
}

impl<T: DeserializeOwned> Pages<T> {
    pub(super) fn new(first: Request, follow: Box<dyn Follow<T>>) -> Self {
        Self { next: Some(first), follow }
    }

    fn read(&mut self, request: Request) -> Result<T, Error> {
        let address = request.address().clone()?;
        let response = request.clone().send()?.ok()?;
        let headers = response.headers().clone();
        let page = Response::json(response)?;
        if let Some(next) = (self.follow)(&page, &headers) {
            self.next = Some(request.at(next_address(&address, next)?));
        }
        Ok(page)
    }
}

impl<T: DeserializeOwned> Iterator for Pages<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = self.next.take()?;
        Some(self.read(request))
    }
}

impl<T> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("next", &self.next).finish_non_exhaustive()
    }
}

fn next_address(address: &Address, next: Next) -> Result<Address, Error> {
    let next = match next {
        Next::Url(link) => address
            .resolve(&link)
            .ok_or_else(|| Error::query_failed("the link to the next page is no URL"))?,
        Next::Parameter(name, value) => {
            let mut next = address.clone();
            next.set_query(&name, &value);
            next
        }
    };
    // A service that names a page as its own next one would be asked for ever.
    if next == *address { Err(Error::query_failed("the next page is the same page")) } else { Ok(next) }
}

/// The target of the first link of that relation.
fn linked(header: &str, relation: &str) -> Option<String> {
    let mut rest = header;
    loop {
        let (_, begun) = rest.split_once('<')?;
        let (target, parameters) = begun.split_once('>')?;
        let end = parameters.find(",<").or_else(|| parameters.find(", <")).unwrap_or(parameters.len());
        let (parameters, following) = parameters.split_at(end);
        if parameters.split(';').any(|parameter| has_relation(parameter, relation)) {
            return Some(target.to_owned());
        }
        rest = following;
    }
}

fn has_relation(parameter: &str, relation: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|one| one.eq_ignore_ascii_case(relation))
    })
}
