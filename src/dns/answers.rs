//! What several servers answer to one question, and which of it counts.

use hickory_proto::op::Message;
use hickory_proto::rr::Name;

use crate::dns::answer::{Worth, worth};
use crate::dns::wire::{self, Silence};

/// In the order of the servers: the first with records counts, else a referral, else that there is
/// nothing. Servers may know different zones, and see the same zone differently.
pub(super) struct Answers(Vec<Option<Said>>);

enum Said {
    Useful(Worth, Message),
    /// It answers an error.
    Error(String),
    Silent(Silence),
}

impl Answers {
    pub(super) fn new(servers: usize) -> Self {
        Self((0..servers).map(|_| None).collect())
    }

    pub(super) fn insert(&mut self, place: usize, answer: Result<Message, Silence>, name: &Name) {
        let said = match answer {
            Err(silence) => Said::Silent(silence),
            Ok(answer) => match worth(&answer, name) {
                Some(worth) => Said::Useful(worth, answer),
                None => Said::Error(format!("answers {}", wire::code(&answer))),
            },
        };
        if let Some(empty) = self.0.get_mut(place) {
            *empty = Some(said);
        }
    }

    /// Nothing that is still to come can change what counts.
    pub(super) fn are_decided(&self) -> bool {
        let known = self.0.iter().map_while(Option::as_ref);
        self.0.iter().all(Option::is_some)
            || known.into_iter().any(|it| matches!(it, Said::Useful(Worth::Records, _)))
    }

    /// One of them serves, if nothing better comes.
    pub(super) fn help(&self) -> bool {
        self.0.iter().flatten().any(|it| matches!(it, Said::Useful(..)))
    }

    /// `Err`: at which server what went wrong, and whether servers said so themselves.
    pub(super) fn best(self) -> Result<Message, (usize, String, bool)> {
        let mut best: Option<(Worth, Message)> = None;
        let mut failure: Option<(usize, String, bool)> = None;
        for (place, said) in self.0.into_iter().enumerate() {
            match said {
                Some(Said::Useful(worth, answer))
                    if best.as_ref().is_none_or(|(known, _)| worth > *known) =>
                {
                    best = Some((worth, answer));
                }
                Some(Said::Error(text)) => failure = failure.or(Some((place, text, true))),
                Some(Said::Silent(silence @ Silence::NoWay(_))) => {
                    failure = failure.or_else(|| Some((place, silence.to_string(), false)));
                }
                // What is silent may know better than one that answers an error.
                Some(Said::Silent(silence)) => {
                    failure = Some((place, silence.to_string(), false));
                }
                Some(Said::Useful(..)) | None => {}
            }
        }
        best.map(|(_, answer)| answer).ok_or_else(|| {
            failure.unwrap_or_else(|| (usize::MAX, "names no server".to_owned(), false))
        })
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, OpCode, ResponseCode};
    use hickory_proto::rr::rdata::TXT;
    use hickory_proto::rr::{Name, RData, Record};

    use super::Answers;
    use crate::dns::wire::Silence;

    type Said = Result<Message, Silence>;

    const SILENT: Said = Err(Silence::Timeout(5));

    fn code(code: ResponseCode) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        message
    }

    fn records(text: &str) -> Message {
        let mut message = code(ResponseCode::NoError);
        let data = RData::TXT(TXT::new(vec![text.to_owned()]));
        message.add_answer(Record::from_rdata(Name::root(), 1, data));
        message
    }

    /// `None` has not come yet.
    fn answers<const N: usize>(all: [Option<Said>; N]) -> Answers {
        let mut answers = Answers::new(N);
        for (place, one) in all.into_iter().enumerate() {
            if let Some(one) = one {
                answers.insert(place, one, &Name::root());
            }
        }
        answers
    }

    #[test]
    fn records_of_the_first_server_that_has_some_count() {
        let early = answers([None, Some(Ok(records("b")))]);
        assert!(!early.are_decided() && early.help());
        assert!(answers([Some(Ok(records("a"))), None]).are_decided());
        let best = |first: Message| {
            let both = answers([Some(Ok(first)), Some(Ok(records("b")))]);
            both.best().unwrap().answers[0].data.to_string()
        };
        assert!(best(records("a")).contains('a'));
        assert!(best(code(ResponseCode::NXDomain)).contains('b'));
    }

    #[test]
    fn that_there_is_nothing_counts_more_than_an_error_or_silence() {
        let refused = Ok(code(ResponseCode::Refused));
        let nothing = Ok(code(ResponseCode::NXDomain));
        let best = answers([Some(refused), Some(SILENT), Some(nothing)]).best().unwrap();
        assert_eq!(best.metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn an_error_is_an_answer_only_if_nobody_is_silent() {
        let refused = || Some(Ok(code(ResponseCode::Refused)));
        let (place, text, answered) = answers([refused(), refused()]).best().unwrap_err();
        assert_eq!((place, text.as_str(), answered), (0, "answers REFUSED", true));
        let (place, _, answered) = answers([refused(), Some(SILENT)]).best().unwrap_err();
        assert_eq!((place, answered), (1, false));
    }
}
