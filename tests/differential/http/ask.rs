//! A row of a table: one request for both programs, and what their answers may differ in.

use super::intended::Intended;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Payload {
    /// This text; empty is no body.
    Text(&'static str),
    /// As many `x` as said, with their number in the head.
    Fill(usize),
    /// As many `x` as said, in chunks, without their number in the head.
    Chunked(usize),
}

/// A request that goes to both. Names in braces stand for values kept by earlier rows, `{ip}` for
/// the address of the program that is asked.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) body: Payload,
    pub(super) sent: &'static [(&'static str, &'static str)],
    pub(super) keep: Option<(&'static str, Keep)>,
    pub(super) soon: bool,
    pub(super) unordered: bool,
    pub(super) hidden: &'static [&'static str],
    pub(super) differs: &'static [&'static Intended],
}

/// Where a kept value stands in the answer.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    /// At this JSON pointer of the body.
    At(&'static str),
    /// In this header.
    Header(&'static str),
}

const fn ask(method: &'static str, path: &'static str, body: Payload) -> Ask {
    Ask {
        method,
        path,
        body,
        sent: &[],
        keep: None,
        soon: false,
        unordered: false,
        hidden: &[],
        differs: &[],
    }
}

/// A request that reads.
pub(super) const fn get(path: &'static str) -> Ask {
    ask("GET", path, Payload::Text(""))
}

/// A request that writes this body.
pub(super) const fn put(path: &'static str, body: &'static str) -> Ask {
    ask("PUT", path, Payload::Text(body))
}

/// A request that makes something of this body.
pub(super) const fn post(path: &'static str, body: &'static str) -> Ask {
    ask("POST", path, Payload::Text(body))
}

/// A request that deletes.
pub(super) const fn delete(path: &'static str) -> Ask {
    ask("DELETE", path, Payload::Text(""))
}

/// A request with any method and body.
pub(super) const fn other(method: &'static str, path: &'static str, body: Payload) -> Ask {
    ask(method, path, body)
}

impl Ask {
    /// Headers to send.
    pub(super) const fn sending(self, sent: &'static [(&'static str, &'static str)]) -> Self {
        Self { sent, ..self }
    }

    /// Keeps a value of the JSON that comes back, for later rows and for the comparison: it shows
    /// as `{name}` wherever it comes up again.
    pub(super) const fn keeps(self, name: &'static str, pointer: &'static str) -> Self {
        Self { keep: Some((name, Keep::At(pointer))), ..self }
    }

    /// Keeps the index that comes back.
    pub(super) const fn keeps_index(self, name: &'static str) -> Self {
        Self { keep: Some((name, Keep::Header("x-consul-index"))), ..self }
    }

    /// Keeps what a header says.
    pub(super) const fn keeps_header(self, name: &'static str, header: &'static str) -> Self {
        Self { keep: Some((name, Keep::Header(header))), ..self }
    }

    /// Asks again for a while until both answer alike: what was written travels to the catalogue.
    pub(super) const fn soon(self) -> Self {
        Self { soon: true, ..self }
    }

    /// The order of lists does not count.
    pub(super) const fn unordered(self) -> Self {
        Self { unordered: true, ..self }
    }

    /// The values of these fields are compared by kind only.
    pub(super) const fn hiding(self, hidden: &'static [&'static str]) -> Self {
        Self { hidden, ..self }
    }

    /// The answers differ on purpose, in each of these ways, and in no other.
    pub(super) const fn differs(self, differs: &'static [&'static Intended]) -> Self {
        Self { differs, ..self }
    }
}
