//! The last bytes of an output of any length: what a check keeps, bounded while it is read.

/// Keeps the last bytes that are pushed, and counts all of them.
#[derive(Debug)]
pub(in super::super) struct Tail {
    last: Vec<u8>,
    max: usize,
    seen: u64,
}

impl Tail {
    /// Will keep `max` bytes.
    pub(in super::super) fn new(max: usize) -> Self {
        Self { last: Vec::new(), max, seen: 0 }
    }

    /// Takes the next bytes.
    pub(in super::super) fn push(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        let (_, kept) = bytes.split_at(bytes.len().saturating_sub(self.max));
        let over = (self.last.len() + kept.len()).saturating_sub(self.max);
        self.last.drain(..over);
        self.last.extend_from_slice(kept);
    }

    /// How many bytes were pushed.
    pub(in super::super) fn seen(&self) -> u64 {
        self.seen
    }

    /// What is kept. A sign that was cut in two at its beginning is left out.
    pub(in super::super) fn text(&self) -> String {
        let cut = if self.is_cut() {
            self.last.iter().take(3).take_while(|byte| (**byte & 0xc0) == 0x80).count()
        } else {
            0
        };
        let (_, whole) = self.last.split_at(cut);
        String::from_utf8_lossy(whole).into_owned()
    }

    /// What is kept, with a line before it where that is not all. Source: Consul, observed.
    pub(in super::super) fn captured(&self) -> String {
        if self.is_cut() {
            format!("Captured {} of {} bytes\n...\n{}", self.last.len(), self.seen, self.text())
        } else {
            self.text()
        }
    }

    fn is_cut(&self) -> bool {
        self.seen > self.last.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_stay() {
        let mut tail = Tail::new(4);
        tail.push(b"ab");
        assert_eq!((tail.text().as_str(), tail.captured().as_str()), ("ab", "ab"));
        tail.push(b"cde");
        assert_eq!(tail.captured(), "Captured 4 of 5 bytes\n...\nbcde");
        tail.push(b"0123456789");
        assert_eq!((tail.text().as_str(), tail.seen()), ("6789", 15));
        let mut signs = Tail::new(4);
        signs.push("aéé€".as_bytes()); // the last four bytes begin inside of an é
        assert_eq!(signs.text(), "€");
    }
}
