//! What we answer otherwise than the real Consul 1.8.7, on purpose.

use super::dns_compare::{Answer, Intended, Part};

use Part::{Answers, Authority, Beside, Code, Edns, Flags};

/// What is said everywhere where anything is cut.
pub(super) static CUT_IS_TOLD: Intended = Intended {
    name: "a cut answer says so",
    reason: "enable_truncate is on unless it is turned off: an asker that is not told goes on with \
             a part of the instances",
    parts: &[Flags],
    holds: |theirs, ours| {
        let more: Vec<_> = ours.flags.difference(&theirs.flags).collect();
        more == [&"tc"] && theirs.flags.is_subset(&ours.flags)
    },
};

/// What stands beside the answers.
pub(super) static ONCE: Intended = Intended {
    name: "beside the answers, each record once",
    reason: "Consul repeats a node's address and metadata for each of its instances",
    parts: &[Beside],
    holds: |theirs, ours| {
        let mut theirs = theirs.beside.clone();
        theirs.dedup();
        theirs == ours.beside
    },
};

pub(super) static SIZE_IS_KEPT: Intended = Intended {
    name: "no reply is longer than its asker takes",
    reason: "Consul sends a single answer with all that stands beside it (fixed later, #10009)",
    parts: &[Beside],
    holds: |theirs, ours| theirs.bytes > 512 && ours.bytes <= 512,
};

pub(super) static EDNS_COMES_BACK: Intended = Intended {
    name: "a refusal says that EDNS is understood, too",
    reason: "RFC 6891, section 6.1.1",
    parts: &[Edns],
    holds: |theirs, ours| ours.code == "REFUSED" && theirs.edns.is_empty(),
};

pub(super) static SPELLING_IS_KEPT: Intended = Intended {
    name: "the question's spelling comes back in every answer",
    reason: "resolvers that spell at random to tell forgeries look at it",
    parts: &[Answers],
    holds: |theirs, ours| {
        theirs.answers
            == ours
                .answers
                .iter()
                .map(|it| it.to_lowercase().replace(" in a ", " IN A "))
                .collect::<Vec<_>>()
    },
};

pub(super) static TORN_IS_TORN: Intended = Intended {
    name: "a question that is not whole is malformed",
    reason: "Consul takes what is missing for zero",
    parts: &[Code, Flags, Part::Question, Authority],
    holds: |_, ours| ours.code == "FORMERR",
};

/// What recursors said.
pub(super) static RECURSION_IS_OFFERED: Intended = Intended {
    name: "what a recursor said comes with RA",
    reason: "recursion is available here, whatever that server offers; Consul passes its bit on",
    parts: &[Flags],
    holds: |theirs, ours| {
        let more: Vec<_> = ours.flags.difference(&theirs.flags).collect();
        more == [&"ra"] && theirs.flags.is_subset(&ours.flags)
    },
};

/// What is cut at 512 bytes.
pub(super) static OPTIONS_COUNT: Intended = Intended {
    name: "the OPT record counts, too",
    reason: "Consul 1.8 adds it to what is full already (fixed later, #10009)",
    parts: &[Answers, Beside],
    holds: |theirs, ours| {
        let one_less = [("5 SRV", "4 SRV"), ("5 A", "4 A")];
        let pairs = [(&theirs.answers, &ours.answers), (&theirs.beside, &ours.beside)];
        ours.edns == "512 bytes"
            && pairs.iter().zip(one_less).all(|((theirs, ours), (five, four))| {
                **theirs == [five.to_owned()] && **ours == [four.to_owned()]
            })
    },
};

pub(super) static NO_POINTER: Intended = Intended {
    name: "an address without a name does not exist",
    reason: "Consul 1.8 says SERVFAIL, so that resolvers ask again; later ones say NXDOMAIN",
    parts: &[Code, Flags, Authority],
    holds: |theirs, ours| theirs.code == "SERVFAIL" && is_missing(ours),
};

pub(super) static POINTER_FOR_POINTER: Intended = Intended {
    name: "a name is no answer to a question for something else",
    reason: "Consul answers every question under arpa with PTR records; RFC 1034 has none for A",
    parts: &[Answers, Authority],
    holds: |theirs, ours| theirs.answers.len() == 1 && is_empty(ours),
};

pub(super) static ADDRESS_OF_KIND: Intended = Intended {
    name: "an address is no answer to a question for another kind",
    reason: "later ones say nothing too (#10401)",
    parts: &[Answers, Authority],
    holds: |theirs, ours| theirs.answers.len() == 1 && is_empty(ours),
};

pub(super) static ADDRESS_OF_LENGTH: Intended = Intended {
    name: "digits that are no address do not exist",
    reason: "Consul 1.8 says that the name is there; later ones that it is not",
    parts: &[Code, Authority],
    holds: |theirs, ours| theirs.code == "NOERROR" && is_missing(ours),
};

