//! The documents of a YAML text: where each begins, and that none is nested too deeply.

use granit_parser::{ErrorKind, Event, Parser, ScanError};

/// Lists and maps in one another. The reader of the values gives up at 128, but has read all of the
/// document before, in time by the square of the depth.
const MAX_DEPTH: usize = 100;

/// What is wrong, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) cause: String,
}

/// The line on which each document begins.
pub(super) fn lines(text: &str) -> Result<Vec<usize>, Fault> {
    let (mut lines, mut depth, mut is_new) = (Vec::new(), 0_usize, false);
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| fault(&error))?;
        match event {
            Event::DocumentStart(..) => is_new = true,
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            Event::Scalar(..) => {}
            _ => continue,
        }
        if depth > MAX_DEPTH {
            return Err(too_deep(span.start.line()));
        }
        if is_new && !matches!(event, Event::DocumentStart(..)) {
            lines.push(span.start.line());
            is_new = false;
        }
    }
    Ok(lines)
}

fn fault(error: &ScanError) -> Fault {
    let line = error.marker().line();
    match error.kind() {
        // The scanner looks ahead, and has bounds of its own.
        ErrorKind::RecursionLimitExceeded => too_deep(line),
        kind => Fault { line, cause: kind.to_string().replace(char::is_control, " ") },
    }
}

fn too_deep(line: usize) -> Fault {
    Fault { line, cause: format!("more than {MAX_DEPTH} lists and maps in one another") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_begins_with_its_content() {
        let text = "# a\n---\nx: 1\n---\n---\n\n# b\ny: 2\n...\n";
        let lines = lines(text).unwrap();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, 3, 8));
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused_before_it_is_read() {
        let nested = |depth: usize| format!("a: 1\n---\nb: {}", "[".repeat(depth));
        let ended = |depth: usize| nested(depth) + &"]".repeat(depth);
        assert!(lines(&ended(MAX_DEPTH - 1)).is_ok());
        let fault = lines(&ended(MAX_DEPTH)).unwrap_err();
        assert_eq!((fault.line, fault.cause.contains("100")), (3, true));
        // A million brackets cost no more than the first hundred.
        assert_eq!(lines(&nested(1_000_000)).unwrap_err(), fault);
        let block = format!("a: 1\n{}", "- ".repeat(200_000));
        assert!(lines(&block).is_err());
    }
}
