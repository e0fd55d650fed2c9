//! Reads names, signs and values, and knows where it stands.

use super::{
    Error, Key, Kind, MAX_LEN,
    column::{self, Column},
};

/// Signs between a field and a value; the longer ones first.
const SIGNS: [&str; 7] = ["!=", "<=", ">=", "=", "<", ">", ":"];

/// A text that is read from left to right.
pub(super) struct Reader<'a> {
    rest: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Result<Self, Error> {
        match text.chars().count() {
            n if n > MAX_LEN => {
                Err(Error::at(MAX_LEN + 1, format!("is too long: at most {MAX_LEN} characters")))
            }
            _ => Ok(Self { rest: text, position: 1 }),
        }
    }

    /// Where the next thing begins.
    pub fn position(&mut self) -> usize {
        let n_blank = self.rest.chars().take_while(|it| it.is_whitespace()).count();
        self.skip(n_blank);
        self.position
    }

    pub fn is_at_end(&mut self) -> bool {
        self.position();
        self.rest.is_empty()
    }

    /// Takes this word or sign, if it comes next.
    pub fn takes(&mut self, word: &str) -> bool {
        self.position();
        let is_next = self.rest.starts_with(word);
        let ends = self.rest.get(word.len()..).is_some_and(|rest| !rest.starts_with(is_of_name));
        let is_word = word.starts_with(is_of_name);
        let takes = is_next && (ends || !is_word);
        if takes {
            self.skip(word.chars().count());
        }
        takes
    }

    pub fn sign(&mut self) -> Option<&'static str> {
        SIGNS.into_iter().find(|sign| self.takes(sign))
    }

    /// A column, with the key of a label: `labels.team` or `labels."k8s.io/team"`.
    pub fn key(&mut self, columns: &'static [Column]) -> Result<Key, Error> {
        let position = self.position();
        let name = self.word(|it| is_of_name(it) && it != '.');
        if name.is_empty() {
            let found = self.shown();
            return Err(Error::at(
                position,
                format!("a field is expected, such as `{}`, not {found}", columns[0].name),
            ));
        }
        let column = column::find(columns, name, position)?;
        let is_labels = matches!(column.kind, Kind::Labels);
        let label = match self.rest.strip_prefix('.') {
            Some(_) if is_labels => {
                self.skip(1);
                if self.rest.starts_with('"') { self.quoted()? } else { self.word(is_of_name).to_owned() }
            }
            Some(_) => return Err(Error::at(self.position, format!("`{name}` has no fields of its own"))),
            None => String::new(),
        };
        Ok(Key { column, label })
    }

    /// A value, in quotes or up to the next space.
    pub fn value(&mut self) -> Result<String, Error> {
        let position = self.position();
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let word = self.word(|it| !it.is_whitespace() && !matches!(it, '(' | ')' | '"' | ','));
        if word.is_empty() {
            return Err(Error::at(position, format!("a value is expected, not {}", self.shown())));
        }
        Ok(word.to_owned())
    }

    fn quoted(&mut self) -> Result<String, Error> {
        let begins = self.position;
        let mut text = String::new();
        let mut characters = self.rest.chars().enumerate().skip(1);
        while let Some((idx, character)) = characters.next() {
            match character {
                '"' => {
                    self.skip(idx + 1);
                    return Ok(text);
                }
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => text.push(character),
            }
        }
        Err(Error::at(begins, "the quotes are not closed"))
    }

    fn word(&mut self, is_in: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|it| !is_in(it)).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.skip(word.chars().count());
        word
    }

    /// What comes next, for messages.
    pub fn shown(&mut self) -> String {
        self.position();
        let word: String = self.rest.chars().take_while(|it| !it.is_whitespace()).take(32).collect();
        if word.is_empty() { "the end".to_owned() } else { format!("{word:?}") }
    }

    fn skip(&mut self, n_characters: usize) {
        let end = self.rest.char_indices().nth(n_characters).map_or(self.rest.len(), |(at, _)| at);
        self.rest = &self.rest[end..];
        self.position += n_characters;
    }
}

fn is_of_name(character: char) -> bool {
    !character.is_whitespace() && !"=!<>:,\"()".contains(character)
}