pub(super) static NODE_IS_LOOKED_FOR: Intended = Intended {
    name: "a node that is not there is missing for every kind",
    reason: "Consul looks for it only where it knows the kind",
    parts: &[Code, Authority],
    holds: |theirs, ours| theirs.code == "NOERROR" && is_missing(ours),
};

pub(super) static NODE_ALIAS: Intended = Intended {
    name: "a question for a node's other name is answered",
    reason: "Consul says it only to who asks for addresses",
    parts: &[Answers],
    holds: |theirs, ours| theirs.answers.is_empty() && ours.answers.len() == 1,
};

pub(super) static KIND_IS_KEPT: Intended = Intended {
    name: "another name is followed for the kind that was asked for",
    reason: "Consul follows it for every kind, and the asker throws the rest away",
    parts: &[Answers],
    holds: |theirs, ours| {
        ours.answers.iter().all(|line| theirs.answers.contains(line))
            && ours.answers.first().is_some_and(|line| line.contains(" CNAME "))
    },
};

pub(super) static DC_WORD: Intended = Intended {
    name: "<name>.<dc>.dc is understood",
    reason: "later ones do",
    parts: &[Code, Answers, Authority, Beside],
    holds: |theirs, ours| theirs.code == "NXDOMAIN" && !ours.answers.is_empty(),
};

pub(super) static CLASS: Intended = Intended {
    name: "another class than IN is refused",
    reason: "Consul answers with records of the class IN, which the asker cannot use",
    parts: &[Code, Flags, Answers],
    holds: |_, ours| ours.code == "REFUSED" && ours.answers.is_empty(),
};

pub(super) static INCREMENT: Intended = Intended {
    name: "an incremental transfer is not implemented, as a whole one",
    reason: "Consul looks for a service of the name",
    parts: &[Code, Flags, Answers, Authority, Beside],
    holds: |_, ours| ours.code == "NOTIMP",
};

pub(super) static TRANSFER_AUTHORITY: Intended = Intended {
    name: "what is not implemented is nobody's authority",
    reason: "AA says that the answer is right, and there is none",
    parts: &[Flags],
    holds: |theirs, ours| theirs.flags.contains("aa") && !ours.flags.contains("aa"),
};

pub(super) static EDNS_VERSION: Intended = Intended {
    name: "an EDNS version that is not known is refused",
    reason: "RFC 6891, section 6.1.3",
    parts: &[Code, Flags, Answers, Edns],
    holds: |_, ours| ours.code == "BADSIG" || ours.code == "BADVERS",
};

pub(super) static QUESTION_COMES_BACK: Intended = Intended {
    name: "who is turned away gets the question back",
    reason: "Consul sends a bare header",
    parts: &[Part::Question, Flags],
    holds: |theirs, ours| theirs.question.is_empty() && theirs.code == ours.code,
};

pub(super) static PROTOCOL_OF_QUERY: Intended = Intended {
    name: "_<query>._<protocol>.query is understood",
    reason: "later ones do",
    parts: &[Code, Answers, Authority, Beside, Edns],
    holds: |theirs, ours| theirs.code == "NXDOMAIN" && !ours.answers.is_empty(),
};

pub(super) static ALT_STAYS: Intended = Intended {
    name: "answers stay in the domain that was asked",
    reason: "Consul 1.8 answers in the main one; later ones do not (#11348)",
    parts: &[Answers, Authority, Beside],
    holds: |theirs, ours| {
        let moved = |lines: &[String]| {
            let mut moved: Vec<String> =
                lines.iter().map(|line| line.replace("harbour.example.", "consul.")).collect();
            moved.sort();
            moved.dedup();
            moved
        };
        let same = |theirs: &[String], ours: &[String]| moved(theirs) == moved(ours);
        same(&theirs.answers, &ours.answers)
            && same(&theirs.authority, &ours.authority)
            && same(&theirs.beside, &ours.beside)
    },
};

pub(super) static OWN_TTL: Intended = Intended {
    name: "what another name leads to keeps its own TTL",
    reason: "Consul puts the first name's TTL on it",
    parts: &[Answers, Beside],
    holds: |theirs, ours| {
        let bare = |lines: &[String]| {
            let mut bare: Vec<String> = lines.iter().map(|line| without_ttl(line)).collect();
            bare.sort();
            bare
        };
        bare(&theirs.answers) == bare(&ours.answers) && bare(&theirs.beside) == bare(&ours.beside)
    },
};

fn without_ttl(line: &str) -> String {
    let words = line.split(' ').enumerate().filter(|(at, _)| *at != 1);
    words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

fn is_missing(answer: &Answer) -> bool {
    answer.code == "NXDOMAIN" && is_bare(answer)
}

fn is_empty(answer: &Answer) -> bool {
    answer.code == "NOERROR" && is_bare(answer)
}

/// Nothing but the SOA record.
fn is_bare(answer: &Answer) -> bool {
    let soa = answer.authority.first().is_some_and(|line| line.contains(" SOA "));
    answer.answers.is_empty() && soa && answer.flags.contains("aa")
}
